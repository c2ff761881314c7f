"""Data efficiency: the rows and calls that each method needs.

S3's claim (Wang, Zhou, Sachan, Findings of EMNLP 2023) is about data: better than ZeroGen with a
third of its rows. Here the run's student is trained on growing parts of each run's data set. The
rows needed to reach ZeroGen's best score are read off the learning curve.

The parts are nested: a random order of the rows in which the labels take turns, cut at common
sizes. Calls are charged pro rata: a tenth of the rows is a tenth of the run's calls. Scores are on
test, with the spread over runs and orders; nothing is chosen by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from typing import ClassVar

import numpy as np
from pydantic import Field

from stepsynth._util.rng import make_rng
from stepsynth.errors import DataError, TooFewRowsError
from stepsynth.records import Dataset, Example
from stepsynth.studies._charts import line_chart
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Cell, Chart, Findings, Study, Table
from stepsynth.studies._training import make_factory, score_name, score_rows

Curve = Mapping[int, float]
"""A learning curve: rows trained on -> score."""


@dataclass(frozen=True)
class Group:
    """The runs of one method.

    Attributes:
        curves: A curve for each run and order.
        rows: Rows of a run's data set, mean over the runs.
        calls: Requests for them, mean over the runs; None: not known.
    """

    name: str
    runs: int
    curves: tuple[Curve, ...]
    rows: float
    calls: float | None

    @property
    def mean(self) -> dict[int, float]:
        """The mean curve."""
        return {size: float(np.mean([c[size] for c in self.curves])) for size in self.curves[0]}

    @property
    def best(self) -> tuple[int, float]:
        """The fewest rows with the best mean score, and that score."""
        mean = self.mean
        size = max(mean, key=lambda s: (mean[s], -s))
        return size, mean[size]

    def spread(self, size: int) -> float:
        """Return the standard deviation of the scores at a size; 0 for a single curve."""
        scores = [curve[size] for curve in self.curves]
        return float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0

    def calls_for(self, rows: float) -> float | None:
        """Return the calls for a number of rows, pro rata."""
        return None if self.calls is None else self.calls * rows / self.rows


def find_crossing(curve: Curve, target: float) -> float | None:
    """Return the rows at which a curve first reaches a score, or None if it never does.

    Between two sizes the score is taken to be linear in the logarithm of the rows. A curve that
    starts above the target has reached it at its first size, if not before.
    """
    sizes = sorted(curve)
    if curve[sizes[0]] >= target:
        return float(sizes[0])
    for low, high in pairwise(sizes):
        if curve[low] < target <= curve[high]:
            share = (target - curve[low]) / (curve[high] - curve[low])
            return exp(log(low) + share * (log(high) - log(low)))
    return None


def order_rows(rows: Dataset, random_seed: int, *names: object) -> Dataset:
    """Return the rows in a random order; every prefix has about the label mix of all rows."""
    rng = make_rng(random_seed, "efficiency", *names)
    placed: list[tuple[float, float, Example]] = []
    for _, found in sorted(rows.by_label().items()):
        rng.shuffle(found)
        placed += [((i + 0.5) / len(found), rng.random(), row) for i, row in enumerate(found)]
    return Dataset(row for _, _, row in sorted(placed, key=lambda p: p[:2]))


class Efficiency(Study):
    """Learning curves by rows and calls, and what each method needs to reach ZeroGen's best."""

    name: ClassVar[str] = "efficiency"
    is_shared_out: ClassVar[bool] = True

    target: str = Field(
        default="zerogen",
        description="The method whose best score is to be reached; where no run is of it, the "
        "lowest of the methods' best scores.",
    )
    sizes: int = Field(default=6, ge=2, description="Sizes to train on, each double the last.")
    orders: int = Field(default=3, gt=0, description="Random orders of each run's rows.")

    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return the curves, and what each method needs to reach the target.

        Raises:
            DataError: The runs are not scored on the same test rows.
            TooFewRowsError: A run has too few rows for a curve.
        """
        grouped = self._group(subjects)
        warnings = _check(subjects, grouped)
        groups = [self._measure(name, of, warnings) for name, of in grouped.items()]
        by_name = {group.name: group for group in groups}
        aim = by_name.get(self.target)
        if aim is None:
            aim = min(groups, key=lambda g: g.best[1])
            if len(groups) > 1 or self.target != "zerogen":
                warnings.append(
                    f"no run is of the method {self.target!r}; the score to reach is the best of "
                    f"{aim.name!r}, the lowest of the methods' best"
                )
        score = score_name(subjects[0]).replace("_", " ")
        charts = [Chart(f"Test {score} against training rows", _spec(groups, score, "rows"))]
        if all(group.calls for group in groups):
            charts.append(Chart(f"Test {score} against calls", _spec(groups, score, "calls")))
        return Findings(
            self.name,
            (_needs(groups, aim, score, self.orders), _curves(groups, score)),
            tuple(charts),
            tuple(warnings),
        )

    def _group(self, subjects: Sequence[StudiedRun]) -> dict[str, list[StudiedRun]]:
        """Return the runs of each method; in a folder of `compare`, each method has a folder."""
        groups: dict[str, list[StudiedRun]] = {}
        for subject in subjects:
            name = subject.name.rpartition("/")[0] or subject.config.method.name
            groups.setdefault(name, []).append(subject)
        return groups

    def _measure(self, name: str, runs: Sequence[StudiedRun], warnings: list[str]) -> Group:
        ordered = [
            (subject, [self._order(subject, i) for i in range(self.orders)]) for subject in runs
        ]
        sizes = self._sizes(ordered)
        tasks: list[tuple[StudiedRun, list[Dataset]]] = []
        for subject, orders in ordered:
            if len(subject.rows) in sizes:
                # In the order of the run, so that the model is the run's; it is trained once.
                tasks.append((subject, [subject.rows]))
            tasks += [
                (subject, [rows[:size] for size in sizes if size < len(rows)]) for rows in orders
            ]
        scores = iter(self._do(f"{name}: curves", _train, tasks))
        curves: list[Curve] = []
        for subject, orders in ordered:
            every = len(subject.rows)
            of_all = next(scores)[0] if every in sizes else None
            known = {} if of_all is None else {every: of_all}
            below = [size for size in sizes if size < every]
            curves += [dict(zip(below, next(scores), strict=True)) | known for _ in orders]
            warnings += _differences(subject, of_all)
        # As `compare` counts them; 0: there was no LLM.
        counted = [s.summary.llm.calls for s in runs if s.summary and s.summary.llm.calls]
        return Group(
            name,
            len(runs),
            tuple(curves),
            float(np.mean([len(subject.rows) for subject in runs])),
            float(np.mean(counted)) if len(counted) == len(runs) else None,
        )

    def _order(self, subject: StudiedRun, index: int) -> Dataset:
        return order_rows(subject.rows, self.random_seed, subject.config.random_seed, index)

    def _sizes(self, ordered: Sequence[tuple[StudiedRun, Sequence[Dataset]]]) -> list[int]:
        """Return the sizes of the parts: all rows of the smallest run, and halves of it."""
        first = ordered[0][0]
        most = min(len(subject.rows) for subject, _ in ordered)
        labels = len(first.task.label_names)
        parts = [rows for _, orders in ordered for rows in orders]
        sizes = [
            size
            for size in sorted({most >> i for i in range(self.sizes)} - {0})
            if all(len(rows[:size].label_counts()) >= labels for rows in parts)
        ]
        if len(sizes) < 2:
            raise TooFewRowsError(
                f"{first.name}: {most} rows are too few for a curve: half of them lack a label",
                hint="give runs with more rows of every label",
            )
        return sizes


def _train(subject: StudiedRun, parts: Sequence[Dataset]) -> list[float]:
    """Train a run's student on each part, and return its scores on test."""
    factory = make_factory(subject)
    scores: list[float] = []
    for rows in parts:
        model = factory.new()
        model.fit(rows)
        scores.append(score_rows(subject, subject.test, model.predict))
    return scores


