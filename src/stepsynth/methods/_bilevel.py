"""Bi-level optimisation of the weights of training rows, under a noise-robust outer loss.

Gao et al. (SunGen, ICLR 2023). Inner problem: a last layer, trained with the weights to its
optimum. Outer problem: the loss of that layer on rows of the same synthetic data. Those rows have
wrong labels too, so the outer loss must be robust to them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from stepsynth.methods._last_layer import Floats, Loss, fit_last_layer, probabilities, slope_of

SOFTENING = 10.0
"""SunGen's gain of one-hot labels before the softmax."""

CLIP = 3.0
"""Largest norm of the gradient of the weights, as in SunGen."""

INNER_TOLERANCE = 1e-4

_FADE, _FADE_SQUARE = 0.9, 0.999


def learn_weights(
    X: Any,
    Y: Floats,
    outer: npt.NDArray[np.int_],
    *,
    iterations: int = 100,
    learning_rate: float = 0.25,
    loss: Loss = "reverse_cross_entropy",
) -> Floats:
    """Return a weight in [0, 1] for each row: (n,).

    As in the official script, a weight is the sigmoid of a free number that starts at 0 and is
    learnt by Adam. The hypergradient is that of one step of inner training from the inner optimum:
    dL_outer/dθ_i = -⟨∇L_outer, ∇ℓ_i⟩ / Σθ. A weight thus rises where the row's gradient agrees with
    the outer one.

    Args:
        X: Features (n, d), dense or sparse.
        Y: One-hot labels (n, labels).
        outer: Indices of the rows in the outer loss.
        iterations: Outer steps.
        learning_rate: Learning rate of the outer steps.
        loss: The outer loss.
    """
    raw, mean, square = (np.zeros(len(Y)) for _ in range(3))
    X_outer, Y_outer = X[outer], Y[outer]
    layer: Floats | None = None
    for t in range(1, iterations + 1):
        theta = _sigmoid(raw)
        layer = fit_last_layer(X, Y, weights=theta, start=layer, tolerance=INNER_TOLERANCE)
        P = probabilities(X, layer)
        slope = slope_of(P[outer], Y_outer, loss, gain=SOFTENING)
        outer_gradient = np.asarray(X_outer.T @ slope) / len(outer)
        by_theta = -((P - Y) * np.asarray(X @ outer_gradient)).sum(axis=1) / theta.sum()
        gradient = by_theta * theta * (1 - theta)
        gradient *= min(1.0, CLIP / max(float(np.linalg.norm(gradient)), 1e-12))
        mean = _FADE * mean + (1 - _FADE) * gradient
        square = _FADE_SQUARE * square + (1 - _FADE_SQUARE) * gradient**2
        step = (mean / (1 - _FADE**t)) / (np.sqrt(square / (1 - _FADE_SQUARE**t)) + 1e-8)
        raw -= learning_rate * step
    return _sigmoid(raw)


def _sigmoid(raw: Floats) -> Floats:
    return 1 / (1 + np.exp(-raw))
