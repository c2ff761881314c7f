"""Coverage of one set of points by another (S3, Table 8)."""

from typing import Any

import numpy as np

from stepsynth.metrics.scoring import Floats


def nearest_distances(points: Any, others: Any | None = None) -> Floats:
    """Return the Euclidean distance from each point to the nearest of the others: (n,).

    Args:
        points: (n, d).
        others: (m, d), m >= 1; None: the points themselves, where none is its own neighbour.
    """
    from sklearn.neighbors import NearestNeighbors

    rows = np.asarray(points, dtype=np.float64)
    targets = rows if others is None else np.asarray(others, dtype=np.float64)
    known = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(targets)
    nearest = known.kneighbors(None if others is None else rows, return_distance=False)
    # The distance itself is computed from the difference: a small one would drown in the squares.
    return np.linalg.norm(rows - targets[np.asarray(nearest)[:, 0]], axis=1)


def covered_share(distances: Floats, radius: float) -> float:
    """Return the share of points whose nearest other is within the radius, 0-1."""
    return float((distances <= radius).mean())
