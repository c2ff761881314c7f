"""Batches within the engine: what the driver of batch APIs asks of the store and the budget."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from stepsynth.errors import ConfigError
from stepsynth.llm.batches.driver import collect
from stepsynth.llm.core.batch_api import BatchHooks, Outcome
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Completion, Request
from stepsynth.llm.core.usage import Spent, Usage
from stepsynth.llm.engine.limits import Budget, Most
from stepsynth.llm.engine.queue import Flow, Item
from stepsynth.llm.engine.send import Sender
from stepsynth.llm.store.store import Store


@dataclass
class Batching:
    """Has the requests of a phase answered by batches, where their LLM is set to it.

    Attributes:
        budget: What may still be spent: the most that a batch can cost is held back for it.
        sender: Keeps and hands over what comes back.
        usage: Counts what is sent, and what another process has had answered.
        store: Remembers what is out.
        on_notice: Told in a sentence what the user should know.
    """

    budget: Budget
    sender: Sender
    usage: Usage
    store: Store | None
    on_notice: Callable[[str], None]

    async def collect(self, flow: Flow) -> None:
        """Send what waits for a batch, and return when all of it is answered, or on Ctrl-C.

        Raises:
            StepsynthError: See `_batch_driver.collect`.
        """
        by_endpoint: dict[int, list[Item]] = defaultdict(list)
        for item in flow.batched:
            by_endpoint[id(item.endpoint)].append(item)
        # Batches of several providers are out at the same time: each may take a day.
        ends = await asyncio.gather(
            *(self._collect(flow, items) for items in by_endpoint.values()), return_exceptions=True
        )
        for error in ends:
            if error is not None:
                raise error

    async def _collect(self, flow: Flow, items: Sequence[Item]) -> None:
        endpoint = items[0].endpoint
        api = endpoint.backend.batch_api()
        if api is None or self.store is None:
            raise ConfigError("llm.batch needs a store: batches are collected long after")
        out = _Shipment(self, self.store, flow, {item.id: item for item in items})
        hooks = BatchHooks(
            deliver=out.deliver,
            is_stopped=lambda: flow.is_stopped,
            on_state=out.note,
            on_notice=self.on_notice,
            before_submit=out.reserve,
            on_returned=out.free,
            find_stored=out.find_stored,
            on_resumed=out.hold,
        )
        jobs = [(item.id, item.request) for item in items]
        attempts = endpoint.live.max_attempts
        await collect(api, jobs, self.store.batch_ledger(), hooks, max_attempts=attempts)
        flow.note = ""


@dataclass
class _Shipment:
    """The requests of one phase that go to one LLM in batches; `held` is what they may cost."""

    engine: Batching
    store: Store
    flow: Flow
    items: dict[str, Item]
    held: dict[tuple[str, int], Most] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._endpoint = next(iter(self.items.values())).endpoint

    def note(self, text: str) -> None:
        """Say what is waited for."""
        self.flow.note = text

    async def reserve(self, requests: Sequence[Request]) -> int:
        """Hold back what requests may cost, and return how many of them the caps allow."""
        mosts = [self._endpoint.most([request]) for request in requests]
        allowed = await self.engine.budget.reserve(mosts)
        self.engine.usage.requests += allowed
        for request, most in zip(requests[:allowed], mosts, strict=False):
            self.held[request.stream, request.draw] = most
        return allowed

    def hold(self, requests: Sequence[Request]) -> None:
        """Hold back what requests may cost that were sent by an earlier run."""
        for request in requests:
            most = self._endpoint.most([request])
            self.engine.budget.hold(most)
            self.held[request.stream, request.draw] = most

    def free(self, requests: Sequence[Request]) -> None:
        """Let go of what was held back for requests that were not answered."""
        for request in requests:
            if (most := self.held.pop((request.stream, request.draw), None)) is not None:
                self.engine.sender.fail(self.flow, most, Spent(1))

    def find_stored(self, ids: Sequence[str]) -> Collection[str]:
        """Return which requests were answered by another process meanwhile, and count them."""
        found = self.store.get_many(ids)
        for request_id, value in found.items():
            if (item := self.items.pop(request_id, None)) is not None:
                draw, model = item.request.draw, item.endpoint.settings.model
                answer = Completion(request_id=request_id, draw=draw, model=model, **value)
                self.engine.sender.found(self.flow, item, answer)
        return found

    async def deliver(self, request_id: str, outcome: Outcome) -> None:
        """Keep what came of a request; it is on disk when this returns."""
        item = self.items[request_id]
        most = self.held.pop((item.request.stream, item.request.draw), None)
        if isinstance(outcome, (RetryLaterError, GiveUpError)):
            if most is not None:  # else it was given up before it was sent
                self.engine.sender.fail(self.flow, most, Spent(1))
            self.engine.sender.give_up(self.flow, [item], outcome)
        else:
            if most is None:
                most = Most()
                self.engine.budget.hold(most)
            await self.engine.sender.keep(self.flow, [item], [outcome], most)
        await self.store.drain()
