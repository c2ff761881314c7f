"""A simulation of S3's section 2.6: when adding extrapolated errors closes the gap.

The paper (Wang, Zhou, Sachan, Findings of EMNLP 2023) writes

    P_add    := P_LLM( . | P_D - P_LLM^(0))                       (Eq. 1)
    P_LLM^(1) := p * P_add + (1 - p) * P_LLM^(0)  ~  P_D          (Eq. 2)

for some p in [0, 1], under two assumptions: the student learns the synthetic distribution perfectly
(so that its errors show the gap), and the LLM extrapolates an error into its neighbourhood
perfectly. P_D - P_LLM^(0) is a signed difference; here P_add is its positive part, normalised. On
n points, with d = P_D, q = P_LLM^(0), a = P_add and T = TV(d, q), the total variation, this holds:

1. TV(d, p a + (1-p) q) = 1/2 sum_i |a_i - q_i| |p - b_i| with b_i = (d_i - q_i) / (a_i - q_i):
   convex in p, and minimal at the **median of the b_i, weighted by |a_i - q_i|** (`best_share`).
2. Its slope is -q({i : b_i >= p, d_i < q_i}) for p < T: at 0 it is minus the mass of q where q
   exceeds d, and below T it is never positive. So **a small p always helps, and no p up to T ever
   harms**; beyond T it may.
3. It reaches 0 **only if d / q takes two values**, one where the LLM writes too much and one where
   it writes too little. So it always does on two points, and hardly ever on more.
4. The slope at 0 is at most -T. So ever smaller steps, each with a new P_add, shrink the distance
   as exp(-sum of the steps): rounds close what one round cannot.

No run is read: the study shows what the argument can carry, not what an LLM does.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field
from scipy.special import rel_entr

from stepsynth._util.hashing import derive_seed
from stepsynth.metrics import Flags, Floats
from stepsynth.studies._charts import line_chart
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Chart, Findings, Study, Table

SHARES = (0.01, 0.05, 0.1, 0.2, 0.33, 0.5, 0.63, 0.8, 1.0)
"""Values of p in the tables; the paper's are 0.29 (IMDb), 0.30, 0.05 and 0.63 (AdversarialQA)."""
ROUNDS = (1, 2, 3, 5, 10)
SPREADS = (0.3, 1.0, 3.0)
_NOTHING = 1e-12


def total_variation(d: Floats, m: Floats) -> float:
    """Return TV(d, m), 0-1: the mass that would have to move."""
    return float(np.abs(d - m).sum() / 2)


def kl_divergence(d: Floats, m: Floats) -> float:
    """Return KL(d || m) in nats; infinite where m lacks what d has."""
    return float(rel_entr(d, m).sum())


def added_distribution(d: Floats, q: Floats) -> Floats:
    """Return P_add: the positive part of d - q, normalised; q itself where there is no gap."""
    missing = np.maximum(d - q, 0.0)
    total = missing.sum()
    return missing / total if total > _NOTHING else q


def mix(p: float, a: Floats, q: Floats) -> Floats:
    """Return p * a + (1 - p) * q (Eq. 2)."""
    return p * a + (1 - p) * q


def best_share(d: Floats, q: Floats, a: Floats) -> float:
    """Return the p in [0, 1] for which p * a + (1 - p) * q is nearest to d in total variation.

    The distance is a sum of |p - b_i| weighted by |a_i - q_i|, so its minimum is at the weighted
    median of the b_i, whatever `a` is.
    """
    weights = np.abs(a - q)
    moved = weights > _NOTHING
    if not moved.any():
        return 0.0
    places = (d - q)[moved] / (a - q)[moved]
    order = np.argsort(places)
    mass = np.cumsum(weights[moved][order])
    middle = places[order][np.searchsorted(mass, mass[-1] / 2)]
    return float(np.clip(middle, 0.0, 1.0))


