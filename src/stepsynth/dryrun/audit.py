"""Audit of gold rows before money is spent: wrong labels, contradictions, ambiguous rows.

Wrong labels are those that confident learning finds (Northcutt, Jiang, Chuang, JAIR 2021), with
students that have not seen the row. They are not looked for where these students are no better
than the commonest label: what they doubt would be noise.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import Any, Literal

import numpy as np

from stepsynth._util.rng import make_rng
from stepsynth._util.words import listed
from stepsynth.curation import (
    flag_confident,
    jaccard,
    knows_something,
    out_of_fold,
    row_key,
    shingles,
    split_by_texts,
)
from stepsynth.errors import ConfigError
from stepsynth.metrics import Predictions
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory

NEAR = 0.7
"""Jaccard similarity of word 3-grams from which two texts should have the same label."""

AMBIGUOUS = 0.1
"""Difference of the two most probable labels below which a row is ambiguous."""

MOST_AMBIGUOUS = 0.05
"""Largest share of the rows that is listed as ambiguous: of a weak student all would be."""

PASSES = 3
"""Times that rows are divided into folds: the mean of several predictions doubts fewer rows in
vain."""

Kind = Literal["wrong_label", "contradiction", "ambiguous"]
KINDS: tuple[Kind, ...] = ("wrong_label", "contradiction", "ambiguous")


@dataclass(frozen=True)
class Doubt:
    """A doubt about a gold row.

    Attributes:
        row: The row.
        kind: What may be wrong with it.
        reason: The evidence, in a sentence.
        suggested: The label that it may have; None: none is suggested.
        strength: The doubts of a kind are sorted by it, the strongest first.
    """

    row: Example
    kind: Kind
    reason: str
    suggested: str | None = None
    strength: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a line of the file of decisions, with an empty decision."""
        context = {} if self.row.context is None else {"context": self.row.context}
        return {
            "text": self.row.text,
            **context,
            "label": self.row.label,
            "kind": self.kind,
            "suggested": self.suggested,
            "reason": self.reason,
            "decision": "",
        }


def audit(rows: Dataset, factory: StudentFactory, warn: Callable[[str], None]) -> list[Doubt]:
    """Return the doubts about gold rows, the likeliest errors first; one for a row.

    Args:
        rows: n gold rows of a task with labels.
        factory: Its student is fitted on five folds, three times.
        warn: Called with what could not be looked for.

    Raises:
        ConfigError: The rows are questions, whose labels are answers.
    """
    if not factory.label_names:
        raise ConfigError(
            "the labels of questions are answers, which an audit cannot doubt",
            hint="audit a task with labels: kind classification or sentence_pair",
        )
    found = [*_contradictions(rows)]
    checked, lone = split_by_texts(rows)
    if lone:
        names = listed(sorted(map(repr, set(lone.labels))))
        warn(f"no other text has the label {names}: whether it is wrong cannot be told")
    if len(set(checked.labels)) < 2:
        warn("wrong labels are not looked for: fewer than two labels have two texts or more")
    else:
        said = _predict(checked, lone, factory)
        if knows_something(said, checked):
            found += _wrong_labels(checked, said)
        else:
            warn(
                "wrong labels are not looked for: students of the other gold rows predict a row no "
                "better than the commonest label does"
            )
        found += _ambiguous(checked, said)
    found.sort(key=lambda doubt: (KINDS.index(doubt.kind), -doubt.strength))
    first: dict[str, Doubt] = {}
    for doubt in found:
        first.setdefault(doubt.row.id, doubt)
    return list(first.values())


def _predict(rows: Dataset, lone: Dataset, factory: StudentFactory) -> Predictions:
    """Return out-of-fold predictions, the mean of several divisions into folds."""
    passes = [
        out_of_fold(
            rows,
            factory.fit_predict,
            rng=make_rng(factory.random_seed, "audit", i),
            always=lone,
        )
        for i in range(PASSES)
    ]
    mean = np.mean([said.probabilities for said in passes], axis=0)
    return Predictions(passes[0].label_names, mean)


def _wrong_labels(rows: Dataset, said: Predictions) -> Iterator[Doubt]:
    for i, is_wrong in enumerate(flag_confident(rows, said).wrong):
        if is_wrong:
            row, label, p = rows[i], said.labels[i], said.probabilities[i]
            own = float(p[said.label_names.index(str(row.label))])
            other = float(p.max())
            reason = f"students of the other rows give {label!r} {other:.0%}, its label {own:.0%}"
            yield Doubt(row, "wrong_label", reason, label, other - own)


def _contradictions(rows: Dataset) -> Iterator[Doubt]:
    """Yield rows whose text is nearly that of a row with another label."""
    keys = [row_key(row) for row in rows]
    parts = [shingles(text, context) for context, text in keys]
    counts = Counter(chain.from_iterable(parts))
    # Two sets this similar share one of their rarest shingles; common phrases need no look.
    rarest = [
        sorted(found, key=lambda shingle: (counts[shingle], shingle))[
            : len(found) - ceil(NEAR * len(found)) + 1
        ]
        for found in parts
    ]
    places: dict[str, list[int]] = defaultdict(list)
    for i, found in enumerate(rarest):
        for shingle in found:
            places[shingle].append(i)
    for i, row in enumerate(rows):
        near = {j for shingle in rarest[i] for j in places[shingle] if rows[j].label != row.label}
        best = max(near, key=lambda j: (jaccard(parts[i], parts[j]), -j), default=i)
        similarity = jaccard(parts[i], parts[best])
        if best != i and similarity >= NEAR:
            other = rows[best]
            reason = f"nearly the same text has the label {other.label!r}: {other.text!r}"
            yield Doubt(row, "contradiction", reason, None, similarity)


def _ambiguous(rows: Sequence[Example], said: Predictions) -> Iterator[Doubt]:
    """Yield the rows whose two most probable labels are nearly as probable, a few at most."""
    most = np.sort(said.probabilities, axis=1)
    gaps = most[:, -1] - most[:, -2]
    for i in np.argsort(gaps, kind="stable")[: int(len(rows) * MOST_AMBIGUOUS)]:
        if gaps[i] < AMBIGUOUS:
            order = np.argsort(-said.probabilities[i], kind="stable")[:2]
            first, second = (f"{said.label_names[j]!r}" for j in order)
            reason = f"students of the other rows give {first} and {second} the same probability"
            yield Doubt(rows[int(i)], "ambiguous", reason, None, -float(gaps[i]))
