"""The supply of requests: looked up in the store, claimed and grouped into jobs."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from stepsynth.llm.engine.endpoint import Endpoints
from stepsynth.llm.engine.limits import Budget
from stepsynth.llm.engine.numbering import Numbered
from stepsynth.llm.engine.queue import Flow, Item, Job
from stepsynth.llm.store.store import Store

BLOCK = 256
"""Requests looked up and claimed at once."""
POLL_S = 0.2
"""Seconds between looks for answers that another process has asked for."""
Found = Callable[[Item, dict[str, Any]], None]
PREFIX = 1024
"""Characters that prompts must share to be sent together; caching a shorter prefix saves little."""


class Supply:
    """A supplier of requests to a flow, as it needs them.

    Args:
        endpoints: The LLMs of the run.
        store: Holds earlier completions and the claims of other processes; None for neither.
        budget: Returns its unused lease while other processes are waited for.
    """

    def __init__(self, endpoints: Endpoints, store: Store | None, budget: Budget) -> None:
        self._endpoints = endpoints
        self._store = store
        self._budget = budget

    async def feed(self, flow: Flow, requests: Iterator[Numbered], found: Found) -> None:
        """Take requests as long as there are any, and hand over what has to be sent.

        `found` is called with each completion that the store has.
        """
        claimed: dict[str, Item] = {}
        is_used_up, polled = False, 0.0
        while not flow.is_stopped:
            if not is_used_up and flow.wants_more(BLOCK):
                block = [self._item(flow, request) for request in islice(requests, BLOCK)]
                is_used_up = len(block) < BLOCK
                claimed |= await self._look_up(flow, block, found)
            elif claimed and time.monotonic() - polled >= POLL_S:
                # Another process has claimed these: wait for its answers, or for its end. It may
                # need the part of the caps that this one has leased and does not use.
                await self._budget.give_back()
                claimed = await self._look_up(flow, list(claimed.values()), found)
                polled = time.monotonic()
            elif is_used_up and not claimed:
                return
            else:
                await flow.wait_until_hungry(POLL_S if claimed else None)

    def _item(self, flow: Flow, numbered: Numbered) -> Item:
        request, place, repeat = numbered
        endpoint = self._endpoints.all[place]
        flow.taken += 1
        return Item(flow.taken - 1, endpoint.request_id(request), request, endpoint, repeat)

    async def _look_up(self, flow: Flow, items: list[Item], found: Found) -> dict[str, Item]:
        """Hand over what this process is to send, and return what another one has claimed."""
        others: set[str] = set()
        free: list[Item] = []
        if self._store is not None:
            # What is never stored is not claimed: only the end of the phase would free it.
            free = [item for item in items if not item.endpoint.is_stored]
            items = [item for item in items if item.endpoint.is_stored] if free else items
            items = self._drop_found(items, self._store.get_many(i.id for i in items), found)
            # The batch ledger claims these instead: a batch outlives this process.
            flow.batched += [item for item in items if item.endpoint.is_batched]
            items = [item for item in items if not item.endpoint.is_batched]
            if items:
                values, others = await self._store.take([item.id for item in items])
                items = self._drop_found(items, values, found)
        flow.begin_rate()
        flow.add(_jobs([*free, *(item for item in items if item.id not in others)]))
        return {item.id: item for item in items if item.id in others}

    @staticmethod
    def _drop_found(
        items: list[Item],
        values: dict[str, dict[str, Any]],
        found: Found,
    ) -> list[Item]:
        if not values:
            return items
        for item in items:
            if (value := values.get(item.id)) is not None:
                found(item, value)
        return [item for item in items if item.id not in values]


def _jobs(items: Iterable[Item]) -> Iterable[Job]:
    """Return the jobs, long prompts with the same prefix one after another.

    Providers and vLLM cache prefixes of prompts. Draws of one prompt are one job where the
    endpoint can answer several at once. The grouping does not depend on what was done before, so
    a run that was killed asks for the same groups again.
    """
    jobs: dict[Any, Job] = {}
    places: dict[Any, int] = {}
    for item in items:
        request, size = item.request, item.endpoint.backend.group_size
        key: Any = item.place
        if size > 1 and not request.turns:
            key = (id(item.endpoint), request.stream, request.prompt, item.repeat // size)
        jobs.setdefault(key, []).append(item)
        places.setdefault(_beginning(item), item.place)
    return sorted(jobs.values(), key=lambda job: places[_beginning(job[0])])


def _beginning(item: Item) -> str | int:
    """Return the prefix that prompts sent together share, or the place of a request sent alone.

    Recordings keep their places: they are handed out in the order of the requests.
    """
    prompt = item.request.prompt
    is_short = len(prompt) < PREFIX or not item.endpoint.is_stored
    return item.place if is_short else prompt[:PREFIX]