def best_share_of_kl(d: Floats, q: Floats, a: Floats) -> float:
    """Return the p in [0, 1] with the least KL(d || p * a + (1 - p) * q), by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        m = np.maximum(mix(p, a, q), 1e-300)
        slope = -(d * (a - q) / m).sum()
        low, high = (low, p) if slope > 0 else (p, high)
    return (low + high) / 2


def run_rounds(
    d: Floats, q: Floats, rounds: int, find: Callable[[Floats, Floats], Floats]
) -> Iterator[Floats]:
    """Yield P_LLM^(1), P_LLM^(2), ...: a new P_add each round, mixed in with the best p.

    Args:
        d: P_D.
        q: P_LLM^(0).
        rounds: Number of rounds.
        find: (P_D, P_LLM^(r)) -> P_add, perfect or not.
    """
    for _ in range(rounds):
        a = find(d, q)
        q = mix(best_share(d, q, a), a, q)
        yield q


def blind(d: Floats, q: Floats, seen: Flags) -> Floats:
    """Return P_add of a student whose errors show the gap only at the `seen` points."""
    missing = np.where(seen, np.maximum(d - q, 0.0), 0.0)
    total = missing.sum()
    return missing / total if total > _NOTHING else q


def smear(a: Floats, share: float) -> Floats:
    """Return `a` after a share of each point's mass has gone to its two neighbours.

    The points form a ring in an order that means nothing, so the neighbours of an error need not
    be errors themselves: this is the hard case.
    """
    return (1 - share) * a + share * (np.roll(a, 1) + np.roll(a, -1)) / 2


@dataclass(frozen=True)
class Pair:
    """P_D and P_LLM^(0) on n points; a point is seen if its `luck`, 0-1, is below a probability."""

    d: Floats
    q: Floats
    luck: Floats

    @cached_property
    def a(self) -> Floats:
        """P_add, as the paper assumes it."""
        return added_distribution(self.d, self.q)

    @cached_property
    def gap(self) -> float:
        """TV(P_D, P_LLM^(0))."""
        return total_variation(self.d, self.q)

    def left(self, p: float) -> float:
        """Return the share of the gap that is left after a round with this p."""
        return total_variation(self.d, mix(p, self.a, self.q)) / self.gap

    def best_left(self) -> float:
        """Return the share of the gap that is left after a round with the best p."""
        return self.left(best_share(self.d, self.q, self.a))


class Theory(Study):
    """Section 2.6 of S3 by simulation: when p * P_add + (1 - p) * P_0 closes the gap, and when not.

    Attributes:
        spread: Concentration of the symmetric Dirichlet distribution that pairs are drawn from:
            below 1 few points have most of the mass, above 1 all points have about the same.
    """

    name: ClassVar[str] = "theory"
    needs_subjects: ClassVar[bool] = False

    pairs: int = Field(default=2000, gt=0, description="Random pairs of distributions.")
    points: int = Field(default=20, ge=3, description="Most points of a pair (3 to so many).")
    spread: float = Field(default=1.0, gt=0, description="Dirichlet concentration of the pairs.")
    found: tuple[float, ...] = Field(
        default=(0.9, 0.7, 0.5),
        description="Probabilities that the student's errors show the gap at a point.",
    )
    smeared: tuple[float, ...] = Field(
        default=(0.1, 0.3, 0.5),
        description="Shares of an extrapolation that land on neighbouring points.",
    )

    def run(self, subjects: Sequence[StudiedRun] = ()) -> Findings:
        """Return the tables; subjects are not looked at."""
        drawn = self._draw(self.spread)
        rounds = self._by_round(drawn)
        return Findings(
            study=self.name,
            tables=(_claims(drawn), _by_share(drawn), rounds, self._by_spread()),
            charts=(
                Chart("Distance to P_D that is left, against the share p", _curve_spec(drawn)),
                Chart("Distance that is left after each round", _rounds_spec(rounds)),
            ),
        )

    def _draw(self, spread: float) -> list[Pair]:
        rng = np.random.default_rng(derive_seed(self.random_seed, "theory", spread))
        pairs: list[Pair] = []
        while len(pairs) < self.pairs:
            size = int(rng.integers(3, self.points + 1))
            d, q = rng.dirichlet(np.full(size, spread), size=2)
            pair = Pair(d, q, rng.random(size))
            if pair.gap > 1e-9:
                pairs.append(pair)
        return pairs

    def _by_round(self, drawn: Sequence[Pair]) -> Table:
        """Return the distance that is left after each round, by assumption."""
        cases: dict[str, Callable[[Pair], Callable[[Floats, Floats], Floats]]] = {
            "as the paper assumes": lambda _: added_distribution,
        }
        for e in self.found:
            cases[f"the student finds each error with probability {e:g}"] = _blind_by(e)
        for s in self.smeared:
            cases[f"extrapolations: {s:g} of their mass lands beside the error"] = _smear_by(s)
        rows: list[tuple[str | float, ...]] = []
        for done, (case, make) in enumerate(cases.items()):
            left = np.array([_left_by_round(x, make(x)) for x in drawn])
            rows.append((case, *map(float, left.mean(axis=0)), float(left[:, -1].max())))
            self._on_progress("assumptions", done + 1, len(cases))
        return Table(
            "Distance to P_D that is left after rounds, by assumption",
            ("assumption", *(f"{r} round{'s'[: r > 1]}" for r in ROUNDS), "10 rounds, worst"),
            tuple(rows),
            "Mean share of TV(P_D, P_0) over the pairs; P_add is taken anew each round, and each "
            "round has its best p. A student that misses a point misses it in every round. "
            "Errors that are lost at random change nothing but the number of rows: they leave "
            "P_add as it is. So does an LLM that falls back to P_0 for a share s of its rows: "
            "p / (1 - s) in place of p gives the same mixture.",
        )

    def _by_spread(self) -> Table:
        rows: list[tuple[float, ...]] = []
        for spread in sorted({*SPREADS, self.spread}):
            kept: list[tuple[float, ...]] = []
            for x in self._draw(spread):
                k = best_share_of_kl(x.d, x.q, x.a)
                kl = kl_divergence(x.d, mix(k, x.a, x.q)) / kl_divergence(x.d, x.q)
                kept.append((x.gap, best_share(x.d, x.q, x.a), x.best_left(), k, kl))
            found = np.array(kept)
            rows.append((spread, *map(float, found.mean(axis=0)), float(found[:, 2].max())))
        return Table(
            "Best p and what it leaves, by how the pairs are drawn",
            (
                "Dirichlet spread",
                "TV before",
                "best p (TV)",
                "TV left",
                "best p (KL)",
                "KL left",
                "TV left, worst",
            ),
            tuple(rows),
            "Means over the pairs; what is left is a share of the distance before. How much one "
            "round leaves depends on the draw: no single figure is a property of the method.",
        )


def _blind_by(found: float) -> Callable[[Pair], Callable[[Floats, Floats], Floats]]:
    return lambda x: lambda d, q: blind(d, q, x.luck < found)


def _smear_by(share: float) -> Callable[[Pair], Callable[[Floats, Floats], Floats]]:
    return lambda _: lambda d, q: smear(added_distribution(d, q), share)


def _left_by_round(x: Pair, find: Callable[[Floats, Floats], Floats]) -> list[float]:
    after = [total_variation(x.d, q) / x.gap for q in run_rounds(x.d, x.q, max(ROUNDS), find)]
    return [after[r - 1] for r in ROUNDS]


def _claims(drawn: Sequence[Pair]) -> Table:
    """Return the claims of the paper's section, beside what holds for the pairs."""

    def share(holds: Callable[[Pair], bool]) -> float:
        return sum(map(holds, drawn)) / len(drawn)

    return Table(
        "What section 2.6 argues, and what holds",
        ("statement", "what can be shown", "share of pairs"),
        (
            (
                "one round closes the gap, with the best p (Eq. 2)",
                "only where P_D / P_0 takes two values",
                share(lambda x: x.best_left() < 1e-9),
            ),
            ("p = 0.01 reduces it", "wherever the gap is above 0.01", share(_gains(0.01))),
            ("p = TV(P_D, P_0) reduces it", "always", share(lambda x: x.left(x.gap) < 1)),
            ("p = 0.33 reduces it", "wherever the gap is above 0.33", share(_gains(0.33))),
        ),
        f"{len(drawn):,} random pairs; gap: TV(P_D, P_0). The section is an intuition and no "
        "guarantee: P_D - P_0 is a signed difference, and P_add can have its positive part only.",
    )


