"""The decisions of a reviewer, applied to the rows that a model was trained on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepsynth.records import Dataset, Example, label_to_json
from stepsynth.review.decisions import History, Version
from stepsynth.run_records import REVIEWED, Reviewed

KIND = "review"
"""The `kind` of a row that a reviewer changed."""


@dataclass(frozen=True)
class Applied:
    """Rows after a review.

    Attributes:
        rows: The rows that are left, in order.
        weights: Weight of each; None: all equal.
        review: What was done, in numbers.
    """

    rows: Dataset
    weights: tuple[float, ...] | None
    review: Reviewed


def apply_review(
    history: History,
    rows: Dataset,
    weights: Sequence[float] | None,
    ids: Sequence[str],
    *,
    base: int,
) -> Applied:
    """Return rows with the decisions applied; gold rows stay as they are.

    A row is known by its content: a decision is about all rows that equal it.

    Args:
        history: The decisions.
        rows: n rows of the round `base`.
        weights: Weight of each of the n rows; None: all equal.
        ids: Id of each of the n rows as it was written.
        base: The round.
    """
    done, counts, used = list[tuple[Example, float]](), Counter[str](), set[str]()
    for row, weight, name in zip(rows, weights or [1.0] * len(rows), ids, strict=True):
        is_gold = row.provenance.kind == "gold"
        decision = None if is_gold else history.on("synthetic", name)
        if decision is None:
            done.append((row, weight))
            continue
        used.add(name)
        found = name_change(row, decision.after)
        counts[found] += 1
        if decision.after is not None:
            done.append((change(row, decision.after), weight))
    review = Reviewed(
        base=base,
        **{name: counts[name] for name in REVIEWED},
        unused=sum(each.row not in used for each in history.all("synthetic")),
        decisions=history.digest(),
    )
    kept = None if weights is None else tuple(weight for _, weight in done)
    return Applied(Dataset(row for row, _ in done), kept, review)


def name_change(row: Example, after: Version | None) -> str:
    """Return what a decision made of a row, as `Reviewed` counts it."""
    if after is None:
        return "rejected"
    if after.text != row.text:
        return "edited"
    return "approved" if after.label == label_to_json(row.label) else "relabelled"


def change(row: Example, after: Version) -> Example:
    """Return a row with a reviewer's text and label; one that stays as it is, is itself."""
    if name_change(row, after) == "approved":
        return row
    # Answers are parts of a passage, which no reviewer changes; nor are sets of labels changed.
    label = after.label if isinstance(after.label, str) else row.label
    origin = replace(row.provenance, kind=KIND)
    return replace(row, text=after.text, label=label, provenance=origin)
