"""Coverage of gold by the rows (S3, Table 8).

The paper places all texts in a plane by t-SNE and gives the share of gold points within a radius of
a synthetic point. It does not state the radius. Here the radius is the median distance of a gold
text to the nearest other gold text, so it is the same for every set, and nobody chooses it. With
`paper: true`, distances are taken in a t-SNE plane; otherwise in the encoder's own space, where a
distance means the same everywhere.

More rows cover more of gold. So each set is also cut to the size of half of gold. The yardstick
beside it is what the other half of gold covers.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from stepsynth._util.rng import make_rng
from stepsynth.errors import DataError
from stepsynth.metrics import Floats, covered_share, nearest_distances
from stepsynth.records import Dataset, union
from stepsynth.studies._charts import line_chart
from stepsynth.studies._features import ENCODER_OPTION, LSA, embed
from stepsynth.studies._sampling import draw, halve, without_copies
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Cell, Chart, Findings, Study, Table

_DRAWS = 5
_FEWEST = 20
_STEPS = 25


class Coverage(Study):
    """The `coverage` study."""

    name: ClassVar[str] = "coverage"

    sample: int = Field(
        default=5000, ge=2 * _FEWEST, description="Most rows of each set that are placed."
    )
    encoder: str = Field(default=LSA, description=ENCODER_OPTION)
    paper: bool = Field(
        default=False, description="Measure in a plane by t-SNE, as the paper; slower."
    )

    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return the share of gold that each set covers, and its growth with the radius."""
        lines: list[tuple[Cell, ...]] = []
        points: list[dict[str, Any]] = []
        by_gold: dict[Dataset, list[StudiedRun]] = {}
        for subject in subjects:
            by_gold.setdefault(subject.unseen, []).append(subject)
        for gold, group in by_gold.items():
            yardstick = "gold itself" if len(by_gold) == 1 else f"gold of {group[0].name}"
            found, curve = self._cover(gold, group, yardstick)
            lines += found
            points += curve
        space = f"{self.encoder} vectors" + (" in a plane by t-SNE" if self.paper else "")
        table = Table(
            "Coverage of gold that the method was not shown",
            ("set", "rows", "gold", "radius", "covered", "by as many", "spread", "by gold itself"),
            tuple(lines),
            f"Share of gold texts with a text of the set within the radius, in {space}; the radius "
            "is the median distance of a gold text to the nearest other. By as many: rows of the "
            f"set cut to the size of half of gold, mean and standard deviation of {_DRAWS} draws; "
            "by gold itself: what that half of gold reaches of the other one.",
        )
        spec = line_chart(points, x="radius", y="covered", series="set")
        return Findings(self.name, (table,), (Chart("Coverage of gold by radius", spec),))

    def _cover(
        self, gold: Dataset, group: Sequence[StudiedRun], yardstick: str
    ) -> tuple[list[tuple[Cell, ...]], list[dict[str, Any]]]:
        """Return a line of the table and a curve for each subject with the same gold."""
        rng = make_rng(self.random_seed, self.name)
        half, other = halve(draw(without_copies(gold), self.sample, rng), rng)
        if len(half) < _FEWEST:
            raise DataError(
                f"{group[0].name}: coverage needs {2 * _FEWEST} different gold rows that the "
                f"method was not shown; there are {2 * len(half)}",
                hint="give more rows to select and test",
            )
        sets = [draw(without_copies(s.rows), self.sample, rng) for s in group]
        places = self._place(union(half, other, *sets).texts)
        ours, theirs = places[: len(half)], places[len(half) : 2 * len(half)]
        radius = float(np.median(nearest_distances(places[: 2 * len(half)])))
        baseline = nearest_distances(ours, theirs)
        lines: list[tuple[Cell, ...]] = []
        points = _curve(yardstick, baseline, radius)
        start = 2 * len(half)
        for subject, rows in zip(group, sets, strict=True):
            here = places[start : start + len(rows)]
            start += len(rows)
            distances = nearest_distances(ours, here)
            alike = self._cut(subject.name, ours, here, radius)
            lines.append(
                (
                    subject.name,
                    len(rows),
                    len(half),
                    radius,
                    covered_share(distances, radius),
                    *alike,
                    covered_share(baseline, radius),
                )
            )
            points += _curve(subject.name, distances, radius)
        return lines, points

    def _cut(self, name: str, ours: Any, here: Any, radius: float) -> tuple[Cell, Cell]:
        """Return mean and spread of the coverage by as many rows as `ours`; None of too few."""
        if len(here) < len(ours):
            return None, None
        shares = [
            covered_share(nearest_distances(ours, here[chosen]), radius)
            for draw_index in range(_DRAWS)
            for chosen in [
                make_rng(self.random_seed, self.name, name, draw_index).sample(
                    range(len(here)), len(ours)
                )
            ]
        ]
        return float(np.mean(shares)), float(np.std(shares, ddof=1))

    def _place(self, texts: Sequence[str]) -> Any:
        """Return the points of texts: (n, d), or (n, 2) for the paper's plane."""
        vectors = embed(texts, self.encoder, random_seed=self.random_seed)
        if not self.paper:
            return vectors
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(texts) - 1) / 3)
        plane = TSNE(2, perplexity=perplexity, init="pca", random_state=self.random_seed)
        return plane.fit_transform(vectors)


def _curve(name: str, distances: Floats, radius: float) -> list[dict[str, Any]]:
    """Return the share covered at radii up to three times the chosen one."""
    return [
        {"set": name, "radius": float(r), "covered": covered_share(distances, float(r))}
        for r in np.linspace(0, 3 * radius, _STEPS)
    ]
