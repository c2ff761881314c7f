"""What is claimed of p * P_add + (1 - p) * P_LLM^(0) holds for any two distributions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stepsynth.studies.theory import (
    Theory,
    added_distribution,
    best_share,
    best_share_of_kl,
    blind,
    kl_divergence,
    mix,
    run_rounds,
    smear,
    total_variation,
)

masses = st.integers(0, 1000)


@st.composite
def pairs(draw, zeros=True):
    """Two distributions on the same 2 to 12 points, that are not the same."""
    size = draw(st.integers(2, 12))
    some = masses if zeros else st.integers(1, 1000)
    d, q = (np.array(draw(st.lists(some, min_size=size, max_size=size)), float) for _ in "dq")
    assume(d.sum() > 0 and q.sum() > 0)
    d, q = d / d.sum(), q / q.sum()
    assume(total_variation(d, q) > 1e-4)
    return d, q


@given(pairs())
def test_the_endpoints_are_the_two_distributions(pair):
    d, q = pair
    a = added_distribution(d, q)
    assert np.isclose(a.sum(), 1)
    assert np.allclose(mix(0, a, q), q)
    assert np.allclose(mix(1, a, q), a)
    assert (a[d <= q] == 0).all()


@given(pairs(), st.floats(0.001, 1))
def test_any_share_up_to_the_distance_itself_reduces_it(pair, part):
    d, q = pair
    gap = total_variation(d, q)
    assert total_variation(d, mix(part * gap, added_distribution(d, q), q)) < gap


@given(pairs())
def test_it_starts_to_fall_by_the_mass_that_the_llm_has_where_it_has_too_much(pair):
    d, q = pair
    too_much = q > d
    a = added_distribution(d, q)
    used_up = 1 - d[too_much] / q[too_much]  # where a point has no more than it should have
    grows = a > q
    filled = (d - q)[grows] / (a - q)[grows]  # where a point has all that it should have
    p = min(*used_up, *filled, 1) / 2
    fallen = total_variation(d, q) - total_variation(d, mix(p, a, q))
    assert fallen == pytest.approx(p * q[too_much].sum(), abs=1e-9)


@given(pairs(), st.randoms())
def test_the_best_share_is_best(pair, random):
    d, q = pair
    anything = np.array([random.random() + 1e-9 for _ in d])
    for a in (added_distribution(d, q), anything / anything.sum()):
        best = total_variation(d, mix(best_share(d, q, a), a, q))
        grid = [total_variation(d, mix(p, a, q)) for p in np.linspace(0, 1, 201)]
        assert best <= min(grid) + 1e-9


@given(pairs(zeros=False))
def test_the_best_share_of_kl_is_best(pair):
    d, q = pair
    a = added_distribution(d, q)
    best = kl_divergence(d, mix(best_share_of_kl(d, q, a), a, q))
    assert best <= min(kl_divergence(d, mix(p, a, q)) for p in np.linspace(0, 0.99, 100)) + 1e-9


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=5),
    st.lists(st.integers(1, 100), min_size=1, max_size=5),
    st.floats(0.05, 0.95),
)
def test_one_round_closes_the_gap_where_the_ratio_takes_two_values(much, little, low):
    q = np.array([*much, *little], float)
    q /= q.sum()
    rest = q[len(much) :].sum()
    high = (1 - low * (1 - rest)) / rest
    d = np.concatenate([low * q[: len(much)], high * q[len(much) :]])
    a = added_distribution(d, q)
    assert total_variation(d, mix(best_share(d, q, a), a, q)) == pytest.approx(0, abs=1e-9)


def test_one_round_cannot_close_the_gap_where_it_takes_three():
    d, q = np.array([0.1, 0.3, 0.6]), np.array([0.5, 0.4, 0.1])
    a = added_distribution(d, q)
    assert total_variation(d, mix(best_share(d, q, a), a, q)) > 0.05
    *_, last = run_rounds(d, q, 20, added_distribution)
    assert total_variation(d, last) < 0.01


@given(pairs())
def test_rounds_never_do_harm_at_their_best_share(pair):
    d, q = pair
    rounds = run_rounds(d, q, 5, added_distribution)
    left = [total_variation(d, q), *(total_variation(d, r) for r in rounds)]
    assert all(after <= before + 1e-12 for before, after in pairwise(left))


@pytest.mark.parametrize("random_seed", range(4))
def test_ever_smaller_steps_close_the_gap(random_seed):
    d, q = np.random.default_rng(random_seed).dirichlet(np.ones(8), size=2)
    gap, step = total_variation(d, q), 0.001
    for _ in range(3000):
        q = mix(step, added_distribution(d, q), q)
    assert total_variation(d, q) < gap * np.exp(-3) + 10 * step


@given(pairs(), st.floats(0, 0.5), st.floats(0, 0.5))
def test_an_llm_that_falls_back_to_its_own_texts_costs_rows_and_nothing_else(pair, p, share):
    d, q = pair
    a = added_distribution(d, q)
    assert np.allclose(mix(p, a, q), mix(p / (1 - share), mix(share, q, a), q))


@given(pairs())
def test_what_the_student_does_not_see_is_never_added(pair):
    d, q = pair
    seen = np.arange(len(d)) % 2 == 0
    a = blind(d, q, seen)
    assert np.isclose(a.sum(), 1)
    missed = ~seen & (d > q)
    *_, last = run_rounds(d, q, 4, lambda d, q: blind(d, q, seen))
    assert (last[missed] <= q[missed] + 1e-12).all()


@given(pairs(), st.floats(0, 1))
def test_smearing_moves_mass_and_loses_none(pair, share):
    a = added_distribution(*pair)
    assert smear(a, share).sum() == pytest.approx(1)
    assert np.allclose(smear(a, 0), a)


@given(st.integers(0, 3))
def test_the_simulation_finds_what_is_known_of_it(random_seed):
    study = Theory(pairs=300, random_seed=random_seed, found=(0.7,), smeared=(0.3,))
    claims, shares, rounds, spreads = study.run().tables
    held = dict(zip((row[0] for row in claims.rows), (row[2] for row in claims.rows), strict=True))
    assert held["p = 0.01 reduces it"] == 1
    assert held["p = TV(P_D, P_0) reduces it"] == 1
    assert held["p = 0.33 reduces it"] > 0.97
    assert held["one round closes the gap, with the best p (Eq. 2)"] < 0.02
    best = shares.rows[-1]
    assert 0.2 < best[2] < 0.4
    assert best[2] < min(row[2] for row in shares.rows[:-1])
    perfect, blinded, smeared = rounds.rows
    assert perfect[1] > perfect[2] > perfect[-2]
    assert perfect[-2] < blinded[-2]
    assert perfect[-2] < smeared[-2]
    assert perfect[1] == pytest.approx(best[2])
    left = [row[3] for row in spreads.rows]
    assert left == sorted(left)
