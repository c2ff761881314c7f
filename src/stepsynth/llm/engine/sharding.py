"""A phase of requests over several processes or machines: blocks go out, their stores come back.

Each block is one task of an executor: an engine of its own, with its part of the rates and a loan
on the caps, answers it into a store of its own. However the task ends, its store is taken into the
run's, and what has no answer there goes out again. So nothing is paid twice but what was in flight
when a process died, and the run's store is what one process would have written.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from stepsynth.errors import ConfigError, LimitReachedError, StepsynthError
from stepsynth.llm.core.backend import LLMSettings
from stepsynth.llm.core.types import Failed
from stepsynth.llm.engine.endpoint import Endpoints
from stepsynth.llm.engine.feed import BLOCK
from stepsynth.llm.engine.limits import Limits, Most
from stepsynth.llm.engine.numbering import Numbered
from stepsynth.llm.engine.queue import WINDOW, Flow, Item
from stepsynth.llm.engine.send import Sender
from stepsynth.llm.store.absorb import SUFFIX, absorb, absorb_all
from stepsynth.llm.store.store import Store

DEATHS = 3
"""Processes that may die over one block of requests; then its shard is given up."""
_MEMORY = "is there too little memory?"
SPARE, SPARE_SHARE = 8, 0.25
"""Attempts beside the first ones that a loan is for: at least, and for each request."""


class Workers(Protocol):
    """An executor's pool, as `concurrent.futures.Executor`; a `BrokenExecutor` is a death."""

    @property
    def can_start(self) -> bool:
        """Whether any process has ever been ready."""
        ...

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a process call a function."""
        ...

    def stop(self) -> None:
        """Stop all calls as Ctrl-C would."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop, and wait until the processes have ended."""


@dataclass(frozen=True)
class ShardOrder:
    """What a shard is told: which requests, how they are asked, and which store is its own."""

    settings: LLMSettings
    random_seed: int
    run: str
    store: Path
    limits: Limits
    phase: str
    requests: Sequence[Numbered]
    has_answered: bool


@dataclass
class ShardReport:
    """What a shard tells beside its store.

    Attributes:
        failed: Requests that were given up.
        digests: Sum of the digests of all its answers; None: it did not come to its end.
        error: Why it ended early, if by an error.
        is_stopped: It was told to stop.
    """

    failed: list[Failed] = field(default_factory=list)
    digests: int | None = None
    notices: list[str] = field(default_factory=list)
    retries: int = 0
    setbacks: Counter[str] = field(default_factory=Counter)
    error: StepsynthError | None = None
    is_stopped: bool = False


@dataclass(frozen=True)
class ShardPlan:
    """How phases are shared out.

    Attributes:
        settings: Of the LLM of the run.
        number: Shards.
        folder: Holds their stores, on a disk that all of them see.
        open_workers: Returns an open pool.
        answer: Answers an order; called in a process of the pool.
    """

    settings: LLMSettings
    number: int
    folder: Path
    open_workers: Callable[[], Workers]
    answer: Callable[[ShardOrder], ShardReport]


class _GivenUpError(Exception):
    def __init__(self, error: StepsynthError) -> None:
        self.error = error


