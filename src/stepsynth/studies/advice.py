"""Advice on what is worth more: more labels or more synthesis.

Learning curves over gold rows and over synthetic rows: the run's student is trained on growing
parts of one beside all of the other, and scored on gold rows that were held out, with the rows that
were written from them. Each repeat holds out another third of the gold rows. The score is taken to
be linear in the logarithm of the rows, and the line is followed to the rows that would be added.

Intervals are for what one user would see, not for the mean: they hold the spread of the slopes over
repeats, and of the scores about their lines. Test rows are not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import ClassVar

import numpy as np
from pydantic import Field
from scipy.stats import t

from stepsynth._util.rng import make_rng
from stepsynth._util.words import usd
from stepsynth.curation import row_digest
from stepsynth.errors import DataError, TooFewRowsError
from stepsynth.metrics import Floats
from stepsynth.records import Dataset, union
from stepsynth.students import NO_CALLBACKS
from stepsynth.studies._charts import line_chart
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Chart, Findings, Study, Table
from stepsynth.studies._training import make_factory, score_name, score_rows
from stepsynth.studies.efficiency import order_rows

SHARES = (0.25, 0.5, 1.0)
"""Parts of the rows that are trained on."""

LABELS, SYNTHETIC = "labels", "synthetic rows"

HELD_OUT = 3
"""One row in this many is held out."""


@dataclass(frozen=True)
class Curve:
    """Scores of students by the number of rows of one kind.

    Attributes:
        kind: LABELS or SYNTHETIC.
        now: Rows of the kind that the user has.
        sizes: (n_repeats, n_sizes) rows trained on.
        scores: (n_repeats, n_sizes), 0-1.
        held_out: Rows that each score is on.
    """

    kind: str
    now: int
    sizes: Floats
    scores: Floats
    held_out: int

    def predict_gain(self, more: int) -> tuple[float, float, float]:
        """Return the gain in score of so many more rows: mean, and its 95 % interval."""
        x = np.log2(self.sizes)
        centred = x - x.mean(axis=1, keepdims=True)
        slopes = (self.scores * centred).sum(axis=1) / (centred**2).sum(axis=1)
        lines = self.scores.mean(axis=1, keepdims=True) + slopes[:, None] * centred
        repeats, sizes = self.scores.shape
        noise = float(((self.scores - lines) ** 2).sum()) / (repeats * (sizes - 2))
        # Scores that do not move at all still move by a row.
        noise = max(noise, 1 / self.held_out**2)
        far = log2((self.now + more) / self.now)
        variance = slopes.var(ddof=1) * far**2 * (1 + 1 / repeats) + 2 * noise
        half = float(t.ppf(0.975, repeats - 1)) * float(np.sqrt(variance))
        mean = float(slopes.mean()) * far
        return mean, mean - half, mean + half


class Advice(Study):
    """What more labels and more synthetic rows would add to the score, with intervals."""

    name: ClassVar[str] = "advice"
    is_shared_out: ClassVar[bool] = True

    labels: int = Field(default=100, gt=0, description="Labels more, whose worth is predicted.")
    rows: int | None = Field(
        default=None, gt=0, description="Synthetic rows more; default: as many again."
    )
    repeats: int = Field(default=10, ge=3, description="Times that other gold rows are held out.")

    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return the predicted gains and the curves of each run.

        Raises:
            DataError: A run has no gold rows but those of test.
            TooFewRowsError: There are too few rows for a curve.
        """
        gains: list[tuple[str, str, int, int, float, float, float, str]] = []
        points: list[dict[str, object]] = []
        for subject in subjects:
            for curve in self._measure(subject):
                more = self.labels if curve.kind == LABELS else self.rows or curve.now
                mean, low, high = (100 * value for value in curve.predict_gain(more))
                what = f"{more} more {curve.kind}"
                cost = "" if curve.kind == LABELS else _cost(subject, more)
                gains.append((subject.name, what, curve.now, more, mean, low, high, cost))
                points += _points(subject, curve)
        score = score_name(subjects[0]).replace("_", " ")
        table = Table(
            f"What more would add, in points of {score}",
            ("run", "what", "now", "more", "gain", "low", "high", "cost"),
            tuple(gains),
            f"95 % intervals for what would be seen, from {self.repeats} repeats that each hold "
            "out a third of the gold rows of mine and select. Gold and synthetic rows weigh the "
            "same. "
            "The score is taken to be linear in the logarithm of the rows.",
        )
        chart = line_chart(points, x="share of the rows", y=score, series="rows")
        title = f"{score} on held-out gold by the share of labels and of synthetic rows"
        return Findings(self.name, (table,), (Chart(title, chart),))

    def _measure(self, subject: StudiedRun) -> Iterator[Curve]:
        """Yield the curve over labels, beside all synthetic rows, and the one over these."""
        gold = union(subject.mine, () if subject.select == subject.mine else subject.select)
        rows = _synthetic(subject)
        if not gold:
            raise DataError(
                f"{subject.name}: there are no gold rows but those of test",
                hint="give a run whose task file has data.gold",
            )
        given = [(subject, gold, rows, self.random_seed, i) for i in range(self.repeats)]
        repeats = self._do("learning curves", _repeat, given)
        for kind, now in ((LABELS, len(gold)), (SYNTHETIC, len(rows))):
            sizes = np.array([repeat.sizes[kind] for repeat in repeats], dtype=float)
            scores = np.array([repeat.scores[kind] for repeat in repeats])
            yield Curve(kind, now, sizes, scores, repeats[-1].held_out)


