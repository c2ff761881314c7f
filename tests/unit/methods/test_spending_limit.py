"""A spending limit holds what a method may spend: never more is taken, and parts leave the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsynth.methods._spending_limit import FIRST, SpendingLimit


def test_without_limits_it_is_never_empty():
    spending = SpendingLimit()
    with spending.part(0.1):
        assert spending.take(10**6) == 10**6
    assert spending.affordable(5) == 5


def test_a_part_leaves_the_rest_for_what_follows():
    spending = SpendingLimit(requests=60)
    with spending.part(2 / 3):
        assert spending.take(100) == 40
        assert spending.take(1) == 0
    with spending.part(1 / 2):
        assert spending.take(4) == 4  # of 10; what is left over is not lost
    with spending.part(1.0):
        assert spending.take(100) == 16
    assert spending.spent == 60


@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.floats(0.01, 1.0), st.integers(0, 80)), max_size=8),
)
def test_never_more_than_the_whole_is_taken(whole, parts):
    spending = SpendingLimit(requests=whole)
    for share, wanted in parts:
        left = whole - spending.spent
        with spending.part(share):
            assert spending.take(wanted) <= int(share * left)
    assert spending.spent <= whole


def test_usd_is_estimated_from_what_requests_have_cost():
    spent = 0.0
    spending = SpendingLimit(usd=1.0, spent_usd=lambda: spent)
    assert spending.take(1000) == FIRST
    spent = FIRST * 0.01
    assert spending.affordable(1000) == FIRST
    spent = FIRST * 0.025
    assert spending.affordable(1000) == int((1.0 - spent) / 0.025)
    with spending.part(0.5):
        assert spending.affordable(1000) == int((1.0 - spent) / 2 / 0.025)
    spent = 1.2
    assert spending.affordable(1) == 0


def test_usd_are_overdrawn_by_few_requests_where_later_ones_cost_more():
    spent = 0.0
    spending = SpendingLimit(usd=20.0, spent_usd=lambda: spent)
    for _ in range(10):
        spent += 0.001 * spending.take(32)
    while taken := spending.take(10**6):
        spent += 0.1 * taken  # a hundred times as much
    assert 20 <= spent <= 20 + 0.1 * FIRST


def test_the_rest_of_a_part_comes_back_after_an_error():
    spending = SpendingLimit(requests=10)
    with pytest.raises(RuntimeError), spending.part(0.1):
        raise RuntimeError
    assert spending.affordable(100) == 10
