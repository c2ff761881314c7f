"""What may still be spent: who waits, who goes on, who is told that a cap is reached."""

import asyncio
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepsynth.errors import LimitReachedError
from stepsynth.llm.core.usage import Spent
from stepsynth.llm.engine.limits import Budget, Limits, Most
from stepsynth.llm.store import claims, schema, shared_caps
from stepsynth.llm.store.shared_caps import CapGrant, CapRequest

NO_SPENT = Spent()
MOST = Most(usd=1.0, tokens=100)


class Desk:
    """What a store knows of the budgets of several processes.

    Attributes:
        asked: How often it was asked for a part.
        is_slow: Its answers come when `answer` is set.
    """

    def __init__(self, elsewhere: Spent = NO_SPENT) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        schema.prepare(self.connection, Path("memory"))
        self.connection.execute("INSERT INTO spent VALUES ('r', ?, ?, ?)", elsewhere)
        self.asked = 0
        self.is_slow = False
        self.answer = asyncio.Event()
        self._owners: dict[Budget, int] = {}

    def open(self, now: Callable[[], float] = float, **limits: Any) -> Budget:
        owner = secrets.randbits(62)

        async def ask(asked: CapRequest) -> CapGrant:
            self.asked += 1
            claims.enrol(self.connection, owner)
            grant = shared_caps.ask(self.connection, owner, asked)
            if self.is_slow:
                await self.answer.wait()
            return grant

        budget = Budget(Limits(**limits), now, ask, "r")
        self._owners[budget] = owner
        return budget

    def settle(self, budget: Budget, spent: Spent, most: Most = MOST) -> None:
        """End a request; what it has cost is written down, as a store does."""
        budget.settle(most, spent)
        sums = "requests = requests + ?, usd = usd + ?, tokens = tokens + ?"
        self.connection.execute(f"UPDATE spent SET {sums}", spent)
        shared_caps.record(self.connection, self._owners[budget], "r", spent)


async def settle_down() -> None:
    for _ in range(30):
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
async def test_as_many_go_as_may_cost_the_cap_and_the_next_waits(limits, elsewhere):
    desk = Desk(elsewhere)
    budget = desk.open(**limits)
    asked = [asyncio.ensure_future(budget.enter(MOST)) for _ in range(15)]
    await settle_down()
    assert sum(each.done() for each in asked) == 10
    desk.settle(budget, Spent(1, usd=1.0, tokens=100))
    await settle_down()
    assert sum(each.done() for each in asked) == 10
    # Two answers that took half as much as they might make room for one more.
    for _ in range(2):
        desk.settle(budget, Spent(1, usd=0.5, tokens=50))
    await settle_down()
    assert [each.done() for each in asked] == [True] * 11 + [False] * 4
    budget.stop()
    assert await asyncio.gather(*asked) == [True] * 11 + [False] * 4


async def test_a_cap_is_reached_only_when_what_is_in_flight_cannot_make_room():
    desk = Desk()
    budget = desk.open(usd=1.5)
    assert await budget.enter(MOST)
    second = asyncio.ensure_future(budget.enter(MOST))
    await settle_down()
    assert not second.done()
    desk.settle(budget, Spent(1, usd=0.6))
    with pytest.raises(LimitReachedError, match=r"0\.6 of 1\.5 USD"):
        await second


async def test_a_request_that_is_called_off_gives_back_what_was_held_for_it():
    desk = Desk()
    budget = desk.open(usd=1.5)
    assert await budget.enter(MOST)
    second = asyncio.ensure_future(budget.enter(MOST))
    await settle_down()
    desk.settle(budget, Spent(1, usd=0.1))  # the second may go now, but
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert await budget.enter(MOST)
    desk.settle(budget, Spent(1, usd=0.1))


