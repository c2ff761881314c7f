"""A purse holds what a method may spend: never more is taken, and parts leave the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsynth.methods._purse import FIRST, Purse


def test_without_limits_it_is_never_empty():
    purse = Purse()
    with purse.part(0.1):
        assert purse.take(10**6) == 10**6
    assert purse.affordable(5) == 5


def test_a_part_leaves_the_rest_for_what_follows():
    purse = Purse(requests=60)
    with purse.part(2 / 3):
        assert purse.take(100) == 40
        assert purse.take(1) == 0
    with purse.part(1 / 2):
        assert purse.take(4) == 4  # of 10; what is left over is not lost
    with purse.part(1.0):
        assert purse.take(100) == 16
    assert purse.spent == 60


@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.floats(0.01, 1.0), st.integers(0, 80)), max_size=8),
)
def test_never_more_than_the_whole_is_taken(whole, parts):
    purse = Purse(requests=whole)
    for share, wanted in parts:
        left = whole - purse.spent
        with purse.part(share):
            assert purse.take(wanted) <= int(share * left)
    assert purse.spent <= whole


def test_usd_is_estimated_from_what_requests_have_cost():
    spent = 0.0
    purse = Purse(usd=1.0, spent_usd=lambda: spent)
    assert purse.take(1000) == FIRST
    spent = FIRST * 0.01
    assert purse.affordable(1000) == FIRST
    spent = FIRST * 0.025
    assert purse.affordable(1000) == int((1.0 - spent) / 0.025)
    with purse.part(0.5):
        assert purse.affordable(1000) == int((1.0 - spent) / 2 / 0.025)
    spent = 1.2
    assert purse.affordable(1) == 0


def test_usd_are_overdrawn_by_few_requests_where_later_ones_cost_more():
    spent = 0.0
    purse = Purse(usd=20.0, spent_usd=lambda: spent)
    for _ in range(10):
        spent += 0.001 * purse.take(32)
    while taken := purse.take(10**6):
        spent += 0.1 * taken  # a hundred times as much
    assert 20 <= spent <= 20 + 0.1 * FIRST


def test_the_rest_of_a_part_comes_back_after_an_error():
    purse = Purse(requests=10)
    with pytest.raises(RuntimeError), purse.part(0.1):
        raise RuntimeError
    assert purse.affordable(100) == 10
