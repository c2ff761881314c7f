"""No cap is ever crossed, whatever the requests cost, however long they take, whatever fails.

What was spent is what the simulated provider has charged, not what the engine has counted.
"""

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf

import pytest

from stepsynth.errors import LimitReachedError
from stepsynth.llm import LLM, Completion, Request
from stepsynth.llm.core.errors import RetryLaterError
from stepsynth.llm.core.usage import Spent
from stepsynth.llm.engine.limits import Budget, Limits, Most
from stepsynth.llm.store.store import Store
from tests.fake_clock import Clock, Server, break_down, use_fake_clock
from tests.fakes import FakeBackend

PROMPT = "Write a text."
LONGEST_PROMPT = len(PROMPT) + 64  # a token is a byte at least, and there are role marks


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return use_fake_clock(monkeypatch)


class Bill:
    """What the providers of a run have charged."""

    def __init__(self) -> None:
        self.usd, self.tokens, self.requests = 0.0, 0, 0
        self.answered: list[tuple[str, int]] = []


class Charging(Server):
    """A provider that charges a random part of the most that it may, and fails at times."""

    def __init__(self, clock: Clock, bill: Bill, rng: random.Random, **settings) -> None:
        super().__init__(clock, **settings)
        self.rng, self.bill = rng, bill
        self.failing = rng.choice((0.0, 0.1, 0.3))
        self.dearest = rng.random()  # how often an answer is as long as is allowed
        self.size = rng.choice((1, 1, 4))

    @property
    def group_size(self) -> int:
        return self.size

    def most(self, what: str) -> float:
        """Return the most that a request may cost."""
        assert self.settings.price is not None
        tokens = LONGEST_PROMPT, self.size * self.settings.max_tokens
        return {"usd": self.settings.price.usd(*tokens), "tokens": sum(tokens), "requests": 0}[what]

    async def complete(self, request: Request) -> Completion:
        return (await self.complete_group([request]))[0]

    async def complete_group(self, requests) -> list[Completion]:
        rng, most = self.rng, self.settings.max_tokens
        self.bill.requests += 1
        await asyncio.sleep(rng.expovariate(1.0) + 0.001)
        if rng.random() < self.failing:
            if rng.random() < 0.5:
                raise break_down()
            self.charge(LONGEST_PROMPT, len(requests) * most)
            raise RetryLaterError("malformed", "no JSON")
        read = rng.randint(1, LONGEST_PROMPT)
        answers: list[Completion] = []
        for number, request in enumerate(requests[: rng.randint(1, len(requests))]):
            written = most if rng.random() < self.dearest else rng.randint(1, most)
            self.charge(0 if number else read, written)
            self.bill.answered.append((request.stream, request.draw))
            tokens = {"prompt_tokens": 0 if number else read, "completion_tokens": written}
            answers.append(Completion(f"answer {request.draw}", **tokens))
        return answers

    def charge(self, read: int, written: int) -> None:
        assert self.settings.price is not None
        self.bill.usd += self.settings.price.usd(read, written)
        self.bill.tokens += read + written


def draw_servers(clock: Clock, rng: random.Random, concurrency: int = 512) -> list[Charging]:
    """Return the providers of a schedule: one to three, with a bill in common."""
    bill = Bill()
    servers: list[Charging] = []
    for number in range(rng.choice((1, 1, 2, 3))):
        price = {"prompt": rng.uniform(5, 100), "completion": rng.uniform(25, 300)}
        tokens = rng.choice((20, 50, 100))
        servers.append(
            Charging(
                clock,
                bill,
                rng,
                model=f"m{number}",
                price=price,
                max_tokens=tokens,
                concurrency=concurrency,
                max_attempts=1000,
            )
        )
    return servers


def open_llm(servers: list[Charging], limits: Limits, store: Store | None = None) -> LLM:
    phases = {"seed": servers} if len(servers) > 1 else {}
    return LLM(servers[0], limits=limits, phases=phases, store=store, run="r")


def ask(n: int) -> list[Request]:
    return [Request(PROMPT, "s", {"kind": "seed"}) for _ in range(n)]


@pytest.mark.parametrize(
    ("what", "cap", "schedules"), [("usd", 1.0, 200), ("tokens", 20_000, 20), ("requests", 333, 20)]
)
@pytest.mark.parametrize("block", range(10))
def test_a_cap_is_never_crossed_and_nearly_used_up(clock, what, cap, schedules, block):
    for schedule in range(block, schedules, 10):
        servers = draw_servers(clock, random.Random(schedule))
        llm = open_llm(servers, Limits(**{what: cap}))
        with pytest.raises(LimitReachedError, match=rf"limits\.{what}"):
            llm.generate(ask(3000), phase="seed")
        llm.close()
        left = cap - getattr(servers[0].bill, what)
        assert -1e-9 <= left <= max(each.most(what) for each in servers), schedule


def test_nothing_is_sent_after_the_minutes_are_over(clock):
    server = Server(clock, latency=7.0, concurrency=16)
    llm = LLM(server, limits=Limits(minutes=2))
    began = clock.now
    with pytest.raises(LimitReachedError, match=r"limits\.minutes"):
        llm.generate(ask(3000), phase="seed")
    llm.close()
    assert 120 - 7 <= max(server.sent) - began < 120


