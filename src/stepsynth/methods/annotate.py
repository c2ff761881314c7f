"""Annotate: the LLM labels unlabelled texts of the user's own, which the student is trained on.

Wang et al.: "Want To Reduce Labeling Cost? GPT-3 Can Help", Findings of EMNLP 2021. Gold rows are
few-shot examples (shots) in the prompt, by default those most like the text.

With several `votes` the label is the commonest (Wang et al.: "Self-Consistency", ICLR 2023). A text
whose votes are level becomes no row. The LLM also labels some gold rows, without seeing theirs: how
many it gets right is what its labels are worth, and the run says so, and whether a model of other
gold rows gets more of them right.

Labels of an LLM are noisy: `curation: {check: confident}` leaves out those that a model of the
others contradicts, and `train_on: both` adds the gold rows.

Departures:
    - `choose: uncertain` draws texts by the entropy of a model of `mine`, which covers more than
      taking the most uncertain ones.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from stepsynth.curation import out_of_fold, split_by_texts
from stepsynth.errors import TooFewRowsError
from stepsynth.llm import Completion, Request
from stepsynth.methods._decide import Decisions, ShotsFrom
from stepsynth.methods._method import Round, Setup, SynthesisMethod, Unused
from stepsynth.methods._writer import Writer
from stepsynth.metrics import Floats, wilson_interval
from stepsynth.records import Dataset, Example, Label, Provenance, Rejected
from stepsynth.tasks import Task

CHECK_SHARE = 1 / 5
"""Share of the budget that the check of gold rows gets at most."""

CLEAR = 0.05
"""P-value (exact McNemar test) at which a model of gold rows is said to be ahead of the LLM."""


@dataclass(frozen=True)
class Vote:
    """One answer about a text.

    Attributes:
        label: The label that it gives.
        answer: The answer.
    """

    label: Label
    answer: Completion


class Annotate(SynthesisMethod):
    """The `annotate` method."""

    name: ClassVar[str] = "annotate"
    kinds: ClassVar[tuple[str, ...]] = ("classification", "sentence_pair", "multi_label")
    needs_gold: ClassVar[bool] = False
    needs_unlabelled: ClassVar[bool] = True
    sees: ClassVar[str] = "texts and labels of `mine`: they go into prompts"
    prompts: ClassVar[tuple[str, ...]] = ("decide",)

    size: int = Field(default=1000, gt=0, description="Texts to label.")
    shots: int = Field(default=8, ge=0, le=100, description="Gold rows in each prompt (k).")
    shots_from: ShotsFrom = Field(
        default="nearest", description="Shots are the gold rows most like the text, or random ones."
    )
    votes: int = Field(default=1, gt=0, le=50, description="Answers about each text.")
    choose: Literal["random", "uncertain"] = Field(
        default="random",
        description="Texts to label: random ones, or those that a model of `mine` is unsure of.",
    )
    check: int = Field(
        default=50, ge=0, description="Gold rows that the LLM labels too, to see how good it is."
    )

    @property
    def uses_gold(self) -> bool:
        """Whether it needs gold rows, given its keys."""
        return self.shots > 0 or self.check > 0 or self.choose == "uncertain" or super().uses_gold

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Return the keys without effect, and why."""
        found = super().idle_keys(task)
        if not self.shots:
            found["shots_from"] = "there are no shots"
        if task.has_label_sets:
            found["choose"] = "texts that have sets of labels are random ones"
        return found

    def sized(self, rows: int) -> Self:
        """Return the method for this number of rows."""
        return self.model_copy(update={"size": rows})

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: the texts that the LLM labels, and the model trained on them."""
        yield self.label(Writer(setup, self.name))

    def label(self, writer: Writer) -> Round:
        """Return the round of the texts that the LLM labels.

        Raises:
            TooFewRowsError: It labels none.
        """
        setup = writer.setup
        decisions = Decisions(setup, self.shots, self.shots_from)
        precision = self._check(writer, decisions)
        texts = self._choose(setup)
        for text, votes in zip(texts, self._ask(texts, writer, decisions), strict=True):
            self._settle(text, votes, writer)
        if not writer.written.rows:
            raise TooFewRowsError(
                "annotate: the LLM labelled none of the texts",
                hint="see rounds/*/rejected.jsonl and failed.jsonl for what it said",
            )
        return replace(writer.train(), verdict=precision)

    def _check(self, writer: Writer, decisions: Decisions) -> str | None:
        """Return how many gold labels the LLM finds, in a sentence."""
        setup = writer.setup
        rows = setup.rng("check").sample(setup.mine, min(self.check, len(setup.mine)))
        with setup.spending.part(CHECK_SHARE):
            answers = self._ask(rows, writer, decisions)
        said = [
            (row, label)
            for row, votes in zip(rows, answers, strict=True)
            if (label := commonest(votes)) is not None
        ]
        if not said:
            return None
        hits = np.array([setup.task.is_correct(row, str(label)) for row, label in said], float)
        right, share = int(hits.sum()), hits.mean()
        low, high = wilson_interval(right, len(said))
        told = (
            f"the LLM's labels are those of {right} of {len(said)} gold rows "
            f"({share:.0%}, 95 % interval {low:.0%} to {high:.0%})"
        )
        if not is_ahead(np.ones(len(hits)), hits):  # not even a model that is always right
            return told
        alone = hits_of_gold([row for row, _ in said], setup)
        if not is_ahead(alone, hits):
            return told
        told += f"; a model of other gold rows alone is right on {alone.sum():.0f} of these"
        setup.warn(
            f"annotate: {told}. So its labels may do harm: take a better LLM, or method: selftrain"
        )
        return told

    def _choose(self, setup: Setup) -> list[Example]:
        """Return the texts to label, in their order in the data.

        Under a budget they are in the order in which they are drawn: those that it does not reach
        are then random ones, not the end of a file that may be sorted.
        """
        texts = Dataset(fit_for_training(setup))
        size = min(self.size, len(texts))
        if size < self.size and not setup.spending.is_limited:
            setup.warn(f"annotate: there are {len(texts)} unlabelled texts, not {self.size}")
        if size == len(texts) and not setup.spending.is_limited:
            return list(texts)
        drawn = self._draw(texts, size, setup)
        return [texts[i] for i in (drawn if setup.spending.is_limited else sorted(drawn))]

    def _draw(self, texts: Dataset, size: int, setup: Setup) -> list[int]:
        """Return the places of drawn texts."""
        rng = setup.rng("texts")
        if self.choose == "random" or setup.task.has_label_sets:
            return rng.sample(range(len(texts)), size)
        p = setup.student.fit_predict(setup.mine, texts).probabilities
        entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=1)
        # Gumbel's trick: the largest keys are a draw without replacement by these weights.
        noise = np.array([rng.random() for _ in texts])
        keys = np.log(np.maximum(entropy, 1e-12)) - np.log(-np.log(noise))
        return np.argsort(-keys, kind="stable")[:size].tolist()

    def _ask(
        self, texts: Sequence[Example], writer: Writer, decisions: Decisions
    ) -> list[list[Vote]]:
        """Return the readable answers about each text."""
        by_id = {text.id: text for text in texts}

        def parse(answer: Completion, request: Request) -> Vote | Rejected:
            row = by_id[request.tags["row"]]
            found = writer.setup.task.parse_decision(answer.text, row, truncated=answer.truncated)
            return found if isinstance(found, Rejected) else Vote(found, answer)

        asked = [one for one in decisions.requests(texts) for _ in range(self.votes)]
        found = writer.ask(asked, parse)
        return [
            [vote for vote in found[i * self.votes : (i + 1) * self.votes] if vote is not None]
            for i in range(len(texts))
        ]

    def _settle(self, text: Example, votes: Sequence[Vote], writer: Writer) -> None:
        """Add the row of a text with the label of most votes, or record that there is none."""
        if not votes:
            return  # recorded with its answers
        label = commonest(votes)
        answer = next((vote for vote in votes if vote.label == label), votes[0]).answer
        model = answer.model or writer.setup.llm.settings.model
        origin = Provenance(
            *(writer.method, writer.index, "annotate"),
            draw=answer.draw,
            request=answer.request_id,
            model=model,
        )
        if label is None:
            found = Rejected("votes_level", answer.text)
            writer.written.unused.append(Unused(found, "", origin, context=text.context))
        else:
            writer.written.rows.append(replace(text, label=label, provenance=origin))


def fit_for_training(setup: Setup) -> list[Example]:
    """Return the unlabelled texts that curation lets through: none is paid for and thrown away."""
    kept: list[Example] = []
    reasons = Counter[str]()
    for text in setup.unlabelled:
        found = setup.curator.reject(text, parent=None, completion="")
        if found is None:
            kept.append(text)
        else:
            reasons[found.reason] += 1
    for reason, count in reasons.items():
        setup.warn(f"annotate: {count} texts were left out: {reason.replace('_', ' ')}")
    return kept


def hits_of_gold(rows: Sequence[Example], setup: Setup) -> Floats:
    """Return 1 for each row of `mine` that models of the others predict right, else 0.

    All are 0 where labels are sets; a row whose label no other text of `mine` has gets 0, too.
    """
    if setup.task.has_label_sets:
        return np.zeros(len(rows))
    checked, lone = split_by_texts(setup.mine)
    if not checked:
        return np.zeros(len(rows))
    fit_predict, rng = setup.student.fit_predict, setup.rng("folds")
    said = out_of_fold(checked, fit_predict, rng=rng, always=lone)
    found = zip(checked, said.hits(checked.labels), strict=True)
    right = {row.id for row, is_right in found if is_right}
    return np.array([row.id in right for row in rows], float)


def is_ahead(first: Floats, second: Floats) -> bool:
    """Return whether the first is right clearly more often; both are 1 or 0 for each of n rows."""
    from scipy.stats import binomtest

    won, lost = int((first > second).sum()), int((first < second).sum())
    return won > 0 and float(binomtest(won, won + lost, alternative="greater").pvalue) < CLEAR


def commonest(votes: Sequence[Vote]) -> Label | None:
    """Return the label or set that most votes give; None: two are level, or there is no vote."""
    ranked = Counter(vote.label for vote in votes).most_common(2)
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]
