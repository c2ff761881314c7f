"""Coverage of one set of points by another (S3, Table 8)."""

from typing import Any

import numpy as np

from stepsynth.metrics.scoring import Floats

_CELLS = 8_000_000  # distances held at a time: 32 MB


def nearest_distances(points: Any, others: Any | None = None) -> Floats:
    """Return the Euclidean distance from each point to the nearest of the others: (n,).

    Every pair is compared, a block at a time, without an approximate index.

    Args:
        points: (n, d).
        others: (m, d), m >= 1; None: the points themselves, where none is its own neighbour.
    """
    rows = np.asarray(points, dtype=np.float32)
    targets = rows if others is None else np.asarray(others, dtype=np.float32)
    squares = (targets * targets).sum(axis=1)
    step = max(1, _CELLS // len(targets))
    nearest = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        # A point's own square is the same for all others, so it can be left out.
        distances = squares - 2 * (block @ targets.T)
        if others is None:
            own = np.arange(len(block))
            distances[own, own + start] = np.inf
        nearest[start : start + step] = distances.argmin(axis=1)
    # The distance itself is computed from the difference: a small one would drown in the squares.
    apart = rows.astype(np.float64) - targets[nearest]
    return np.sqrt((apart * apart).sum(axis=1))


def covered_share(distances: Floats, radius: float) -> float:
    """Return the share of points whose nearest other is within the radius, 0-1."""
    return float((distances <= radius).mean())
