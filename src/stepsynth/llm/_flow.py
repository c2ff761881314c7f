"""The requests of one phase on their way to the LLM, and their answers in order again."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from stepsynth.errors import StepsynthError
from stepsynth.llm._teacher import Teacher
from stepsynth.llm._types import Completion, Failed, Request
from stepsynth.llm.usage import Status, Usage

Answer = Completion | Failed
CHUNK = 256
"""Answers that are handed to the caller at once: each time another thread has to wake up."""
LOW = 128
"""When fewer jobs wait, more are asked for."""
RATE_OVER_S = 5.0


class Item(NamedTuple):
    """A request of the phase: its place among them, its id, and who answers it.

    `repeat` counts how often its prompt was asked before, where an LLM answers several at once.
    """

    place: int
    id: str
    request: Request
    teacher: Teacher
    repeat: int = 0


Job = list[Item]
"""What is sent at once: one request, or draws of one prompt."""


class Flow:
    """One phase.

    Args:
        phase: What the requests are for.
        total: How many there are; None: not known beforehand.
        window: Requests that may be under way or not yet handed over, so that memory stays flat;
            None: all of them, since their answers are wanted as a list.
        now: Seconds, of a clock that only goes forward.
    """

    def __init__(
        self, phase: str, total: int | None, window: int | None, now: Callable[[], float]
    ) -> None:
        self.phase = phase
        self.total = total
        self.taken = 0
        self.done = 0
        self.unsent: StepsynthError | None = None
        self.stopped = asyncio.Event()
        self.reason: BaseException | None = None
        self.on_stop: Callable[[], None] = lambda: None
        self.batched: list[Item] = []
        self.note = ""
        self._window = window
        self._now = now
        self.attempts: dict[int, float] = {}
        self._ready: deque[Job] = deque()
        self._later = 0
        self._is_fed = False
        self._fed: deque[asyncio.Future[None]] = deque()
        self._hungry = asyncio.Event()
        self._answers: dict[int, Answer] = {}
        self._out: list[Answer] = []
        self._put_out = 0
        self._handed_over = 0
        self._has_ended = False
        self._has_chunk = asyncio.Event()
        self._pace: deque[tuple[float, int]] = deque([(now(), 0)])

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more may be sent."""
        return self.stopped.is_set()

    def stop(self, reason: BaseException | None) -> None:
        """Have the phase end: what is in flight may land, nothing more is sent.

        Args:
            reason: The error to end with, the first one counts; None: Ctrl-C.
        """
        if self.reason is None:
            self.reason = reason
        self.stopped.set()
        self._hungry.set()
        self._wake_workers()
        self.on_stop()

    def add(self, jobs: Iterable[Job]) -> None:
        """Add what can be sent."""
        self._ready.extend(jobs)
        self._wake_workers()

    def retry(self, job: Job, wait_s: float) -> None:
        """Have a job sent again after so many seconds; it keeps nobody waiting meanwhile."""
        self._later += 1
        asyncio.get_running_loop().call_later(wait_s, self._add_again, job)

    def set_aside(self, error: StepsynthError) -> None:
        """Leave a job unsent; what can be done without it goes on, and then the phase fails."""
        self.unsent = self.unsent or error

    def end_feed(self) -> None:
        """Say that no more jobs will come."""
        self._is_fed = True
        self._wake_workers()

    async def next_job(self) -> Job | None:
        """Return what is to be sent next; None: there is nothing more, or it is to stop."""
        while not self._ready and not self.is_stopped:
            if self._is_fed and not self._later:
                return None
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._fed.append(waiting)
            await waiting
        if self.is_stopped:
            return None
        job = self._ready.popleft()
        if len(self._ready) < LOW:
            self._hungry.set()
        return job

    def wants_more(self, block: int) -> bool:
        """Say whether to take more requests from the caller: few wait, and there is room."""
        held = self.taken - self._handed_over
        return len(self._ready) < LOW and (self._window is None or held + block <= self._window)

    async def wait_until_hungry(self, seconds: float | None) -> None:
        """Wait until `wants_more` may have changed, or so many seconds."""
        self._hungry.clear()
        try:
            await asyncio.wait_for(self._hungry.wait(), seconds)
        except TimeoutError:
            return

    def deliver(self, index: int, answer: Answer) -> None:
        """Take the answer to a request."""
        self.done += 1
        self._answers[index] = answer
        while (following := self._answers.pop(self._put_out, None)) is not None:
            self._out.append(following)
            self._put_out += 1
        if len(self._out) >= CHUNK:
            self._has_chunk.set()

    def end(self) -> None:
        """Say that no more answers will come."""
        self._has_ended = True
        self._has_chunk.set()

    async def chunk(self) -> list[Answer]:
        """Return the next answers, in the order of their requests; none: that was all."""
        while len(self._out) < CHUNK and not self._has_ended:
            self._has_chunk.clear()
            await self._has_chunk.wait()
            if self._out:
                break
        return self.take_out()

    def take_out(self) -> list[Answer]:
        """Return the answers that are there, in the order of their requests."""
        out, self._out = self._out, []
        self._handed_over += len(out)
        self._hungry.set()
        return out

    def tick(self) -> None:
        """Do what is due some times a second."""
        if self._out:
            self._has_chunk.set()
        now = self._now()
        self._pace.append((now, self.done))
        while now - self._pace[0][0] > RATE_OVER_S and len(self._pace) > 2:
            self._pace.popleft()

    def begin_rate(self) -> None:
        """Measure the rate from here: what came from the store says nothing of it."""
        if len(self._pace) == 1:
            self._pace[0] = (self._now(), self.done)

    def status(self, in_flight: int, allowed: int, usage: Usage, note: str) -> Status:
        """Return how far the phase is."""
        (since, before), now = self._pace[0], self._now()
        rate = (self.done - before) / (now - since) if now - since > 0.5 else 0.0
        return Status(self.phase, self.done, self.total, in_flight, allowed, rate, usage, note=note)

    def _add_again(self, job: Job) -> None:
        self._later -= 1
        self._ready.appendleft(job)
        self._wake_workers()

    def _wake_workers(self) -> None:
        """Wake as many as there are jobs for; at the end all of them."""
        is_end = self.is_stopped or (self._is_fed and not self._later)
        for _ in range(len(self._fed) if is_end else min(len(self._fed), len(self._ready))):
            waiting = self._fed.popleft()
            if not waiting.done():
                waiting.set_result(None)
