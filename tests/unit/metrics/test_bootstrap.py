"""Intervals of differences: against a literal version, and on made data whose truth is known."""

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import f1_score

from stepsynth.metrics import bootstrap
from stepsynth.metrics.bootstrap import (
    Interval,
    bootstrap_f1,
    bootstrap_mean,
    f1_interval,
    mean_interval,
    resample_rows,
)

DRAWS = 150


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", DRAWS)


def made(seeds=4, n=60, labels=3, *, shared="all"):
    """Return gold, two models' predictions, and the numbers of the rows of each random seed."""
    rng = np.random.default_rng(5)
    pool = rng.integers(0, labels, 3 * n)
    if shared == "all":
        rows = [np.arange(n)] * seeds
    else:
        rows = [rng.permutation(2 * n)[:n] for _ in range(seeds)]
    gold = [pool[r] for r in rows]

    def predict(share):
        return [np.where(rng.random(n) < share, g, rng.integers(0, labels, n)) for g in gold]

    return gold, predict(0.6), predict(0.5), rows


def macro_f1(gold, first, second, rows):
    """Return the difference in macro-F1 of models that give each row one of three labels."""
    gold, first, second = ([np.eye(3, dtype=bool)[x] for x in of] for of in (gold, first, second))
    return bootstrap_f1(gold, first, second, rows, average="macro")


def literally(score, rows, observed):
    """Return the interval by writing every drawn row out, and every term of its variance."""
    n_rows = 1 + max(int(r.max()) for r in rows)
    found = []
    for counts in resample_rows(n_rows):
        for times in counts.astype(int):
            places = [np.repeat(np.arange(len(part)), times[part]) for part in rows]
            found.append([score(s, place) for s, place in enumerate(places)])
    found, seeds = np.array(found), len(rows)
    by_seeds = np.var(observed, ddof=1) / seeds
    pairs = [(i, j) for i in range(seeds) for j in range(seeds) if i != j]
    by_rows = max(0, np.mean([np.cov(found[:, i], found[:, j])[0, 1] for i, j in pairs]))
    of_seeds = t.ppf(0.975, seeds - 1) * np.sqrt(by_seeds)
    of_rows = t.ppf(0.975, n_rows - 1) * np.sqrt(by_rows * n_rows / (n_rows - 1))
    reach = np.hypot(of_seeds, of_rows)
    return Interval(np.mean(observed), np.mean(observed) - reach, np.mean(observed) + reach)


def assert_same(found, expected):
    assert (found.mean, found.low, found.high) == pytest.approx(
        (expected.mean, expected.low, expected.high), abs=1e-9
    )


@pytest.mark.parametrize("shared", ["all", "some"])
def test_the_mean_is_that_of_the_literal_version(shared):
    gold, first, second, rows = made(shared=shared)
    one, two = ([(p == g) * 1.0 for p, g in zip(x, gold, strict=True)] for x in (first, second))
    gains = [a - b for a, b in zip(one, two, strict=True)]
    found = bootstrap_mean(one, two, rows)
    observed = [gain.mean() for gain in gains]
    assert_same(found, literally(lambda s, i: gains[s][i].mean(), rows, observed))


@pytest.mark.parametrize("shared", ["all", "some"])
def test_macro_f1_is_that_of_the_literal_version(shared):
    gold, first, second, rows = made(shared=shared, n=25)

    def difference(seed, places):
        one, two = (
            f1_score(gold[seed][places], x[seed][places], average="macro") for x in (first, second)
        )
        return one - two

    found = macro_f1(gold, first, second, rows)
    observed = [difference(s, np.arange(25)) for s in range(4)]
    assert_same(found, literally(difference, rows, observed))


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_of_sets_is_that_of_the_literal_version(average):
    rng = np.random.default_rng(5)
    gold = [rng.random((25, 3)) < 0.5] * 4
    first, second = ([g ^ (rng.random(g.shape) < p) for g in gold] for p in (0.2, 0.4))
    rows = [np.arange(25)] * 4

    def difference(seed, places):
        one, two = (
            f1_score(gold[seed][places], x[seed][places], average=average) for x in (first, second)
        )
        return one - two

    found = bootstrap_f1(gold, first, second, rows, average=average)
    observed = [difference(s, np.arange(25)) for s in range(4)]
    assert_same(found, literally(difference, rows, observed))


def test_a_resample_has_as_many_rows_as_there_are():
    counts = np.concatenate(list(resample_rows(7)))
    assert counts.shape == (DRAWS, 7)
    assert set(counts.sum(axis=1)) == {7}
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(6 / 7, abs=0.05)