async def test_one_answer_looks_at_one_of_those_who_wait():
    """4,096 wait near a cap: each answer asks once more than it lets go."""
    desk = Desk()
    budget = desk.open(usd=8.0)
    asked = [asyncio.ensure_future(budget.enter(MOST)) for _ in range(4096)]
    await settle_down()
    done = sum(each.done() for each in asked)
    assert done == 8
    desk.asked = 0
    for n in range(100):
        desk.settle(budget, Spent(1, usd=1e-6))
        await settle_down()
        assert desk.asked <= 2 * (n + 1)
    assert sum(each.done() for each in asked) == 107
    budget.stop()
    await asyncio.gather(*asked)


async def test_who_waits_for_another_process_gets_what_that_gives_back(monkeypatch):
    monkeypatch.setattr("stepsynth.llm.engine.limits.POLL_S", 0.001)
    desk = Desk()
    first, second = desk.open(usd=10.0), desk.open(usd=10.0)
    assert await first.reserve([MOST] * 10) == 10
    for _ in range(9):
        desk.settle(first, NO_SPENT)
    other = asyncio.ensure_future(second.enter(MOST))
    await asyncio.sleep(0.01)
    assert not other.done()
    await first.give_back()
    assert await other


async def test_the_error_names_the_cap_that_is_short_and_what_all_have_spent():
    for limits, match in (
        ({"requests": 5, "usd": 99.0}, "5 requests were sent"),
        ({"requests": 50, "usd": 4.5}, "4 of 4.5 USD are spent"),
        ({"usd": 99.0, "tokens": 450}, "400 of 450 tokens are used"),
    ):
        budget = Desk(Spent(5, 4.0, 400)).open(**limits)
        with pytest.raises(LimitReachedError, match=match):
            await budget.enter(MOST)


async def test_what_is_given_up_in_an_ask_is_not_used_before_the_answer_has_come():
    """Another process may have it by then: the store knows of the ask first."""
    desk = Desk()
    first, second = desk.open(tokens=100), desk.open(tokens=100)
    large, small, other = Most(tokens=40), Most(tokens=20), Most(tokens=42)
    assert await first.enter(large)
    assert await first.enter(small)
    desk.is_slow = True
    third = asyncio.ensure_future(first.enter(other))  # too much as long as both are out
    await settle_down()
    desk.settle(first, Spent(1, tokens=5), large)  # now there would be room for it
    await settle_down()
    desk.is_slow = False
    assert await second.enter(large)
    desk.answer.set()
    await settle_down()
    assert not third.done()
    first.stop()
    await third


async def test_minutes_pass_for_who_waits_for_another_process(monkeypatch):
    monkeypatch.setattr("stepsynth.llm.engine.limits.POLL_S", 0.001)
    desk, now = Desk(), [0.0]
    first, second = desk.open(usd=1.0), desk.open(usd=1.0, minutes=1, now=lambda: now[0])
    assert await first.enter(MOST)
    waiting = asyncio.ensure_future(second.enter(MOST))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    now[0] = 60.0
    with pytest.raises(LimitReachedError, match=r"limits\.minutes"):
        await waiting


@pytest.mark.parametrize("error", [OSError("broken"), MemoryError()])
async def test_an_error_of_the_store_is_that_of_who_asked(error):
    async def ask(_wish: CapRequest) -> CapGrant:
        raise error

    with pytest.raises(type(error)):
        await Budget(Limits(usd=1.0), lambda: 0.0, ask).enter(MOST)


async def test_who_was_sent_away_and_then_cancelled_has_held_nothing():
    budget = Desk().open(usd=2.0)
    assert await budget.enter(MOST)
    assert await budget.enter(MOST)
    third = asyncio.ensure_future(budget.enter(MOST))
    await settle_down()
    budget.stop()
    third.cancel()
    await asyncio.gather(third, return_exceptions=True)
    with pytest.raises(LimitReachedError):
        await budget.reserve([MOST])


async def test_who_was_taken_for_dead_is_there_again_with_its_part():
    desk = Desk()
    first, second = desk.open(usd=10.0), desk.open(usd=10.0)
    assert await first.reserve([MOST] * 5) == 5
    desk.connection.execute("DELETE FROM owners")
    first.close_part()
    assert await first.enter(MOST)
    assert await second.reserve([MOST] * 9) <= 4
