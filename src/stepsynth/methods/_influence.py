"""How much each training row helps on validation rows: influence functions of a last layer.

Koh, Liang: "Understanding Black-box Predictions via Influence Functions", ICML 2017. ProGen solves
its linear system by LiSSA with damping 5e-3 over a whole network. Of a last layer the Hessian is
positive definite by its weight decay alone, so it is solved by conjugate gradients, undamped.
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
"""ProGen softens a one-hot label by softmax(1 x one-hot); it scales influence, no more."""


def influence(
    X: Any, Y: Floats, X_valid: Any, Y_valid: Floats, *, loss: Loss = "reverse_cross_entropy"
) -> Floats:
    """Return the influence of each training row, -∇L_valid · H⁻¹ ∇L_train(z): n.

    It is how fast the validation loss rises with the row's weight: negative is helpful. Leaving the
    row out of n changes the validation loss by about -1/n of it.

    Args:
        X: Training features (n, d), dense or sparse.
        Y: Their one-hot labels (n, labels); the training loss is the cross entropy.
        X_valid: Validation features (m, d).
        Y_valid: Their one-hot labels (m, labels).
        loss: Of the validation rows.
    """
    W = fit_last_layer(X, Y)
    P, P_valid = probabilities(X, W), probabilities(X_valid, W)
    outer = slope_of(P_valid, Y_valid, loss, gain=SOFTENING)
    gradient = np.asarray(X_valid.T @ outer) / len(Y_valid)
    step = _solve(X, P, gradient)
    return -((P - Y) * np.asarray(X @ step)).sum(axis=1)


def _solve(X: Any, P: Floats, gradient: Floats) -> Floats:
    """Return H⁻¹ times a gradient (d, labels), H the Hessian of the training loss."""
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