@dataclass
class Sharding:
    """The coordinator of the shards of an `LLM`, whose parts these are.

    Attributes:
        out: Requests that shards have now.
    """

    plan: ShardPlan
    endpoints: Endpoints
    sender: Sender
    store: Store
    on_notice: Callable[[str], None]
    out: int = 0

    def __post_init__(self) -> None:
        places = min(each.live.concurrency for each in self.endpoints.all)
        self.number = min(self.plan.number, places)
        self._settings = self.plan.settings.share(self.number)
        self._workers: Workers | None = None
        self._has_room = asyncio.Event()
        self._reserving = asyncio.Lock()
        self._told: set[str] = set()

    def is_worth(self, flow: Flow) -> bool:
        """Return whether a phase is large enough to be shared out."""
        return self.number > 1 and (flow.total is None or flow.total > BLOCK)

    async def run(self, flow: Flow) -> None:
        """Have the requests of a phase answered.

        Raises:
            ConfigError: No pool can be opened.
        """
        size = self._block_size(flow.total)
        flow.low = self.number * size
        workers = self._workers = await asyncio.to_thread(self.plan.open_workers)
        try:
            shards = range(1, self.number + 1)
            left = [self._work(flow, shard, size) for shard in shards]
            given_up = [error for error in await asyncio.gather(*left) if error is not None]
            if len(given_up) == self.number:
                flow.stop(given_up[0])
        finally:
            self._workers = None
            await asyncio.to_thread(workers.shutdown)
            await asyncio.to_thread(self._absorb_left)

    def stop(self) -> None:
        """Have the shards stop; what is in flight there may land."""
        if self._workers is not None:
            self._workers.stop()
        self._has_room.set()

    def _block_size(self, total: int | None) -> int:
        """Return the number of jobs of a block, so that all that is under way is bounded."""
        most = WINDOW // (2 * self.number)
        if total is not None:
            most = min(most, total // self.number)
        group = max(endpoint.backend.group_size for endpoint in self.endpoints.all)
        # In whole blocks of the feed: draws that are asked for together stay together.
        return max(1, max(1, most // BLOCK) * BLOCK // group)

    async def _work(self, flow: Flow, shard: int, size: int) -> StepsynthError | None:
        """Have blocks answered by a shard until there are none; return why it was given up."""
        try:
            while jobs := await flow.next_jobs(size):
                block = {item.id: item for job in jobs for item in job}
                try:
                    await self._answer(flow, shard, block)
                except _GivenUpError as lost:
                    flow.set_aside([*block.values()], lost.error)
                    self.on_notice(lost.error.message)
                    return lost.error
        except Exception as error:
            flow.stop(error)
        return None

    async def _answer(self, flow: Flow, shard: int, block: dict[str, Item]) -> None:
        """Send a block out until all of it is answered, and take the answers from it.

        Raises:
            LimitReachedError: A cap would have been crossed.
            StepsynthError: The LLM or the run's store cannot be used.
            _GivenUpError: The shard has died too often.
        """
        deaths, spare = 0, max(SPARE, int(SPARE_SHARE * len(block)))
        while block and not flow.is_stopped:
            items = [*block.values()]
            mosts = self._mosts(items, spare)
            # A loan for the first ones may do for all: they cost less than the most they can.
            lent = mosts[: await self._reserve(mosts)]
            if not lent:
                return
            end = await self._send(flow, shard, items, lent)
            is_further = self._deliver(flow, block, items, end.report)
            if end.error is not None:
                raise end.error
            if end.is_short:
                # The loan did not last, and nothing came of it: retries need more.
                spare = spare if is_further else 2 * spare
            elif block and not flow.is_stopped:
                deaths += end.deaths
                self._go_on(shard, deaths, end.trouble)

    def _mosts(self, items: Sequence[Item], spare: int) -> list[Most]:
        """Return the most that each request can cost, and as much for each retry to spare."""
        if not self.sender.budget.is_capped:
            return [Most()] * len(items)
        mosts = [item.endpoint.most([item.request]) for item in items]
        dearest = Most(max(m.usd for m in mosts), max(m.tokens for m in mosts))
        return mosts + [dearest] * spare

    async def _reserve(self, mosts: Sequence[Most]) -> int:
        """Reserve what a block can cost; what others have and do not spend is waited for."""
        while True:
            self._has_room.clear()
            # In turn: what is leased for one must not be taken for another one's.
            async with self._reserving:
                try:
                    return await self.sender.budget.reserve(mosts)
                except LimitReachedError as error:
                    if error.cap == "limits.minutes" or not self.out:
                        raise
            await self._has_room.wait()

    async def _send(
        self, flow: Flow, shard: int, items: Sequence[Item], lent: Sequence[Most]
    ) -> "_End":
        """Have a shard answer requests, take its store into the run's, and return how it ended."""
        path = self.plan.folder / f"{shard}-{uuid.uuid4().hex[:12]}{SUFFIX}"
        order = ShardOrder(
            self._settings,
            self.endpoints.main.random_seed,
            self.sender.run,
            path,
            self.sender.budget.lend(lent),
            flow.phase,
            [self._numbered(item) for item in items],
            has_answered=self.sender.usage.requests > 0 or self.sender.usage.from_store > 0,
        )
        assert self._workers is not None
        report: ShardReport | BrokenExecutor
        self.out += len(items)
        try:
            try:
                sent = self._workers.submit(self.plan.answer, order)
                report = await asyncio.wrap_future(sent)
            except BrokenExecutor as error:
                report = error
            digests = report.digests if isinstance(report, ShardReport) else None
            own, run = self.store.path, self.sender.run
            absorbed = await asyncio.to_thread(absorb, path, own, run, digests)
            self.sender.usage.requests += absorbed.spent.requests
            self.sender.budget.settle_lent(lent, absorbed.spent)
        finally:
            self.out -= len(items)
            self._has_room.set()
        return _End.of(report, absorbed.damage)

    def _numbered(self, item: Item) -> Numbered:
        # Tags may be of a kind that no process can be sent.
        request = replace(item.request, tags=dict(item.request.tags))
        return Numbered(request, self.endpoints.all.index(item.endpoint), item.repeat)

    def _deliver(
        self, flow: Flow, block: dict[str, Item], items: Sequence[Item], report: ShardReport | None
    ) -> bool:
        """Take from a block what is answered or given up, and return whether anything is."""
        before = len(block)
        for name, value in self.store.get_many(item.id for item in items).items():
            item = block.pop(name)
            item.endpoint.has_answered = True
            self.sender.take(flow, item, value)
        if report is not None:
            self.sender.usage.retries += report.retries
            self.sender.usage.setbacks.update(report.setbacks)
            for failed in report.failed:
                if (item := block.pop(failed.request_id, None)) is not None:
                    self.sender.usage.failures[failed.reason] += 1
                    flow.deliver(item.place, failed)
            for notice in report.notices:
                self._tell(notice)
        return len(block) < before

    def _tell(self, notice: str) -> None:
        """Pass on a notice once: every block of every shard may say the same."""
        if notice not in self._told:
            self._told.add(notice)
            self.on_notice(notice)

    def _go_on(self, shard: int, deaths: int, trouble: str) -> None:
        """Tell that a shard is started again.

        Raises:
            ConfigError: No process could ever start.
            _GivenUpError: It was started often enough.
        """
        if deaths < DEATHS:
            self.on_notice(f"shard {shard}: {trouble}; what has no answer goes out again")
            return
        if self._workers is not None and not self._workers.can_start:
            raise ConfigError(
                f"no process could start to work on shard {shard}, in {deaths} attempts",
                hint=f'{_MEMORY} In a script, call run() under `if __name__ == "__main__":`',
            )
        error = ConfigError(
            f"shard {shard} was given up after {deaths} attempts at one block: {trouble}",
            hint=f"{_MEMORY} the answers of the others are kept, and the same command goes on",
        )
        raise _GivenUpError(error)

    def _absorb_left(self) -> None:
        """Take in the stores of shards that were cancelled."""
        for notice in absorb_all(self.plan.folder, self.store.path, self.sender.run):
            self.on_notice(notice)


@dataclass(frozen=True)
class _End:
    """How an attempt of a shard ended.

    Attributes:
        report: What it told; None if it died.
        error: Stops the run.
        is_short: Its loan did not last.
        trouble: Why there are requests without an answer, if it is none of these.
        deaths: Processes that have died of it.
    """

    report: ShardReport | None
    error: StepsynthError | None = None
    is_short: bool = False
    trouble: str = ""
    deaths: int = 1

    @classmethod
    def of(cls, report: ShardReport | BrokenExecutor, damage: str) -> "_End":
        if isinstance(report, BrokenExecutor):
            return cls(None, trouble="its process died", deaths=getattr(report, "deaths", 1))
        if damage:
            return cls(report, trouble=damage)
        if isinstance(report.error, LimitReachedError) and report.error.cap != "limits.minutes":
            return cls(report, is_short=True)
        if report.error is not None:
            return cls(report, report.error)
        why = "it was told to stop" if report.is_stopped else "its store lacks answers"
        return cls(report, trouble=why)
