"""Batch requests within the engine: hooks from the batch driver to store, budget and flow."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from stepsynth.errors import ConfigError
from stepsynth.llm.batches.driver import collect
from stepsynth.llm.core.batch_api import BatchHooks, Outcome
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Request
from stepsynth.llm.engine.endpoint import Endpoint
from stepsynth.llm.engine.limits import Most
from stepsynth.llm.engine.queue import Flow, Item
from stepsynth.llm.engine.send import Sender
from stepsynth.llm.store.store import Store


async def collect_batched(flow: Flow, sender: Sender, on_notice: Callable[[str], None]) -> None:
    """Send what waits for a batch, and return when all of it is answered, or on Ctrl-C.

    Raises:
        StepsynthError: See `batches.driver.collect`.
    """
    by_endpoint: dict[int, list[Item]] = defaultdict(list)
    for item in flow.batched:
        by_endpoint[id(item.endpoint)].append(item)
    # At the same time for all providers: each may take a day.
    ends = await asyncio.gather(
        *(_collect(flow, items, sender, on_notice) for items in by_endpoint.values()),
        return_exceptions=True,
    )
    for error in ends:
        if error is not None:
            raise error


async def _collect(
    flow: Flow, items: Sequence[Item], sender: Sender, on_notice: Callable[[str], None]
) -> None:
    endpoint = items[0].endpoint
    api = endpoint.backend.batch_api()
    if api is None or sender.store is None:
        raise ConfigError("llm.batch needs a store: batches are collected long after")
    out = _Shipment(sender, sender.store, flow, endpoint, {item.id: item for item in items})
    hooks = BatchHooks(
        deliver=out.deliver,
        is_stopped=lambda: flow.is_stopped,
        on_state=out.note,
        on_notice=on_notice,
        before_submit=out.reserve,
        on_returned=out.free,
        find_stored=out.find_stored,
        on_resumed=out.hold,
    )
    jobs = [(item.id, item.request) for item in items]
    ledger, attempts = sender.store.batch_ledger(), endpoint.live.max_attempts
    await collect(api, jobs, ledger, hooks, max_attempts=attempts)
    flow.note = ""


@dataclass
class _Shipment:
    """The requests of one phase that go to one LLM in batches; `held` are their reservations."""

    sender: Sender
    store: Store
    flow: Flow
    endpoint: Endpoint
    items: dict[str, Item]
    held: dict[tuple[str, int], Most] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Show what is waited for."""
        self.flow.note = text

    async def reserve(self, requests: Sequence[Request]) -> int:
        """Reserve what requests may cost, and return how many of them the caps allow."""
        mosts = [self.endpoint.most([request]) for request in requests]
        allowed = await self.sender.budget.reserve(mosts)
        self.sender.usage.requests += allowed
        for request, most in zip(requests[:allowed], mosts, strict=False):
            self.held[request.stream, request.draw] = most
        return allowed

    def hold(self, requests: Sequence[Request]) -> None:
        """Reserve what requests that an earlier run sent may cost."""
        for request in requests:
            most = self.endpoint.most([request])
            self.sender.budget.hold(most)
            self.held[request.stream, request.draw] = most

    def free(self, requests: Sequence[Request]) -> None:
        """Release the reservations of requests that were not answered."""
        for request in requests:
            if (most := self.held.pop((request.stream, request.draw), None)) is not None:
                self.sender.fail(self.flow, most)

    def find_stored(self, ids: Sequence[str]) -> Collection[str]:
        """Return which requests another process has had answered, and hand their answers over."""
        found = self.store.get_many(ids)
        for request_id, value in found.items():
            if (item := self.items.pop(request_id, None)) is not None:
                self.sender.found(self.flow, item, value)
        return found

    async def deliver(self, request_id: str, outcome: Outcome) -> None:
        """Store the outcome of a request; it is on disk when this returns."""
        item = self.items[request_id]
        most = self.held.pop((item.request.stream, item.request.draw), None)
        if isinstance(outcome, (RetryLaterError, GiveUpError)):
            if most is not None:  # else it was given up before it was sent
                self.sender.fail(self.flow, most)
            self.sender.give_up(self.flow, [item], outcome)
        else:
            if most is None:
                most = Most()
                self.sender.budget.hold(most)
            await self.sender.keep(self.flow, [item], [outcome], most)
        await self.store.drain()
