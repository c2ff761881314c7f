"""A last layer on fixed features, for ProGen's influence and SunGen's weights.

It is logistic regression with weight decay. The problem is convex, so the layer is trained to its
optimum. What the papers approximate (an inverse Hessian, a converged inner model) is exact here.
All functions are pure. X (n, d) may be dense or sparse, Y (n, labels) holds one-hot labels, W is
(d, labels).
"""

from typing import Any, Literal

import numpy as np

from stepsynth.metrics import Floats, softmax

Loss = Literal["reverse_cross_entropy", "cross_entropy"]

WEIGHT_DECAY = 5e-3
"""ProGen's weight decay; the loss has half of it times the squared norm of W as a term."""


def fit_last_layer(
    X: Any,
    Y: Floats,
    *,
    weights: Floats | None = None,
    start: Floats | None = None,
    tolerance: float = 1e-6,
) -> Floats:
    """Return the W that minimises the weighted mean cross entropy with weight decay.

    Args:
        X: (n, d).
        Y: (n, labels).
        weights: Weight of each row, (n,); None: all equal.
        start: A W near the optimum, to start from.
        tolerance: Largest derivative that counts as 0.
    """
    from scipy.optimize import minimize

    n, labels = Y.shape
    shape = (X.shape[1], labels)
    share = np.full(n, 1 / n) if weights is None else weights / weights.sum()

    def loss_and_slope(flat: Floats) -> tuple[float, Floats]:
        W = flat.reshape(shape)
        P = probabilities(X, W)
        losses = -np.log(np.maximum((P * Y).sum(axis=1), 1e-300))
        slope = X.T @ (share[:, None] * (P - Y)) + WEIGHT_DECAY * W
        return float(share @ losses + WEIGHT_DECAY / 2 * (W**2).sum()), np.ravel(slope)

    first = np.zeros(shape) if start is None else start
    options = {"maxiter": 1000, "ftol": tolerance**2, "gtol": tolerance}
    found = minimize(loss_and_slope, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x, dtype=np.float64).reshape(shape)


def probabilities(X: Any, W: Floats) -> Floats:
    """Return the probability of each label: (n, labels)."""
    return softmax(np.asarray(X @ W, dtype=np.float64))


def slope_of(P: Floats, Y: Floats, loss: Loss, *, gain: float) -> Floats:
    """Return the derivative of each row's loss with respect to its scores: (n, labels).

    The reverse cross entropy of ProGen and SunGen, -sum_c p_c log y_c, swaps label and prediction.
    y is the softened one-hot label, softmax(gain x one-hot). A wrong label thus costs at most
    `gain` more than a right one, however confident the model is.
    """
    if loss == "cross_entropy":
        return P - Y
    # -log of the softened labels.
    surprise = gain * (1 - Y) + np.log1p((Y.shape[1] - 1) * np.exp(-gain))
    return P * (surprise - (P * surprise).sum(axis=1, keepdims=True))
