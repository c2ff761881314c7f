"""How much of one set of points another set reaches (S3, Table 8)."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CELLS = 8_000_000  # distances held at a time: 32 MB


def nearest_distances(points: Any, others: Any | None = None) -> Floats:
    """Return how far each point is from the nearest of the others: (n,), Euclidean.

    Every pair is looked at, a block at a time; no index guesses.

    Args:
        points: (n, d).
        others: (m, d), m >= 1; None: the points themselves, of which none is its own neighbour.
    """
    rows = np.asarray(points, dtype=np.float32)
    targets = rows if others is None else np.asarray(others, dtype=np.float32)
    squares = (targets * targets).sum(axis=1)
    step = max(1, _CELLS // len(targets))
    nearest = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        # What is the same for all others of a point, its own square, does not choose among them.
        distances = squares - 2 * (block @ targets.T)
        if others is None:
            own = np.arange(len(block))
            distances[own, own + start] = np.inf
        nearest[start : start + step] = distances.argmin(axis=1)
    # The distance itself is taken of the difference: a small one would drown in the squares.
    apart = rows.astype(np.float64) - targets[nearest]
    return np.sqrt((apart * apart).sum(axis=1))


def covered_share(distances: Floats, radius: float) -> float:
    """Return the share of points whose nearest other is within the radius, 0-1."""
    return float((distances <= radius).mean())
