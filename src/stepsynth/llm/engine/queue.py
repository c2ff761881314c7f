"""The queue of one phase: requests on their way to the LLM, answers put back in order."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stepsynth.errors import StepsynthError
from stepsynth.llm.core.types import Completion, Failed, Request
from stepsynth.llm.core.usage import Status, Usage
from stepsynth.llm.engine.endpoint import Endpoint

Answer = Completion | Failed
CHUNK = 256
"""Answers handed to the caller at once, since each hand-over wakes another thread."""
LOW = 128
"""Number of waiting jobs below which more are asked for."""
WINDOW = 32_768
"""Most requests that `stream` has under way, so that memory does not grow with their number. Far
more than are in flight: one that is retried for minutes must not stop the rest."""
LINGER_S, POLL_S = 2.0, 0.02
"""Seconds that a block of jobs waits to be full, and between two looks at it."""
RATE_OVER_S, RATE_OVER = 5.0, 20
"""Last seconds, or answers where those took longer, that the rate is of. Two waves at least, since
requests that are sent at once are often answered at once."""
FEWEST_FOR_A_RATE = 3
QUIET_S = 10.0
"""Seconds without an answer, and twice the usual latency, after which that is said and no rate is
given."""


class Item(NamedTuple):
    """A request of the phase: its place in the order, its id, and its endpoint.

    `repeat` counts how often its prompt was asked before, where an LLM answers several at once.
    """

    place: int
    id: str
    request: Request
    endpoint: Endpoint
    repeat: int = 0


Job = list[Item]
"""What is sent at once: one request, or draws of one prompt."""


class Flow:
    """The state of one phase.

    Args:
        phase: What the requests are for.
        total: Number of requests; None if not known beforehand.
        window: Most requests under way or not yet handed over, so that memory stays flat; None
            for no bound, where the answers are wanted as a list.
        now: Monotonic clock, in seconds.
    """

    def __init__(
        self, phase: str, total: int | None, window: int | None, now: Callable[[], float]
    ) -> None:
        self.phase = phase
        self.total = total
        self.taken = 0
        self.done = 0
        self.found = 0
        self.unsent: StepsynthError | None = None
        self.stopped = asyncio.Event()
        self.reason: BaseException | None = None
        self.on_stop: Callable[[], None] = lambda: None
        self.batched: list[Item] = []
        self.low = LOW
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
        """End the phase: what is in flight may land, nothing more is sent.

        Args:
            reason: The error to end with, the first counts; None for Ctrl-C.
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
        """Schedule a job to be sent again after so many seconds; no worker waits meanwhile."""
        self._later += 1
        asyncio.get_running_loop().call_later(wait_s, self._add_again, job)

    def set_aside(self, job: Sequence[Item], error: StepsynthError) -> None:
        """Leave a job unsent; the rest of the phase goes on, and then it fails with the error.

        Nobody gets the answers that come after it: they are in the store, and take up no room.
        """
        self.unsent = self.unsent or error
        self._handed_over += len(job) + len(self._answers)
        self._answers.clear()
        self._hungry.set()

    def end_feed(self) -> None:
        """Declare that no more jobs will come."""
        self._is_fed = True
        self._wake_workers()

    async def next_job(self) -> Job | None:
        """Wait for the next job and return it; None if there are no more, or the phase stops."""
        while not self._ready and not self.is_stopped:
            if self._is_fed and not self._later:
                return None
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._fed.append(waiting)
            await waiting
        if self.is_stopped:
            return None
        job = self._ready.popleft()
        if len(self._ready) < self.low:
            self._hungry.set()
        return job

    async def next_jobs(self, most: int) -> list[Job]:
        """Wait for the next jobs and return them: `most`, or fewer if more do not come soon.

        An empty list means that there are no more, or that the phase stops.
        """
        until = self._now() + LINGER_S
        while len(self._ready) < most and not (self._is_fed or self.is_stopped):
            if self._ready and self._now() > until:
                break
            await asyncio.sleep(POLL_S)
        if (first := await self.next_job()) is None:
            return []
        return [first, *(self._ready.popleft() for _ in range(min(most - 1, len(self._ready))))]

    def wants_more(self, block: int) -> bool:
        """Return whether to take more requests from the caller: few wait, and there is room."""
        has_room = self._window is None or self.taken - self._handed_over + block <= self._window
        return len(self._ready) < self.low and has_room

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
        if self.unsent is not None:
            self._handed_over += 1
            self._hungry.set()
            return
        self._answers[index] = answer
        while (following := self._answers.pop(self._put_out, None)) is not None:
            self._out.append(following)
            self._put_out += 1
        if len(self._out) >= CHUNK:
            self._has_chunk.set()

    def end(self) -> None:
        """Declare that no more answers will come."""
        self._has_ended = True
        self._has_chunk.set()

    async def chunk(self) -> list[Answer]:
        """Wait for the next answers and return them, in order; an empty list means the end."""
        while len(self._out) < CHUNK and not self._has_ended:
            self._has_chunk.clear()
            await self._has_chunk.wait()
            if self._out:
                break
        out, self._out = self._out, []
        self._handed_over += len(out)
        self._hungry.set()
        return out

    def tick(self, in_flight: int) -> None:
        """Hand over what is ready and update the rate, several times a second.

        Args:
            in_flight: Requests that wait for their answer.
        """
        if self._out:
            self._has_chunk.set()
        now, answered = self._now(), self.done - self.found
        pace = self._pace
        if answered > pace[-1][1]:
            pace.append((now, answered))
        most = answered - max(RATE_OVER, 2 * in_flight)
        while len(pace) > 2 and now - pace[1][0] > RATE_OVER_S and pace[1][1] <= most:
            pace.popleft()

    def begin_rate(self) -> None:
        """Measure the rate from here: the look into the store is no part of it."""
        if len(self._pace) == 1:
            self._pace[0] = (self._now(), self.done - self.found)

    def status(
        self, in_flight: int, allowed: int, usage: Usage, note: str, usual_s: float
    ) -> Status:
        """Return how far the phase is.

        Args:
            in_flight: Requests that wait for their answer.
            allowed: Limit on requests in flight.
            usage: What was used so far.
            note: What is waited for; "" if nothing is known.
            usual_s: Seconds an answer usually takes.
        """
        (since, before), (last, answered), now = self._pace[0], self._pace[-1], self._now()
        quiet_s = now - last
        # The first answers of a first wave are its fastest, and would promise too much.
        fewest = max(FEWEST_FOR_A_RATE, in_flight / 2 if before == 0 else 0)
        is_known = answered - before >= fewest and now - since > 0.5
        is_quiet = quiet_s > max(QUIET_S, 2 * usual_s)
        if is_quiet and not note and (in_flight or self._later):
            note = f"no answer for {quiet_s:.0f} s"
        rate = (answered - before) / (now - since) if is_known and not is_quiet else 0.0
        return Status(self.phase, self.done, self.total, in_flight, allowed, rate, usage, note=note)

    def _add_again(self, job: Job) -> None:
        self._later -= 1
        self._ready.appendleft(job)
        self._wake_workers()

    def _wake_workers(self) -> None:
        """Wake as many workers as there are jobs; at the end all of them."""
        is_end = self.is_stopped or (self._is_fed and not self._later)
        for _ in range(len(self._fed) if is_end else min(len(self._fed), len(self._ready))):
            waiting = self._fed.popleft()
            if not waiting.done():
                waiting.set_result(None)
