import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import roc_auc_score

from stepsynth.metrics.two_sample import auc_with_error, tell_apart, wilson_interval


def test_auc_equals_scikit_learn_also_with_ties():
    rng = np.random.default_rng(0)
    above, below = rng.integers(0, 9, 60).astype(float), rng.integers(0, 7, 45).astype(float)
    side = np.repeat([1, 0], [60, 45])
    expected = roc_auc_score(side, np.concatenate([above, below]))
    assert auc_with_error(above, below)[0] == pytest.approx(expected)


def test_the_error_of_an_auc_is_the_spread_of_auc_over_samples():
    rng = np.random.default_rng(1)
    found = [auc_with_error(rng.normal(1, 1, 80), rng.normal(0, 1, 120)) for _ in range(400)]
    spread = np.std([auc for auc, _ in found])
    assert np.mean([error for _, error in found]) == pytest.approx(spread, rel=0.1)


def test_intervals_hold_what_they_promise_where_both_sets_are_alike():
    rng = np.random.default_rng(2)
    found = [
        tell_apart(rng.normal(size=(60, 8)), rng.normal(size=(60, 8)), random_seed=seed)
        for seed in range(150)
    ]
    # 142.5 of 150 are expected; cross-validated scores taken as independent give about 120.
    assert sum(f.auc_interval[0] <= 0.5 <= f.auc_interval[1] for f in found) >= 135
    of_accuracy = [wilson_interval(round(f.accuracy * f.n), f.n) for f in found]
    assert sum(low <= 0.5 <= high for low, high in of_accuracy) >= 135
    assert np.mean([f.auc for f in found]) == pytest.approx(0.5, abs=0.02)
    assert found[0].n == 60


def test_a_shift_is_seen_in_dense_and_sparse_rows_alike():
    rng = np.random.default_rng(3)
    p, q = rng.normal(0.8, 1, size=(200, 4)), rng.normal(size=(200, 4))
    dense = tell_apart(p, q, random_seed=0)
    sparse = tell_apart(csr_matrix(p), csr_matrix(q), random_seed=0)
    assert dense.auc > 0.85
    assert dense.auc_interval[0] > 0.5
    assert sparse.auc == pytest.approx(dense.auc, abs=1e-3)


def test_sets_that_are_told_apart_without_an_error_on_a_few_rows_are_not_certain():
    rng = np.random.default_rng(4)
    found = tell_apart(rng.normal(9, 1, (20, 3)), rng.normal(-9, 1, (20, 3)), random_seed=0)
    low, high = found.auc_interval
    assert (found.auc, high) == (1.0, 1.0)
    assert low == pytest.approx(wilson_interval(10, 10)[0])


def test_wilson_interval_is_that_of_the_textbook():
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