@pytest.mark.parametrize("schedule", range(12))
def test_invocations_share_a_cap_and_a_higher_one_goes_on(clock, tmp_path, schedule):
    """The same command again and again: what was answered is not asked for again."""
    servers = draw_servers(clock, random.Random(schedule), concurrency=128)
    bill, n = servers[0].bill, 600
    for usd in (0.3, 0.3, 1.0, 1000.0):
        store = Store(tmp_path / "requests.sqlite")
        clock.is_busy = lambda store=store: store._is_writing
        for each in servers:
            each.bill = bill
        llm = open_llm(servers, Limits(usd=usd), store)
        try:
            answers = llm.generate(ask(n), phase="seed")
            assert all(isinstance(each, Completion) for each in answers)
        except LimitReachedError:
            assert usd - bill.usd <= max(each.most("usd") for each in servers)
            assert usd < 1000
        finally:
            llm.close()
        assert bill.usd <= usd + 1e-9
    assert sorted(bill.answered) == [("s", draw) for draw in range(n)]


class Together:
    """Processes that spend of one cap: each has the store open by itself, and comes and goes."""

    def __init__(self, path, schedule: int) -> None:
        self.path, self.rng = path, random.Random(schedule)
        self.caps = self.rng.choice(
            ({"usd": 1.0}, {"tokens": 20_000}, {"requests": 150}, {"usd": 1.0, "tokens": 15_000})
        )
        self.most = [
            Most(usd=self.rng.uniform(0.001, 0.02), tokens=self.rng.randint(50, 400))
            for _ in range(3)
        ]
        self.bill = Spent()

    async def run(self) -> None:
        await asyncio.gather(*(self._process(number) for number in range(3)))

    async def _process(self, number: int) -> None:
        rng, most = self.rng, self.most[number]
        await asyncio.sleep(rng.choice((0.0, 0.0, 0.02, 0.05)))
        store = Store(self.path)
        budget = Budget(Limits(**self.caps), time.monotonic, store.ask, "r")

        async def work() -> None:
            while True:
                await budget.enter(most)
                await asyncio.sleep(rng.expovariate(500))
                part = rng.choice((0.0, rng.random(), 1.0))
                spent = Spent(1, part * most.usd, int(part * most.tokens))
                self.bill = Spent.sum((self.bill, spent))
                budget.settle(most, spent)
                store.put((), "r", spent, lambda _: None)

        jobs = [asyncio.ensure_future(work()) for _ in range(rng.choice((1, 8, 64)))]
        ended = await asyncio.gather(*jobs, return_exceptions=True)
        assert {type(each) for each in ended} == {LimitReachedError}
        await store.release()
        store.close()


@pytest.mark.parametrize("schedule", range(30))
def test_processes_cross_no_cap_together_and_nearly_use_it_up(tmp_path, monkeypatch, schedule):
    monkeypatch.setattr("stepsynth.llm.engine.limits.POLL_S", 0.005)
    together = Together(tmp_path / "s.sqlite", schedule)
    asyncio.run(together.run())
    bill, caps, most = together.bill, together.caps, together.most
    left = {
        "usd": (caps.get("usd", inf) - bill.usd, max(each.usd for each in most)),
        "tokens": (caps.get("tokens", inf) - bill.tokens, max(each.tokens for each in most)),
        "requests": (caps.get("requests", inf) - bill.requests, 0),
    }
    assert all(room >= -1e-9 for room, _ in left.values())
    assert any(room <= largest for room, largest in left.values())


class Slow(FakeBackend):
    """An LLM that takes some milliseconds, and charges to a bill that several share."""

    def __init__(self, bill: list[float], rng: random.Random, **settings) -> None:
        price = {"prompt": 0, "completion": 1000}
        super().__init__(str, price=price, max_tokens=10, **settings)
        self.bill, self.rng = bill, rng

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(self.rng.expovariate(300))
        written = self.rng.randint(1, 10)
        self.bill.append(written / 1000)
        return Completion(f"answer {request.draw}", prompt_tokens=1, completion_tokens=written)


@pytest.mark.parametrize("usd", [0.2, 0.7, 1.1, 1.15, 1.2, 9.0])  # all of it costs some 1.1
@pytest.mark.parametrize("schedule", range(3))
def test_two_runs_that_share_a_store_and_a_cap(tmp_path, monkeypatch, usd, schedule):
    """They wait for each other's answers and for each other's budget, and neither for ever."""
    monkeypatch.setattr("stepsynth.llm.engine.feed.POLL_S", 0.01)
    monkeypatch.setattr("stepsynth.llm.engine.limits.POLL_S", 0.01)
    bill: list[float] = []

    def run(number: int) -> int:
        rng = random.Random(10 * schedule + number)
        backend = Slow(bill, rng, concurrency=rng.choice((4, 32, 100)))
        store = Store(tmp_path / "s.sqlite")
        llm = LLM(backend, limits=Limits(usd=usd), store=store, run="r")
        try:
            return len(llm.generate(ask(200), phase="seed"))
        except LimitReachedError:
            return 0
        finally:
            llm.close()

    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(run, range(2)))
    assert sum(bill) <= usd + 1e-9
    if 0 in rows:
        assert usd - sum(bill) <= 10 / 1000 + 1e-9
    else:
        assert len(bill) == 200  # none of them was sent twice
    assert (0 in rows) == (usd < 1) or 1 < usd < 2