@dataclass(frozen=True)
class _Repeat:
    """Points of both curves, by the kind of rows, with one choice of held-out rows."""

    sizes: Mapping[str, Sequence[int]]
    scores: Mapping[str, Sequence[float]]
    held_out: int


def _repeat(
    subject: StudiedRun, gold: Dataset, rows: Dataset, random_seed: int, index: int
) -> _Repeat:
    """Train on growing parts of either kind of rows, beside all of the other."""
    ordered = order_rows(gold, random_seed, "gold", index)
    known, held_out = _hold_out(ordered, index, random_seed)
    fair = order_rows(_without(rows, held_out), random_seed, "synthetic", index)
    _check(subject, known, fair, len(rows))
    known_parts, fair_parts = (
        [part[: int(len(part) * share)] for share in SHARES] for part in (known, fair)
    )
    all_of_both = _score(subject, known, fair, held_out)
    scores = {
        LABELS: [_score(subject, part, fair, held_out) for part in known_parts[:-1]],
        SYNTHETIC: [_score(subject, known, part, held_out) for part in fair_parts[:-1]],
    }
    return _Repeat(
        {LABELS: [*map(len, known_parts)], SYNTHETIC: [*map(len, fair_parts)]},
        {kind: [*found, all_of_both] for kind, found in scores.items()},
        len(held_out),
    )


def _score(subject: StudiedRun, gold: Dataset, synthetic: Dataset, held_out: Dataset) -> float:
    factory = make_factory(subject)
    factory.callbacks = NO_CALLBACKS  # select may be held out here: no epoch is chosen by it
    model = factory.judge()
    model.fit(union(gold, synthetic))
    return score_rows(subject, held_out, model.predict)


def _synthetic(subject: StudiedRun) -> Dataset:
    """Return the synthetic rows; where gold alone was kept, those that the rounds wrote."""
    gold = {row_digest(row) for row in subject.gold}
    for rows in (subject.rows, union(*(done.added for done in subject.rounds))):
        kept = [row for row in rows if row_digest(row) not in gold]
        if kept:
            return Dataset(kept)
    raise TooFewRowsError(
        f"{subject.name}: it has no synthetic rows", hint="give a run of a method that writes rows"
    )


def _without(rows: Dataset, held_out: Dataset) -> Dataset:
    """Return the rows that were not written from a held-out row."""
    hidden = {row.id for row in held_out}
    return Dataset(row for row in rows if not hidden.intersection(row.provenance.parents))


def _check(subject: StudiedRun, known: Dataset, fair: Dataset, number: int) -> None:
    """Make sure that the smallest parts can hold two rows of each label."""
    least = 2 * len(subject.task.label_names or "a") / SHARES[0]
    if min(len(known), len(fair)) < least:
        raise TooFewRowsError(
            f"{subject.name}: {len(known)} gold rows, and {len(fair)} of {number} synthetic rows "
            "that were not written from a held-out one, are too few for a curve",
            hint=f"{least:.0f} of either are needed",
        )


def _hold_out(rows: Dataset, index: int, random_seed: int) -> tuple[Dataset, Dataset]:
    """Return known rows, in their order, and held-out ones, drawn at random."""
    rng = make_rng(random_seed, "advice", index)
    places = set(rng.sample(range(len(rows)), len(rows) // HELD_OUT))
    known = Dataset(row for i, row in enumerate(rows) if i not in places)
    return known, Dataset(row for i, row in enumerate(rows) if i in places)


def _cost(subject: StudiedRun, more: int) -> str:
    """Return the calls and USD of so many more rows, pro rata of the run's."""
    llm = subject.summary.llm if subject.summary else None
    if llm is None:
        return ""
    each = more / len(_synthetic(subject))
    calls = f"{round(llm.calls * each)} calls" if llm.calls else ""
    cost = usd(llm.usd * each) if llm.usd else ""
    return ", ".join(filter(None, (calls, cost)))


def _points(subject: StudiedRun, curve: Curve) -> Iterator[dict[str, object]]:
    score = score_name(subject).replace("_", " ")
    for share, value in zip(SHARES, curve.scores.mean(axis=0), strict=True):
        name = f"{subject.name}: {curve.kind}"
        yield {"share of the rows": share, score: float(value), "rows": name}