def _differences(subject: StudiedRun, of_all: float | None) -> list[str]:
    """Return a warning if the run's own model was trained in another way than on all its rows."""
    summary = subject.summary
    own = summary.test.get(score_name(subject)) if summary and summary.test else None
    if own is None or of_all is None or abs(own - of_all) < 1e-6:
        return []
    return [
        f"{subject.name}: trained here on all its rows it scores {of_all:.3f}, in the run "
        f"{own:.3f}: that had weights of rows, or gold rows beside them, and the curve is of the "
        "rows alone"
    ]


def _check(subjects: Sequence[StudiedRun], groups: Mapping[str, Sequence[StudiedRun]]) -> list[str]:
    """Make sure that the runs can be compared; return warnings."""
    # If test is split from gold, it differs by random seed: all methods need the same seeds.
    tests = {method: {s.test.digest(): s for s in of} for method, of in groups.items()}
    first, *others = tests
    for other in others:
        for digest in tests[first].keys() ^ tests[other].keys():
            subject = tests[first].get(digest) or tests[other][digest]
            raise DataError(
                f"{first} and {other} are not scored on the same test rows: {subject.name} is "
                "scored on others",
                hint="give runs of one task file with the same random seeds for every method, or "
                "with test rows in a file of their own (data.test)",
            )
    students = {s.config.student.model_dump_json() + s.config.student.name for s in subjects}
    if len(students) > 1:
        return ["the runs have different students: what differs may be theirs"]
    return []


