"""Influence and weights of rows, against what they stand for."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from stepsynth.methods._bilevel import learn_weights
from stepsynth.methods._influence import SOFTENING, influence
from stepsynth.methods._last_layer import fit_last_layer, probabilities, slope_of

LOSSES = ["reverse_cross_entropy", "cross_entropy"]


def made_rows(random_seed, n, d, labels, *, apart, flipped=0.3):
    """Return unit vectors around one centre for each label, and labels of which some are wrong."""
    rng = np.random.default_rng(random_seed)
    truth = rng.integers(0, labels, n)
    X = rng.normal(size=(n, d))
    X[np.arange(n), truth] += apart
    X = np.hstack([X / np.linalg.norm(X, axis=1, keepdims=True), np.ones((n, 1))])
    is_wrong = rng.random(n) < flipped
    said = np.where(is_wrong, (truth + rng.integers(1, labels, n)) % labels, truth)
    return X, one_hot(said, labels), is_wrong


def one_hot(labels, number):
    return np.eye(number)[labels]


def loss_of(P, Y, loss, *, gain):
    """Return the loss of each row, by its definition in the papers."""
    if loss == "cross_entropy":
        return -np.log((P * Y).sum(axis=1))
    return -(P * np.log(np.exp(gain * Y) / np.exp(gain * Y).sum(axis=1, keepdims=True))).sum(axis=1)


def mean_loss(X, Y, W, loss):
    return loss_of(probabilities(X, W), Y, loss, gain=SOFTENING).mean()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("labels", [2, 3])
def test_influence_is_what_leaving_a_row_out_does(labels, loss):
    X, Y, _ = made_rows(0, 120, 8, labels, apart=2.0)
    train, valid = slice(0, 60), slice(60, 120)
    scores = influence(X[train], Y[train], X[valid], Y[valid], loss=loss)
    n = 60
    whole = mean_loss(X[valid], Y[valid], fit_last_layer(X[train], Y[train]), loss)
    changes = []
    for i in range(n):
        W = fit_without(X[train], Y[train], np.delete(np.arange(n), i))
        changes.append(mean_loss(X[valid], Y[valid], W, loss) - whole)
    # A helpful row has negative influence, and without it the loss rises.
    assert spearmanr(-scores, changes).statistic >= 0.9
    big = np.argsort(-np.abs(changes))[:20]
    assert np.array_equal(np.sign(-scores[big]), np.sign(np.array(changes)[big]))


def fit_without(X, Y, kept):
    """Return the optimum of the kept rows alone, by a solver that is not ours.

    Each keeps its 1/n: what is left out is a row's loss, not a part of the weight decay.
    """
    from scipy.optimize import minimize

    n, labels, d = len(Y), Y.shape[1], X.shape[1]

    def loss(flat):
        W = flat.reshape(d, labels)
        scores = X[kept] @ W
        log_odds = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        slope = X[kept].T @ (np.exp(log_odds) - Y[kept]) / n + 5e-3 * W
        return -(log_odds * Y[kept]).sum() / n + 2.5e-3 * (W**2).sum(), slope.ravel()

    found = minimize(loss, np.zeros(d * labels), jac=True, method="BFGS", options={"gtol": 1e-8})
    return found.x.reshape(d, labels)


def test_mislabelled_rows_have_harmful_influence():
    X, Y, is_wrong = made_rows(1, 400, 20, 2, apart=5.0)
    scores = influence(X[:200], Y[:200], X[200:], Y[200:])
    assert roc_auc_score(is_wrong[:200], scores) >= 0.9


def test_sparse_features_give_the_same_influence():
    X, Y, _ = made_rows(2, 80, 10, 3, apart=3.0)
    dense = influence(X[:40], Y[:40], X[40:], Y[40:])
    S = csr_matrix(X)
    assert np.allclose(influence(S[:40], Y[:40], S[40:], Y[40:]), dense, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_slopes_are_those_of_the_losses(loss):
    rng = np.random.default_rng(0)
    X, Y, W = np.eye(4), one_hot(np.array([0, 1, 2, 0]), 3), rng.normal(size=(4, 3))
    slope = slope_of(probabilities(X, W), Y, loss, gain=2.0)
    for i in range(4):
        for c in range(3):
            step = np.zeros_like(W)
            step[i, c] = 1e-6
            up, down = (
                loss_of(probabilities(X, W + s), Y, loss, gain=2.0)[i] for s in (step, -step)
            )
            assert slope[i, c] == pytest.approx((up - down) / 2e-6, abs=1e-6)


@pytest.mark.parametrize(("labels", "d"), [(2, 50), (4, 50)])
def test_weights_find_flipped_labels_and_better_by_the_robust_loss(labels, d):
    robust, plain = [], []
    for random_seed in range(3):
        X, Y, is_wrong = made_rows(random_seed, 400, d, labels, apart=3.0)
        everywhere = np.arange(len(Y))
        for loss, scores in zip(LOSSES, (robust, plain), strict=True):
            weights = learn_weights(X, Y, everywhere, loss=loss)
            assert 0 <= weights.min() <= weights.max() <= 1
            scores.append(roc_auc_score(~is_wrong, weights))
    assert min(robust) >= 0.9
    assert min(np.array(robust) - np.array(plain)) >= 0.1