def test_a_label_that_nobody_has_counts_for_nothing():
    gold, said = [np.array([0, 0, 2, 2])], [np.array([0, 2, 2, 2])]
    found = macro_f1(gold, said, gold, [np.arange(4)])
    assert found.mean == pytest.approx(f1_score(gold[0], said[0], average="macro") - 1)


def test_a_model_against_itself_differs_by_nothing():
    gold, first, _, rows = made()
    found = macro_f1(gold, first, first, rows)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert not found.is_beyond_noise


def test_one_row_and_rows_that_no_resample_has_are_no_error():
    one = [np.array([1.0]), np.array([0.0])]
    rows = [np.array([0]), np.array([1])]
    found = bootstrap_mean(one, one[::-1], rows)
    assert (found.mean, found.low, found.high) == (0, -1, 1)  # no difference of shares is larger
    labels = [np.array([0]), np.array([1])]
    assert macro_f1(labels, labels, labels, rows).mean == 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_score_of_0_or_1_on_a_few_rows_is_not_certain(share):
    own = np.eye(2, dtype=bool)[[0, 1] * 5]
    said = own if share else ~own
    for average in ("micro", "macro"):
        found = f1_interval(own, said, average=average)
        assert (found.mean, found.high - found.low) == (share, pytest.approx(0.2775, abs=1e-3))
        assert found.low <= share <= found.high
    found = mean_interval(np.full(10, share))
    assert (found.mean, found.high - found.low) == (share, pytest.approx(0.2775, abs=1e-3))


@pytest.mark.parametrize(("n", "is_proven"), [(1, False), (3, False), (10, True)])
def test_a_few_rows_of_one_kind_prove_no_difference(n, is_proven):
    rows = [np.arange(n)]
    right, wrong = np.ones((n, 1), bool), np.zeros((n, 1), bool)
    found = [
        bootstrap_mean([np.ones(n)], [np.zeros(n)], rows),
        bootstrap_f1([right], [right], [wrong], rows, average="micro"),
    ]
    for each in found:
        assert (each.mean, each.high, each.is_beyond_noise) == (1.0, 1.0, is_proven)


# How often it holds the truth ------------------------------------------------------------------

TRUTH = 0.1
REPEATS = 1000
LUCK = {
    "random seeds": (0.1, 0.1, 0.1),
    "random seeds and test rows": (0.02, 0.15, 0.1),
    "test rows": (0.0, 0.3, 0.05),
    "each row in each run": (0.0, 0.0, 0.3),
}
"""What decides -> the standard deviation of random seeds, of test rows, of rows in single runs."""


def covered(luck, seeds, n=60):
    """Return how often an interval holds the truth, where random seeds and rows are drawn anew."""
    of_seed, of_row, of_both = luck
    rng = np.random.default_rng(1)
    rows = [np.arange(n)] * seeds
    nothing, hits = [np.zeros(n)] * seeds, 0
    for _ in range(REPEATS):
        row = TRUTH + rng.normal(0, of_row, n)
        gains = [row + rng.normal(0, of_seed) + rng.normal(0, of_both, n) for _ in range(seeds)]
        found = bootstrap_mean(gains, nothing, rows)
        hits += found.low <= TRUTH <= found.high
    return hits / REPEATS


# 1,000 cases have a standard error of 0.7 points.
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("decides", LUCK)
def test_the_interval_holds_the_truth_in_95_of_100_cases(decides, seeds):
    assert 0.93 <= covered(LUCK[decides], seeds) <= 0.985


def test_of_one_random_seed_it_is_over_test_rows_alone():
    assert 0.93 <= covered(LUCK["test rows"], 1) <= 0.97
    assert covered(LUCK["random seeds"], 1) < 0.75


def test_two_random_seeds_that_differ_by_the_same_number_of_rows_prove_nothing():
    """Each is ahead in one row of 18: without the rule the interval would have no width."""
    gains = [np.eye(18)[0], np.eye(18)[1]]
    found = bootstrap_mean(gains, [np.zeros(18)] * 2, [np.arange(18)] * 2)
    assert found.mean == pytest.approx(1 / 18)
    assert found.low < 0 < found.high


@pytest.mark.parametrize("n", [10, 18, 40])
def test_of_two_random_seeds_few_alike_methods_seem_different(n):
    rng = np.random.default_rng(1)
    rows, nothing, wrong = [np.arange(n)] * 2, [np.zeros(n)] * 2, 0
    for _ in range(REPEATS):
        gains = [rng.choice([1.0, 0.0, -1.0], n, p=[0.05, 0.9, 0.05]) for _ in range(2)]
        wrong += bootstrap_mean(gains, nothing, rows).is_beyond_noise
    assert wrong / REPEATS <= 0.05
