"""Influence functions of a last layer: how much each training row helps on validation rows.

Koh, Liang: "Understanding Black-box Predictions via Influence Functions", ICML 2017. ProGen solves
the linear system by LiSSA with damping 5e-3 over the whole network. For a last layer, weight decay
alone makes the Hessian positive definite, so conjugate gradients solve the system undamped.
"""

from typing import Any

import numpy as np

from stepsynth.methods._last_layer import (
    WEIGHT_DECAY,
    Floats,
    Loss,
    fit_last_layer,
    probabilities,
    slope_of,
)

SOFTENING = 1.0
"""ProGen's gain: one-hot labels become softmax(1 x one-hot), which only scales influence."""


def influence(
    X: Any, Y: Floats, X_valid: Any, Y_valid: Floats, *, loss: Loss = "reverse_cross_entropy"
) -> Floats:
    """Return the influence of each training row, -∇L_valid · H⁻¹ ∇L_train(z): (n,).

    It is the derivative of the validation loss with respect to the row's weight; negative is
    helpful. Leaving one of n rows out changes the validation loss by about -1/n times it.

    Args:
        X: Training features (n, d), dense or sparse.
        Y: Their one-hot labels (n, labels); the training loss is the cross entropy.
        X_valid: Validation features (m, d).
        Y_valid: Their one-hot labels (m, labels).
        loss: Loss of the validation rows.
    """
    W = fit_last_layer(X, Y)
    P, P_valid = probabilities(X, W), probabilities(X_valid, W)
    outer = slope_of(P_valid, Y_valid, loss, gain=SOFTENING)
    gradient = np.asarray(X_valid.T @ outer) / len(Y_valid)
    step = _solve(X, P, gradient)
    return -((P - Y) * np.asarray(X @ step)).sum(axis=1)


def _solve(X: Any, P: Floats, gradient: Floats) -> Floats:
    """Return H⁻¹ times a gradient (d, labels), where H is the Hessian of the training loss."""
    from scipy.sparse import linalg

    n, shape = len(P), gradient.shape

    def times_hessian(flat: Floats) -> Floats:
        V = flat.reshape(shape)
        scores = np.asarray(X @ V)
        A = P * (scores - (P * scores).sum(axis=1, keepdims=True))
        return np.ravel(np.asarray(X.T @ A) / n + WEIGHT_DECAY * V)

    size = gradient.size
    operator: Any = linalg.LinearOperator  # its stub lacks what its documentation has
    hessian = operator((size, size), matvec=times_hessian, dtype=np.float64)
    solved, _ = linalg.cg(hessian, gradient.ravel(), rtol=1e-8, atol=0.0)
    return np.asarray(solved).reshape(shape)
