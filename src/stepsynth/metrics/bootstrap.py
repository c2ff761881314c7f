"""Confidence intervals of the difference between two models, over random seeds and test rows.

A score differs from run to run for two reasons: the random seed (which determines the split, the
synthetic rows and the student's start) and the test rows. The mean difference over s random seeds
has a variance from each:

- Random seeds: the variance of the s differences (with s - 1), divided by s. It includes the
  sampling of test rows that only one random seed has.
- Test rows that random seeds share, whose sampling no number of random seeds averages out: the mean
  covariance between the differences of two random seeds when test rows are resampled with
  replacement (Efron, Tibshirani: "An Introduction to the Bootstrap", 1993, chapter 6). The same
  rows are drawn for both models and all random seeds.

Each has the half-width that it would have alone, by Student's t with s - 1 degrees of freedom for
random seeds and n - 1 for n test rows. The interval is the mean ± the root of the sum of their
squares (Howe: "Approximate Confidence Limits on the Mean of X + Y Where X and Y Are Two Tabled
Independent Random Variables", Journal of the American Statistical Association, 1974).

With few random seeds and test rows all differences may be equal by chance, and their variance 0: it
tells nothing then, and the interval is that of the mean over the test rows alone.

Random seeds are not resampled as well: the bootstrap of s values has only (s - 1) / s of their
variance, and its percentiles treat this variance as known although it is estimated from s values
(Hesterberg: "What Teachers Should Know About the Bootstrap", The American Statistician, 2015).

Where all rows say the same (the one model is always right, the other never), no resample differs.
The interval then is that of Wilson for so many rows of one kind, as few rows prove little.

With one random seed the interval covers test rows alone, and does not show how another random seed
would do.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stepsynth.metrics.scoring import Flags, Floats, Ints
from stepsynth.metrics.two_sample import wilson_interval

DRAWS = 2000
"""Resamples of the test rows."""
ALIKE = 1e-9
"""Differences of random seeds that are closer are equal, but for rounding."""
_CHUNK = 64
"""Resamples that are scored at once: enough to be fast, few enough to stay in the cache."""


@dataclass(frozen=True)
class Interval:
    """A difference with its 95 % confidence interval.

    Attributes:
        mean: The observed difference, the mean over random seeds.
        low: The lower end of the interval.
        high: The upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def is_beyond_noise(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        """Return it in percentage points, as in tables: "+2.1 [-0.3, +4.5]"."""
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def resample_rows(n_rows: int) -> Iterator[Floats]:
    """Yield the counts of each test row in k resamples at a time: (k, n_rows)."""
    rng = np.random.default_rng(0)
    for start in range(0, DRAWS, _CHUNK):
        size = min(_CHUNK, DRAWS - start)
        drawn = rng.integers(0, n_rows, (size, n_rows)) + n_rows * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n_rows)
        yield counts.reshape(size, n_rows).astype(np.float64)


def bootstrap_mean(
    first: Sequence[Floats],
    second: Sequence[Floats],
    rows: Sequence[Ints],
) -> Interval:
    """Return the difference in the mean of a score of each row (right or wrong, EM, F1).

    Args:
        first: For each of the s random seeds, (n,) scores of the first model's rows.
        second: The same for the second model, on the same rows.
        rows: For each random seed, (n,) numbers of its test rows, from 0; a row has the same number
            under all random seeds.
    """
    gains = [a - b for a, b in zip(first, second, strict=True)]

    def score(seed: int, counts: Floats) -> Floats:
        return counts @ gains[seed] / np.maximum(1, counts.sum(axis=1))

    return _bootstrap(score, rows)


def bootstrap_f1(
    gold: Sequence[Flags],
    first: Sequence[Flags],
    second: Sequence[Flags],
    rows: Sequence[Ints],
    *,
    average: Literal["micro", "macro"],
) -> Interval:
    """Return the difference in micro-F1 or macro-F1, as `score_multi_label` defines them.

    Args:
        gold: For each of the s random seeds, (n, n_labels) whether gold has each label.
        first: The same for what the first model predicts.
        second: The same for the second model.
        rows: See `bootstrap_mean`.
        average: Over all labels of all rows, or over the labels.
    """
    from scipy.sparse import csr_array

    mean = _micro_f1 if average == "micro" else _macro_f1
    indicators: list[tuple[Any, ...]] = [
        tuple(csr_array(flags.T, dtype=np.float64) for flags in (g, a, g & a, b, g & b))
        for g, a, b in zip(gold, first, second, strict=True)
    ]

    def score(seed: int, counts: Floats) -> Floats:
        in_gold, said_a, hits_a, said_b, hits_b = (i @ counts.T for i in indicators[seed])
        return mean(in_gold, said_a, hits_a) - mean(in_gold, said_b, hits_b)

    return _bootstrap(score, rows)


