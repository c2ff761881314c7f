"""A last layer on fixed features: what ProGen's influence and SunGen's weights are computed with.

Logistic regression with weight decay: convex, so that it is trained to its optimum, and what the
papers approximate (a Hessian's inverse, a converged inner model) is exact here. Pure functions of
arrays. X (n, d) may be dense or sparse, Y (n, labels) holds one-hot labels, W is (d, labels).
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Loss = Literal["reverse_cross_entropy", "cross_entropy"]

WEIGHT_DECAY = 5e-3
"""ProGen's, as a term of the loss: half of it times the squared length of W."""


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
        weights: How much each row counts, n; None: all the same.
        start: A W that is near already.
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
    scores = np.asarray(X @ W, dtype=np.float64)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def loss_of(P: Floats, Y: Floats, loss: Loss, *, gain: float) -> Floats:
    """Return the loss of each row: n.

    The reverse cross entropy of ProGen and SunGen, -sum_c p_c log y_c, takes the label for the
    prediction and the other way round. y is the one-hot label softened: softmax(gain x one-hot). So
    a wrong label costs `gain` more than a right one at most, however sure the model is.
    """
    if loss == "cross_entropy":
        return -np.log(np.maximum((P * Y).sum(axis=1), 1e-300))
    return (P * _surprise(Y, gain)).sum(axis=1)


def slope_of(P: Floats, Y: Floats, loss: Loss, *, gain: float) -> Floats:
    """Return the derivative of each row's loss by its scores: (n, labels)."""
    if loss == "cross_entropy":
        return P - Y
    surprise = _surprise(Y, gain)
    return P * (surprise - (P * surprise).sum(axis=1, keepdims=True))


def _surprise(Y: Floats, gain: float) -> Floats:
    """Return -log of the softened labels."""
    labels = Y.shape[1]
    return gain * (1 - Y) + np.log1p((labels - 1) * np.exp(-gain))


def one_hot(labels: npt.NDArray[np.int_], number: int) -> Floats:
    """Return one-hot labels: (n, number)."""
    return np.eye(number, dtype=np.float64)[labels]
