"""How sure a difference between two models is: a paired bootstrap over test rows and random seeds.

A score differs from run to run for two reasons: the test rows are a sample, and so is the random
seed (which decides the split, the synthetic rows and the student's start). So both are resampled:
random seeds with replacement, test rows with replacement, and the same ones for both models
(Efron, Tibshirani: "An Introduction to the Bootstrap", 1993, chapters 8 and 13). A row that is in
the test split of several random seeds is drawn for all of them or for none, since its luck is one.

With few random seeds the interval is too narrow, as every bootstrap of few values is. On made data
with five of them it held the truth 93 times in 100 where rows and seeds brought luck alike, and 84
times where seeds alone did.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DRAWS = 2000
_CHUNK = 64
"""Resamples that are scored at once: enough to be fast, few enough to stay in the cache."""


@dataclass(frozen=True)
class Interval:
    """A difference, and what it could as well be.

    Attributes:
        mean: The difference that was found, the mean over random seeds.
        low: The 2.5th percentile over resamples.
        high: The 97.5th percentile.
    """

    mean: float
    low: float
    high: float

    @property
    def is_beyond_noise(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def resamples(
    n_seeds: int, n_rows: int, *, draws: int = DRAWS, random_seed: int = 0
) -> Iterator[tuple[Ints, Ints]]:
    """Yield, for each resample, the (n_seeds,) random seeds and the (n_rows,) test rows drawn."""
    rng = np.random.default_rng(random_seed)
    for _ in range(draws):
        yield rng.integers(0, n_seeds, n_seeds), rng.integers(0, n_rows, n_rows)


def bootstrap_mean(
    first: Sequence[Floats],
    second: Sequence[Floats],
    rows: Sequence[Ints],
    *,
    draws: int = DRAWS,
    random_seed: int = 0,
) -> Interval:
    """Return the difference of the mean of a score that each row has (right or not, EM, F1).

    Args:
        first: For each of the s random seeds, (n,) scores of the first model's rows.
        second: The same for the second model, of the same rows.
        rows: For each random seed, (n,) numbers of its test rows: the same row has the same
            number in all of them; they count up from 0.
        draws: Resamples.
        random_seed: Decides them.
    """
    gains = [a - b for a, b in zip(first, second, strict=True)]

    def score(seed: int, counts: Floats) -> Floats:
        return counts @ gains[seed] / np.maximum(1, counts.sum(axis=1))

    return _bootstrap(score, rows, draws=draws, random_seed=random_seed)


def bootstrap_macro_f1(
    gold: Sequence[Ints],
    first: Sequence[Ints],
    second: Sequence[Ints],
    rows: Sequence[Ints],
    *,
    draws: int = DRAWS,
    random_seed: int = 0,
) -> Interval:
    """Return the difference of macro-F1, as `score_classification` defines it.

    Args:
        gold: For each of the s random seeds, (n,) numbers of the gold labels; from 0 up.
        first: The same for the labels that the first model predicts.
        second: The same for the second model.
        rows: See `bootstrap_mean`.
        draws: Resamples.
        random_seed: Decides them.
    """
    n_labels = 1 + max(int(part.max()) for part in (*gold, *first, *second))
    indicators = [
        tuple(
            _indicator(labels, n_labels, chosen)
            for labels, chosen in ((g, None), (a, None), (g, a == g), (b, None), (g, b == g))
        )
        for g, a, b in zip(gold, first, second, strict=True)
    ]

    def score(seed: int, counts: Floats) -> Floats:
        in_gold, said_a, hits_a, said_b, hits_b = (i @ counts.T for i in indicators[seed])
        return _macro_f1(in_gold, said_a, hits_a) - _macro_f1(in_gold, said_b, hits_b)

    return _bootstrap(score, rows, draws=draws, random_seed=random_seed)


def _bootstrap(
    score: Callable[[int, Floats], Floats],
    rows: Sequence[Ints],
    *,
    draws: int,
    random_seed: int,
) -> Interval:
    """Return the interval of a score that `score(seed, (k, n) counts of rows)` gives for k."""
    n_seeds, n_rows = len(rows), 1 + max(int(part.max()) for part in rows)
    drawn = resamples(n_seeds, n_rows, draws=draws, random_seed=random_seed)
    found: list[Floats] = []
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        seeds, counts = np.zeros((size, n_seeds)), np.zeros((size, n_rows))
        for i, (chosen, taken) in zip(range(size), drawn, strict=False):
            seeds[i] = np.bincount(chosen, minlength=n_seeds)
            counts[i] = np.bincount(taken, minlength=n_rows)
        scores = np.stack([score(s, counts[:, rows[s]]) for s in range(n_seeds)], axis=1)
        found.append((seeds * scores).sum(axis=1) / n_seeds)
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    observed = [score(s, np.ones((1, len(rows[s]))))[0] for s in range(n_seeds)]
    return Interval(float(np.mean(observed)), float(low), float(high))


def _indicator(labels: Ints, n_labels: int, chosen: npt.NDArray[np.bool_] | None) -> Any:
    """Return a sparse (n_labels, n) matrix: 1 where a chosen row has the label."""
    from scipy.sparse import csr_array

    places = np.arange(len(labels)) if chosen is None else np.flatnonzero(chosen)
    ones = np.ones(len(places))
    return csr_array((ones, (labels[places], places)), shape=(n_labels, len(labels)))


def _macro_f1(in_gold: Floats, said: Floats, hits: Floats) -> Floats:
    """Return (k,) macro-F1 of (n_labels, k) counts, over the labels that occur."""
    both = in_gold + said
    occurs = both > 0
    f1 = np.divide(2 * hits, both, out=np.zeros_like(both), where=occurs)
    return f1.sum(axis=0) / np.maximum(1, occurs.sum(axis=0))