def _gains(p: float) -> Callable[[Pair], bool]:
    return lambda x: x.left(p) < 1


def _by_share(drawn: Sequence[Pair]) -> Table:
    def line(name: str, left: Floats) -> tuple[str, float, float, float]:
        return name, float((left < 1).mean()), float(left.mean()), float(left.max())

    return Table(
        "One round, by the share p of added rows",
        ("p", "pairs that gain", "TV left, mean", "TV left, worst"),
        (
            *(line(f"{p:g}", np.array([x.left(p) for x in drawn])) for p in SHARES),
            line("best p of each pair", np.array([x.best_left() for x in drawn])),
        ),
        "TV left: the share of TV(P_D, P_0) that is left; above 1 the round has done harm.",
    )


def _curve_spec(drawn: Sequence[Pair]) -> dict[str, object]:
    rows: list[dict[str, float | str]] = []
    for p in (i / 20 for i in range(21)):
        left = np.array([x.left(p) for x in drawn])
        rows += [
            {"p": p, "TV left": float(np.quantile(left, at)), "pairs": name}
            for name, at in (("best tenth", 0.1), ("median", 0.5), ("worst tenth", 0.9))
        ]
    return line_chart(rows, x="p", y="TV left", series="pairs")


def _rounds_spec(table: Table) -> dict[str, object]:
    rows = [
        {"rounds": r, "TV left": row[i + 1], "assumption": row[0]}
        for row in table.rows
        for i, r in enumerate(ROUNDS)
    ]
    return line_chart(rows, x="rounds", y="TV left", series="assumption", x_is_ordinal=True)
