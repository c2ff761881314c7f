"""Time that jumps to the next timer, and LLM servers that live by it.

Whole runs of minutes against overloaded, failing and limited servers take milliseconds, and
every one of them is the same each time.
"""

import asyncio
import random
import selectors
from collections.abc import Callable
from typing import Any

from stepsynth.llm import LLM, Backend, Completion, Request
from stepsynth.llm.core.errors import RetryLaterError
from stepsynth.llm.core.usage import Status
from tests.fakes import FakeSettings

LONGEST_S = 24 * 3600.0
"""Simulated time after which a run that does not end is ended: it hangs."""


class Clock:
    """The time of all loops of a test.

    Attributes:
        now: Seconds.
        is_busy: Whether another thread is at work that takes no simulated time.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_busy: Callable[[], bool] = lambda: False
        self.ends_at = self.now + LONGEST_S

    def time(self) -> float:
        return self.now

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return _Loop(self)


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.on_late: Callable[[], None] = lambda: None

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or (timeout > 0 and self.clock.is_busy()):
            return super().select(None)
        events = super().select(0)
        if not events and timeout > 0:
            self.clock.now += timeout
            if self.clock.now > self.clock.ends_at:
                self.on_late()
        return events


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        selector = _Selector(clock)
        super().__init__(selector)
        self._clock = clock
        selector.on_late = self._end_all

    def time(self) -> float:
        return self._clock.now

    def _end_all(self) -> None:
        for task in asyncio.all_tasks(self):
            task.cancel()


def use_fake_clock(monkeypatch: Any) -> Clock:
    """Have the engine live by a clock that jumps."""
    clock = Clock()
    monkeypatch.setattr("stepsynth.llm.engine.loop.new_loop", clock.new_loop)
    monkeypatch.setattr("stepsynth.llm.engine.llm.monotonic", clock.time)
    monkeypatch.setattr("stepsynth.llm.engine.send.monotonic", clock.time)
    return clock


def refuse(retry_after_s: float | None = None) -> RetryLaterError:
    return RetryLaterError("rate_limit", "too many requests", retry_after_s=retry_after_s)


def break_down() -> RetryLaterError:
    return RetryLaterError("server_error", "500")


class Server(Backend[FakeSettings]):
    """A simulated endpoint, as a backend.

    Args:
        clock: Its time.
        latency: Seconds that an answer takes, by a generator and the request.
        places: Requests that it works on at the same time; more are refused.
        queues: It lets them wait instead.
        fault: The error that an attempt meets at once, if it does: by a generator and the time.
        retry_after_s: What it asks those for that are refused for want of a place.
        seed: Of its generator.
        settings: Of the LLM.
    """

    settings_class = FakeSettings

    def __init__(
        self,
        clock: Clock,
        latency: Callable[[random.Random, Request], float] | float = 0.2,
        *,
        places: int | None = None,
        queues: bool = False,
        fault: Callable[[random.Random, float], Exception | None] = lambda _rng, _now: None,
        retry_after_s: float | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(FakeSettings(**settings), 0)
        self.clock = clock
        self.rng = random.Random(seed)
        self.latency = latency if callable(latency) else lambda _rng, _request: float(latency)
        self.places = places
        self.queue = asyncio.Semaphore(places) if places and queues else None
        self.fault = fault
        self.retry_after_s = retry_after_s
        self.at_work = 0
        self.peak = 0
        self.sent: list[float] = []
        self.answered: list[float] = []
        self.waste_s = 0.01
        """How long it takes to refuse."""

    async def complete(self, request: Request) -> Completion:
        self.sent.append(self.clock.now)
        error = self.fault(self.rng, self.clock.now)
        if error is None and self.places and not self.queue and self.at_work >= self.places:
            error = refuse(self.retry_after_s)
        if error is not None:
            await asyncio.sleep(self.waste_s)
            raise error
        self.at_work += 1
        self.peak = max(self.peak, self.at_work)
        try:
            answer = await self.work(request)
        finally:
            self.at_work -= 1
        self.answered.append(self.clock.now)
        return answer

    async def work(self, request: Request) -> Completion:
        latency = self.latency(self.rng, request)
        if self.queue is None:
            await asyncio.sleep(latency)
        else:
            async with self.queue:
                await asyncio.sleep(latency)
        return Completion(f"answer {request.draw}", prompt_tokens=10, completion_tokens=20)


class Sharing(Server):
    """A server whose answers take the longer, the more than `full_speed` are at work."""

    full_speed = 64

    async def work(self, request: Request) -> Completion:
        left, step = self.latency(self.rng, request), 0.02
        while left > 0:
            await asyncio.sleep(step)
            left -= step * min(1.0, self.full_speed / self.at_work)
        return Completion(f"answer {request.draw}", prompt_tokens=10, completion_tokens=20)


def ask(n: int, prompt: str = "p", stream: str = "s") -> list[Request]:
    return [Request(prompt, stream) for _ in range(n)]


class Run:
    """What came of requests to a server.

    Attributes:
        took_s: Simulated seconds.
        attempts: Requests sent for each that was asked for.
        lost: Requests that were given up.
        allowed: How many might be in flight, ten times a second.
        left: When, and how many seconds it was said to take yet, as often.
        error: What the run ended with, if it did not end well.
    """

    def __init__(
        self,
        server: Server,
        n: int,
        *,
        prompt: str = "p",
        phases: int = 1,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.server = server
        clock = server.clock
        llm = LLM(server)
        self.allowed: list[int] = []
        self.notes: list[str] = []
        self.left: list[tuple[float, float | None]] = []
        self.notices: list[str] = []
        began = clock.now
        self.took_s = 0.0

        def note(status: Status) -> None:
            self.allowed.append(status.allowed)
            self.notes.append(status.note)
            self.took_s = clock.now - began  # the clock goes on when all is done
            self.left.append((self.took_s, status.left_s))

        llm.on_progress = note
        llm.on_notice = self.notices.append
        self.error: Exception | None = None
        self.answers: list[Any] = []
        try:
            for i in range(phases):
                if i:
                    between()
                self.answers += llm.generate(ask(n // phases, prompt, f"s{i}"), phase=f"{i}")
        except Exception as error:
            self.error = error
        self.usage = llm.usage
        self.attempts = len(server.sent) / n
        self.lost = sum(not isinstance(each, Completion) for each in self.answers)
        llm.close()