def f1_interval(own: Flags, said: Flags, *, average: Literal["micro", "macro"]) -> Interval:
    """Return the micro-F1 or macro-F1 of one model, with its interval over rows.

    Args:
        own: Whether each row has each label: (n_rows, n_labels).
        said: The same for the predictions.
        average: See `bootstrap_f1`.
    """
    # Beside a model that gives no label, whose F1 is 0.
    rows = [np.arange(len(own))]
    return _of_one(bootstrap_f1([own], [said], [said & False], rows, average=average), len(own))


def mean_interval(scores: Floats) -> Interval:
    """Return the mean of (n_rows,) scores of one model, 0-1, with its interval over rows."""
    rows = [np.arange(len(scores))]
    return _of_one(bootstrap_mean([scores], [0 * scores], rows), len(scores))


def _of_one(found: Interval, n_rows: int) -> Interval:
    """Return the interval of a score of one model, 0-1."""
    if found.mean in (0.0, 1.0):
        low, high = wilson_interval(round(found.mean * n_rows), n_rows)
        return Interval(found.mean, min(low, found.mean), max(high, found.mean))
    return Interval(found.mean, max(0.0, found.low), found.high)


def _bootstrap(score: Callable[[int, Floats], Floats], rows: Sequence[Ints]) -> Interval:
    """Return the interval of a difference; `score(seed, (k, n) counts)` gives it per resample."""
    n_rows = 1 + max(int(part.max()) for part in rows)
    found = np.concatenate(
        [
            np.stack([score(s, counts[:, part]) for s, part in enumerate(rows)])
            for counts in resample_rows(n_rows)
        ],
        axis=1,
    )
    observed = np.array([score(s, np.ones((1, len(part))))[0] for s, part in enumerate(rows)])
    return _interval(observed, np.atleast_2d(np.cov(found)), n_rows)


def _interval(observed: Floats, covariance: Floats, n_rows: int) -> Interval:
    """Return the interval of the mean over random seeds.

    Args:
        observed: The difference under each random seed: (s,).
        covariance: Covariance of these differences over resamples of the test rows: (s, s).
        n_rows: Number of different test rows.
    """
    from scipy.special import stdtrit

    s, mean = len(observed), float(observed.mean())
    by_seeds, by_rows = 0.0, float(covariance[0, 0])
    if s > 1 and np.ptp(observed) < ALIKE:
        by_rows = float(covariance.mean())
    elif s > 1:
        by_seeds = float(observed.var(ddof=1)) / s * float(stdtrit(s - 1, 0.975)) ** 2
        by_rows = max(0.0, float(covariance.sum() - covariance.trace()) / (s * (s - 1)))
    if n_rows > 1:
        # The bootstrap's variance divides by n, not n - 1.
        by_rows *= n_rows / (n_rows - 1) * float(stdtrit(n_rows - 1, 0.975)) ** 2
    reach = (by_seeds + by_rows) ** 0.5
    if mean and not reach:
        # So many rows for the one model leave room for as many other ones as Wilson says.
        reach = 2 * (1 - wilson_interval(n_rows, n_rows)[0])
    # Scores are shares, so no difference is above 1.
    return Interval(mean, max(-1.0, mean - reach), min(1.0, mean + reach))


def _micro_f1(in_gold: Floats, said: Floats, hits: Floats) -> Floats:
    """Return (k,) micro-F1 of (n_labels, k) counts; 1 where no label occurs."""
    both = (in_gold + said).sum(axis=0)
    return np.where(both > 0, 2 * hits.sum(axis=0) / np.maximum(1, both), 1.0)


def _macro_f1(in_gold: Floats, said: Floats, hits: Floats) -> Floats:
    """Return (k,) macro-F1 of (n_labels, k) counts, over the labels that occur."""
    both = in_gold + said
    occurs = both > 0
    f1 = np.divide(2 * hits, both, out=np.zeros_like(both), where=occurs)
    return f1.sum(axis=0) / np.maximum(1, occurs.sum(axis=0))
