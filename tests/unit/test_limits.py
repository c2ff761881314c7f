"""What may still be spent: who waits, who goes on, who is told that a cap is reached."""

import asyncio
from typing import Any

import pytest

from stepsynth.errors import LimitReachedError
from stepsynth.llm.limits import Budget, Limits, Most
from stepsynth.llm.store import Spent

MOST = Most(usd=1.0, tokens=100)


def open_budget(elsewhere: Spent, **limits: Any) -> Budget:
    return Budget(Limits(**limits), lambda: 0.0, lambda: elsewhere)


async def settle_down() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("limits", "elsewhere"),
    [
        ({"usd": 10.0}, Spent()),
        ({"usd": 12.5}, Spent(usd=2.5)),
        ({"tokens": 1000}, Spent()),
        ({"tokens": 1300}, Spent(tokens=300)),
    ],
)
def test_as_many_go_as_may_cost_the_cap_and_the_next_waits(limits, elsewhere):
    async def go() -> None:
        budget = open_budget(elsewhere, **limits)
        asked = [asyncio.ensure_future(budget.enter(MOST)) for _ in range(15)]
        await settle_down()
        assert sum(each.done() for each in asked) == 10
        budget.settle(MOST, Spent(1, usd=1.0, tokens=100))
        await settle_down()
        assert sum(each.done() for each in asked) == 10
        # Two answers that took half as much as they might make room for one more.
        for _ in range(2):
            budget.settle(MOST, Spent(1, usd=0.5, tokens=50))
        await settle_down()
        assert [each.done() for each in asked] == [True] * 11 + [False] * 4
        budget.stop()
        assert await asyncio.gather(*asked) == [True] * 11 + [False] * 4

    asyncio.run(go())


def test_a_cap_is_reached_only_when_what_is_in_flight_cannot_make_room():
    async def go() -> None:
        budget = open_budget(Spent(), usd=1.5)
        assert await budget.enter(MOST)
        second = asyncio.ensure_future(budget.enter(MOST))
        await settle_down()
        assert not second.done()
        budget.settle(MOST, Spent(1, usd=0.6))
        with pytest.raises(LimitReachedError, match=r"0\.6 of 1\.5 USD"):
            await second

    asyncio.run(go())


def test_a_request_that_is_called_off_gives_back_what_was_held_for_it():
    async def go() -> None:
        budget = open_budget(Spent(), usd=1.5)
        assert await budget.enter(MOST)
        second = asyncio.ensure_future(budget.enter(MOST))
        await settle_down()
        budget.settle(MOST, Spent(1, usd=0.1))  # the second may go now, but
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert await budget.enter(MOST)
        budget.settle(MOST, Spent(1, usd=0.1))

    asyncio.run(go())


def test_one_answer_looks_at_one_of_those_who_wait():
    """4,096 wait near a cap: each answer asks once more than it lets go."""

    async def go() -> None:
        looked = 0

        def elsewhere() -> Spent:
            nonlocal looked
            looked += 1
            return nothing

        nothing = Spent()
        budget = Budget(Limits(usd=8.0), lambda: 0.0, elsewhere)
        asked = [asyncio.ensure_future(budget.enter(MOST)) for _ in range(4096)]
        await settle_down()
        done = sum(each.done() for each in asked)
        assert done == 8
        looked = 0
        for n in range(100):
            budget.settle(MOST, Spent(1, usd=1e-6))
            assert looked <= 3 * (n + 1)
        await settle_down()
        assert sum(each.done() for each in asked) == 107
        budget.stop()
        await asyncio.gather(*asked)

    asyncio.run(go())


def test_processes_that_share_a_cap_hold_back_a_part_of_what_is_left_each():
    async def go() -> None:
        budgets = [Budget(Limits(usd=10.0), lambda: 0.0, Spent, lambda: 2) for _ in range(2)]
        asked = [asyncio.ensure_future(b.enter(MOST)) for b in budgets for _ in range(9)]
        await settle_down()
        assert sum(each.done() for each in asked) == 10
        for budget in budgets:
            budget.stop()
        await asyncio.gather(*asked)

    asyncio.run(go())
