"""The paired bootstrap: against a literal version, and on made data whose truth is known."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from stepsynth.metrics.bootstrap import bootstrap_macro_f1, bootstrap_mean, resamples

DRAWS = 150


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


def literally(score, rows, random_seed=0):
    """Return the interval by drawing every row, one after the other, with the same numbers."""
    n_rows = 1 + max(int(r.max()) for r in rows)
    means = []
    for seeds, taken in resamples(len(rows), n_rows, draws=DRAWS, random_seed=random_seed):
        scores = []
        for seed in seeds:
            places = [i for row in taken for i in np.flatnonzero(rows[seed] == row)]
            scores.append(score(seed, np.array(places)))
        means.append(np.mean(scores))
    return np.percentile(means, [2.5, 97.5])


@pytest.mark.parametrize("shared", ["all", "some"])
def test_the_mean_is_that_of_the_literal_version(shared):
    gold, first, second, rows = made(shared=shared)
    one, two = ([(p == g) * 1.0 for p, g in zip(x, gold, strict=True)] for x in (first, second))
    found = bootstrap_mean(one, two, rows, draws=DRAWS)
    low, high = literally(lambda s, i: (one[s] - two[s])[i].mean(), rows)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.mean == pytest.approx(
        np.mean([a.mean() - b.mean() for a, b in zip(one, two, strict=True)])
    )


@pytest.mark.parametrize("shared", ["all", "some"])
def test_macro_f1_is_that_of_the_literal_version(shared):
    gold, first, second, rows = made(shared=shared, n=25)
    found = bootstrap_macro_f1(gold, first, second, rows, draws=DRAWS)

    def difference(seed, places):
        one, two = (
            f1_score(gold[seed][places], x[seed][places], average="macro") for x in (first, second)
        )
        return one - two

    low, high = literally(difference, rows)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    everything = np.arange(25)
    expected = np.mean([difference(s, everything) for s in range(4)])
    assert found.mean == pytest.approx(expected)


def test_a_label_that_nobody_has_counts_for_nothing():
    gold, said = [np.array([0, 0, 2, 2])], [np.array([0, 2, 2, 2])]
    found = bootstrap_macro_f1(gold, said, gold, [np.arange(4)], draws=20)
    assert found.mean == pytest.approx(f1_score(gold[0], said[0], average="macro") - 1)


def test_a_model_against_itself_differs_by_nothing():
    gold, first, _, rows = made()
    found = bootstrap_macro_f1(gold, first, first, rows, draws=DRAWS)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert not found.is_beyond_noise


def test_one_row_and_rows_that_no_resample_has_are_no_error():
    one = [np.array([1.0]), np.array([0.0])]
    rows = [np.array([0]), np.array([1])]
    found = bootstrap_mean(one, one[::-1], rows, draws=50)
    assert found.mean == 0
    labels = [np.array([0]), np.array([1])]
    assert bootstrap_macro_f1(labels, labels, labels, rows, draws=50).mean == 0


def covered(*, numbered_alike, repeats=150, seeds=8, n=80, seed_luck=0.03):
    """Return how often the interval holds the truth, where rows and seeds both bring luck."""
    rng = np.random.default_rng(1)
    hits = 0
    for repeat in range(repeats):
        of_row, of_seed = rng.normal(0, 1, n), rng.normal(0, seed_luck, seeds)
        first = [0.3 + of_row + s + rng.normal(0, 0.3, n) for s in of_seed]
        rows = [np.arange(n) + (0 if numbered_alike else n * s) for s in range(seeds)]
        nothing = [np.zeros(n)] * seeds
        found = bootstrap_mean(first, nothing, rows, draws=200, random_seed=repeat)
        hits += found.low <= 0.3 <= found.high
    return hits / repeats


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    assert 0.88 <= covered(numbered_alike=True) <= 0.99


def test_taking_one_row_for_many_would_be_too_sure():
    assert covered(numbered_alike=False) < 0.75