def _needs(groups: Sequence[Group], aim: Group, score: str, orders: int) -> Table:
    size, target = aim.best
    rows: list[tuple[Cell, ...]] = []
    for group in groups:
        needed = size if group is aim else find_crossing(group.mean, target)
        reached = [find_crossing(curve, target) is not None for curve in group.curves]
        at, best = group.best
        rows.append(
            (
                group.name,
                group.runs,
                round(group.rows),
                None if group.calls is None else round(group.calls),
                best,
                group.spread(at),
                at,
                None if needed is None else round(needed),
                None if needed is None else _round(group.calls_for(needed)),
                None if needed is None else needed / size,
                sum(reached) / len(reached),
            )
        )
    return Table(
        f"Rows and calls to reach the best of {aim.name}: test {score} {target:.3f} at {size} rows",
        (
            "method",
            "runs",
            "rows",
            "calls",
            "best",
            "± sd",
            "at rows",
            "rows needed",
            "calls needed",
            "share of rows",
            "curves that reach it",
        ),
        tuple(rows),
        f"Means over runs and {orders} random orders of each run's rows; sd: of single scores. "
        "Rows needed: where the mean curve first reaches the target, between two sizes linear in "
        "the logarithm of the rows; the smallest size where it starts above. Calls: pro rata of "
        "the run's. Share of rows: of those that the target's method needs. A best of noisy scores "
        "is too high by a little, so the target is a hard one.",
    )


def _round(value: float | None) -> int | None:
    return None if value is None else round(value)


def _curves(groups: Sequence[Group], score: str) -> Table:
    rows = [
        (group.name, size, _round(group.calls_for(size)), mean, group.spread(size),
         min(c[size] for c in group.curves), max(c[size] for c in group.curves))
        for group in groups
        for size, mean in group.mean.items()
    ]  # fmt: skip
    return Table(
        f"Test {score} by training rows",
        ("method", "rows", "calls", score, "± sd", "lowest", "highest"),
        tuple(rows),
        "Each row is the mean over runs and orders. Nothing is chosen by these scores.",
    )


def _spec(groups: Sequence[Group], score: str, across: str) -> dict[str, object]:
    points: list[dict[str, object]] = []
    for group in groups:
        for size, mean in group.mean.items():
            x = size if across == "rows" else group.calls_for(size)
            half = group.spread(size)
            low, high = mean - half, mean + half
            points.append({across: x, score: mean, "method": group.name, "low": low, "high": high})
    band = ("low", "high")
    return line_chart(points, x=across, y=score, series="method", band=band, x_is_log=True)
