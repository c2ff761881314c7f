"""The lineage of errors: what was written for each, and whether it helped.

All of it is derived from the files of two rounds that follow each other: a mining row that is
misclassified in both is still wrong, one of the first alone is right now, one of the second alone
is newly wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stepsynth._util.text import normalise
from stepsynth.runfolder.rows import AddedRow, MissedRow, UnusedRow

NEAR = 0.2
"""Cosine of TF-IDF vectors of words from which two texts are near."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Mining row that the next round's model gets wrong and this one's does not.

    Attributes:
        missed: The row.
        cosine: Its similarity to the error that it is nearest to, 0-1.
    """

    missed: MissedRow
    cosine: float


@dataclass(frozen=True, slots=True)
class ErrorLineage:
    """Lineage of one error.

    Attributes:
        missed: The mining row, and what the round's model took it for.
        rows: Rows that the next round added for it, in their order.
        unused: Answers for it that became no row, then requests without an answer.
        is_fixed: Whether the next round's model gets it right; None: there is no next round.
        near: Newly wrong rows whose nearest error it is, most similar first.
    """

    missed: MissedRow
    rows: tuple[AddedRow, ...]
    unused: tuple[UnusedRow, ...]
    is_fixed: bool | None
    near: tuple[Neighbour, ...] = ()

    @property
    def prompts(self) -> list[str]:
        """What was asked for it: each prompt once, in order."""
        asked = (each.origin.prompt for each in (*self.rows, *self.unused))
        return list(dict.fromkeys(filter(None, asked)))


@dataclass(frozen=True, slots=True)
class RoundLineage:
    """Errors of a round, and what became of them in the next one.

    Attributes:
        index: The round whose model makes the errors.
        errors: They, in the order of the mining rows.
        newly_wrong: Mining rows that only the next round's model gets wrong; None: there is no
            next round.
    """

    index: int
    errors: tuple[ErrorLineage, ...]
    newly_wrong: tuple[MissedRow, ...] | None

    @property
    def fixed(self) -> list[ErrorLineage]:
        """The errors that the next round's model gets right."""
        return [each for each in self.errors if each.is_fixed]

    @property
    def still_wrong(self) -> list[ErrorLineage]:
        """The errors that the next round's model makes, too."""
        return [each for each in self.errors if each.is_fixed is False]


def trace_errors(
    index: int,
    missed: Sequence[MissedRow],
    missed_after: Sequence[MissedRow] | None,
    *,
    added: Iterable[AddedRow] = (),
    unused: Iterable[UnusedRow] = (),
) -> RoundLineage:
    """Return the lineage of a round's errors.

    Args:
        index: The round.
        missed: Its errors.
        missed_after: The errors of the next round; None: there is none.
        added: Rows that the next round added.
        unused: Its rejected answers and failed requests.
    """
    rows: dict[str, list[AddedRow]] = {}
    rest: dict[str, list[UnusedRow]] = {}
    for row in added:
        for parent in row.provenance.parents:
            rows.setdefault(parent, []).append(row)
    for each in unused:
        for parent in each.provenance.parents if each.provenance else ():
            rest.setdefault(parent, []).append(each)
    newly_wrong, near, wrong_after = None, {}, set[str]()
    if missed_after is not None:
        before = {each.example.id for each in missed}
        wrong_after = {each.example.id for each in missed_after}
        newly_wrong = tuple(each for each in missed_after if each.example.id not in before)
        near = _nearest(missed, newly_wrong)
    errors = tuple(
        ErrorLineage(
            each,
            tuple(rows.get(key, ())),
            tuple(rest.get(key, ())),
            None if missed_after is None else key not in wrong_after,
            near.get(place, ()),
        )
        for place, each in enumerate(missed)
        for key in [each.example.id]
    )
    return RoundLineage(index, errors, newly_wrong)


def _nearest(
    errors: Sequence[MissedRow], newly_wrong: Sequence[MissedRow]
) -> dict[int, tuple[Neighbour, ...]]:
    """Return place of an error -> the newly wrong rows that are near it and no nearer to others."""
    if not errors or not newly_wrong:
        return {}
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        preprocessor=normalise, token_pattern=r"(?u)\b\w+\b", sublinear_tf=True
    )
    texts = [each.example.text for each in (*errors, *newly_wrong)]
    try:
        vectors: Any = vectorizer.fit_transform(texts)
    except ValueError:  # no text holds a word
        return {}
    found: dict[int, list[Neighbour]] = {}
    for place, row in enumerate(newly_wrong, start=len(errors)):
        cosines = (vectors[: len(errors)] @ vectors[place].T).toarray().ravel()
        best = int(cosines.argmax())
        if cosines[best] >= NEAR:
            found.setdefault(best, []).append(Neighbour(row, round(float(cosines[best]), 4)))
    return {
        place: tuple(sorted(rows, key=lambda each: -each.cosine)) for place, rows in found.items()
    }
