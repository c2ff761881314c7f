"""Advice on what is worth more: more labels or more synthesis.

Learning curves over gold rows and over synthetic rows: the run's student is trained on growing
parts of one beside all of the other, and scored on gold rows that were held out, with the rows that
were written from them. Each repeat holds out another third of the gold rows. The score is taken to
be linear in the logarithm of the rows, and the line is followed to the rows that would be added.

Intervals are for what one user would see, not for the mean: they hold the spread of the slopes over
repeats, and of the scores about their lines. Test rows are not looked at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.stats import t

from stepsynth._util.rng import make_rng
from stepsynth.errors import DataError, TooFewRowsError
from stepsynth.records import Dataset, union
from stepsynth.studies._charts import line_chart
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Chart, Findings, Study, Table
from stepsynth.studies._training import make_factory, score_name, score_rows
from stepsynth.studies.efficiency import order_rows

Floats = npt.NDArray[np.float64]

SHARES = (0.25, 0.5, 1.0)
"""Parts of the rows that are trained on."""

HELD_OUT = 3
"""One row in this many is held out."""


@dataclass(frozen=True)
class Curve:
    """Scores of students by the number of rows of one kind.

    Attributes:
        kind: "labels" or "synthetic rows".
        now: Rows of the kind that the user has.
        sizes: (n_sizes,) rows trained on.
        scores: (n_repeats, n_sizes), 0-1.
    """

    kind: str
    now: int
    sizes: tuple[int, ...]
    scores: Floats

    def predict_gain(self, more: int, coverage: float = 0.95) -> tuple[float, float, float]:
        """Return the gain in score of so many more rows: mean, lower and upper bound."""
        x = np.log2(self.sizes)
        centred = x - x.mean()
        slopes = self.scores @ centred / (centred @ centred)
        lines = self.scores.mean(axis=1, keepdims=True) + slopes[:, None] * centred
        repeats, sizes = self.scores.shape
        noise = float(((self.scores - lines) ** 2).sum()) / (repeats * (sizes - 2))
        far = log2((self.now + more) / self.now)
        variance = slopes.var(ddof=1) * far**2 * (1 + 1 / repeats) + 2 * noise
        half = float(t.ppf((1 + coverage) / 2, repeats - 1)) * float(np.sqrt(variance))
        mean = float(slopes.mean()) * far
        return mean, mean - half, mean + half


class Advice(Study):
    """What more labels and more synthetic rows would add to the score, with intervals."""

    name: ClassVar[str] = "advice"

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
                more = self.labels if curve.kind == "labels" else self.rows or curve.now
                mean, low, high = (100 * value for value in curve.predict_gain(more))
                what = f"{more} more {curve.kind}"
                cost = "" if curve.kind == "labels" else _cost(subject, more)
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
        if not gold:
            raise DataError(
                f"{subject.name}: there are no gold rows but those of test",
                hint="give a run whose task file has data.gold",
            )
        scores: dict[str, list[list[float]]] = {"labels": [], "synthetic rows": []}
        train = int(len(gold) * (1 - 1 / HELD_OUT))
        if min(train, len(subject.rows)) * SHARES[0] < 2 * len(subject.task.label_names or "a"):
            raise TooFewRowsError(
                f"{subject.name}: {len(gold)} gold and {len(subject.rows)} synthetic rows are too "
                "few for a curve",
                hint="a quarter of either should hold two rows of each label",
            )
        for i in range(self.repeats):
            ordered = order_rows(gold, self.random_seed, "gold", i)
            known, held_out = _hold_out(ordered, i, self.random_seed)
            hidden = {row.id for row in held_out}
            fair = [row for row in subject.rows if not hidden.intersection(row.provenance.parents)]
            synthetic = order_rows(Dataset(fair), self.random_seed, "synthetic", i)
            all_of_both = self._score(subject, known, synthetic, held_out)
            pairs = {
                "labels": [(_part(known, share), synthetic) for share in SHARES[:-1]],
                "synthetic rows": [(known, _part(synthetic, share)) for share in SHARES[:-1]],
            }
            for kind, parts in pairs.items():
                found = [self._score(subject, *each, held_out) for each in parts]
                scores[kind].append([*found, all_of_both])
            self._on_progress("learning curves", i + 1, self.repeats)
        for kind, now, most in (
            ("labels", len(gold), train),
            ("synthetic rows", len(subject.rows), len(subject.rows)),
        ):
            sizes = tuple(max(1, int(most * share)) for share in SHARES)
            yield Curve(kind, now, sizes, np.array(scores[kind]))

    def _score(
        self, subject: StudiedRun, gold: Dataset, synthetic: Dataset, held_out: Dataset
    ) -> float:
        model = make_factory(subject).judge()
        model.fit(union(gold, synthetic))
        return score_rows(subject, held_out, model.predict)


def _hold_out(rows: Dataset, index: int, random_seed: int) -> tuple[Dataset, Dataset]:
    """Return known and held-out rows; both have about the label mix of all."""
    rng = make_rng(random_seed, "advice", index)
    places = set(rng.sample(range(len(rows)), len(rows) // HELD_OUT))
    known = Dataset(row for i, row in enumerate(rows) if i not in places)
    return known, Dataset(row for i, row in enumerate(rows) if i in places)


def _part(rows: Dataset, share: float) -> Dataset:
    return rows[: max(1, int(len(rows) * share))]


def _cost(subject: StudiedRun, more: int) -> str:
    """Return the calls and USD of so many more rows, pro rata of the run's."""
    llm = subject.summary.llm if subject.summary else None
    if llm is None or not subject.rows:
        return ""
    each = more / len(subject.rows)
    calls = f"{round(llm.calls * each)} calls" if llm.calls else ""
    usd = f"{llm.usd * each:.2f} USD" if llm.usd else ""
    return ", ".join(filter(None, (calls, usd)))


def _points(subject: StudiedRun, curve: Curve) -> Iterator[dict[str, object]]:
    score = score_name(subject).replace("_", " ")
    for share, value in zip(SHARES, curve.scores.mean(axis=0), strict=True):
        name = f"{subject.name}: {curve.kind}"
        yield {"share of the rows": share, score: float(value), "rows": name}
