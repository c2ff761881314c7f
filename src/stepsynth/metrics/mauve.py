"""MAUVE: the similarity of two sets of texts, 0-1; higher is more similar.

Pillutla, Swayamdipta, Zellers, Thickstun, Welleck, Choi, Harchaoui: "MAUVE: Measuring the Gap
Between Neural Text and Human Text using Divergence Frontiers", NeurIPS 2021. Features of both sets
are put into the same k-means buckets. MAUVE is the area under the curve of both sets' divergences
from their mixtures. The choices that the paper leaves open (90 % of the variance kept, 25 mixtures)
are those of its authors' package.

**Limits.** MAUVE depends on the features, the buckets, the scale and the number of texts. Compare
values only if all four are the same, and beside the value of gold against itself.
"""

from typing import Any

import numpy as np

from stepsynth.metrics.scoring import Floats

_VARIANCE = 0.9
_MIXTURES = 25
_STARTS = 5


def mauve(p: Any, q: Any, *, buckets: int, scale: float, random_seed: int) -> float:
    """Return MAUVE of two sets of features.

    Args:
        p: (n, d), features of the texts to judge.
        q: (m, d), features of gold texts.
        buckets: k-means clusters; fewer than n + m. SynthesizRR takes 30, the authors' package
            a tenth of the texts.
        scale: The paper's c. SynthesizRR takes 1, the authors' package 5; more is stricter.
        random_seed: Determines the start of k-means.
    """
    buckets_p, buckets_q = fill_buckets(p, q, buckets=buckets, random_seed=random_seed)
    return area_under_divergences(buckets_p, buckets_q, scale=scale)


def fill_buckets(p: Any, q: Any, *, buckets: int, random_seed: int) -> tuple[Floats, Floats]:
    """Return each set's distribution over common k-means buckets: (buckets,) twice."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    rows = normalize(np.vstack([p, q]).astype(np.float64))
    reduced = PCA(random_state=random_seed).fit(rows)
    kept = int(np.argmax(np.cumsum(reduced.explained_variance_ratio_) >= _VARIANCE)) + 1
    points = reduced.transform(rows)[:, :kept]
    starts: Any = _STARTS
    clusters = KMeans(buckets, n_init=starts, random_state=random_seed).fit_predict(points)
    n = len(p)
    counts_p = np.bincount(clusters[:n], minlength=buckets)
    counts_q = np.bincount(clusters[n:], minlength=buckets)
    return counts_p / counts_p.sum(), counts_q / counts_q.sum()


def area_under_divergences(p: Floats, q: Floats, *, scale: float) -> float:
    """Return the area under the divergence curve of two distributions, 0-1.

    Args:
        p: (buckets,), sums to 1.
        q: (buckets,), sums to 1.
        scale: The paper's c > 0.
    """
    points = [(0.0, 1.0), (1.0, 0.0)]
    for weight in np.linspace(1e-6, 1 - 1e-6, _MIXTURES):
        mixture = weight * p + (1 - weight) * q
        x, y = np.exp(-scale * _divergence(q, mixture)), np.exp(-scale * _divergence(p, mixture))
        points.append((float(x), float(y)))
    # The curve falls from (0, 1) to (1, 0), so points with the same x are ordered by falling y. The
    # area is the mean of that under y over x and that under x over y, as in the authors' package
    # (which leaves the order of points with the same x to chance: equal sets get 0.75 there).
    by_x = np.array(sorted(points, key=lambda point: (point[0], -point[1])))
    by_y = np.array(sorted(points, key=lambda point: (point[1], -point[0])))
    return (_area(by_x[:, 0], by_x[:, 1]) + _area(by_y[:, 1], by_y[:, 0])) / 2


def _area(x: Floats, y: Floats) -> float:
    """Return the area under a line through points, x rising."""
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _divergence(p: Floats, q: Floats) -> float:
    """Return the Kullback-Leibler divergence in nats; q is positive where p is."""
    from scipy.special import rel_entr

    return float(rel_entr(p, q).sum())
