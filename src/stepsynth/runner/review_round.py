"""The round of a reviewer: the kept rows with the decisions applied, and no request to an LLM."""

from collections.abc import Sequence

from stepsynth.errors import TooFewRowsError
from stepsynth.methods import Round, Setup, Writer, misclassified
from stepsynth.review import History, apply_review
from stepsynth.run_records import REVIEWED, Reviewed


def train_on_review(
    rounds: Sequence[Round], base: int, history: History, setup: Setup
) -> tuple[Round, Reviewed] | None:
    """Return the round that follows those of the method; None: no decision is about its rows.

    Args:
        rounds: The rounds of the method.
        base: Which of them would be kept.
        history: The decisions.
        setup: That of the method.

    Raises:
        TooFewRowsError: Every row is rejected.
    """
    if not any(history.all("synthetic")):
        return None
    kept = rounds[base]
    # A label check may have relabelled a row; decisions name it as it was written.
    written = {(row.text, row.context, row.provenance): row.id for r in rounds for row in r.added}
    ids = [written.get((row.text, row.context, row.provenance), row.id) for row in kept.train]
    done = apply_review(history, kept.train, kept.weights, ids, base=kept.index)
    unused = done.review.unused
    if unused:
        setup.warn(
            f"review: {unused} decisions are on rows that round {kept.index} was not trained on"
        )
    if not any(getattr(done.review, name) for name in REVIEWED):
        return None
    if not done.rows:
        raise TooFewRowsError(
            "review: every row is rejected, so no model can be trained",
            hint="undo some of the decisions: stepsynth review RUN",
        )
    model = setup.student.new(as_given=True)
    model.fit(done.rows, done.weights)
    if kept.offsets is not None:
        model.add_offsets(kept.offsets)
    writer = Writer(setup, "review", rounds[-1].index + 1)  # it writes nothing
    return writer.finish(model, *misclassified(model, setup.mine, setup)), done.review
