"""The engine: store, limits, retries and order around backends that send one request.

A request is numbered, looked up in the store, claimed, sent when its endpoint's pace and the
budget allow, retried if that may help, and handed back in its place. A completion is on disk
before it is counted. A run that was killed asks again for what was in flight, and for the few
answers (`store.GROUP` at most) that were on their way to the disk.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from time import monotonic
from typing import Any

from stepsynth._util.stopping import result_of
from stepsynth.errors import ProviderError, StepsynthError
from stepsynth.llm.core.backend import Backend, LLMSettings
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Completion, Request
from stepsynth.llm.core.usage import Spent, Status, Usage, cost
from stepsynth.llm.engine.batching import collect_batched
from stepsynth.llm.engine.endpoint import Endpoint, Endpoints
from stepsynth.llm.engine.feed import Supply
from stepsynth.llm.engine.limits import Budget, Limits, check_price
from stepsynth.llm.engine.loop import LoopThread, cancel_others
from stepsynth.llm.engine.numbering import Numbered, Numbering
from stepsynth.llm.engine.queue import WINDOW, Answer, Flow
from stepsynth.llm.engine.send import Sender
from stepsynth.llm.engine.sharding import Sharding, ShardPlan
from stepsynth.llm.store.store import Store

GRACE_S = 10.0
"""Seconds that a stopping run waits for answers in flight: they are paid for."""
TICK_S = 0.1


class LLM:
    """An LLM that remembers what it was asked.

    Phases come one after another. The end of each gives back this process's claims and its lease
    on the caps. Each LLM needs a `Store` object of its own; several of these may share a file.

    Args:
        backend: Sends one request.
        random_seed: Part of every request's identity: another seed draws other completions.
        store: Where completions are kept; None keeps none.
        run: Digest of the run's identity, under which the store keeps what was spent.
        limits: Hard caps.
        phases: Kind of request (the tag `kind`) -> the backends that answer it, in turn.
        shards: How large phases are shared out to other processes; None: they are not.
        has_answered: Whether the LLMs were seen to answer: one that does not is waited for.

    Raises:
        ConfigError: A cap on USD without a known price.
    """

    def __init__(
        self,
        backend: Backend[Any],
        *,
        random_seed: int = 0,
        store: Store | None = None,
        run: str = "",
        limits: Limits | None = None,
        phases: Mapping[str, Sequence[Backend[Any]]] | None = None,
        shards: ShardPlan | None = None,
        has_answered: bool = False,
    ) -> None:
        self.backend = backend
        self.settings = backend.settings
        self.random_seed = random_seed
        self.on_progress: Callable[[Status], None] = lambda _status: None
        self.on_notice: Callable[[str], None] = lambda _message: None
        self._endpoints = Endpoints(
            self._endpoint(backend),
            {
                kind: [self._endpoint(b) for b in several]
                for kind, several in (phases or {}).items()
            },
        )
        for endpoint in self._endpoints.all:
            endpoint.has_answered = has_answered
        is_paid = any(t.is_stored for t in self._endpoints.all)
        self._store = store if is_paid else None
        is_priced = all(t.price or not t.is_stored for t in self._endpoints.all)
        check_price(limits or Limits(), is_known=is_priced)
        self.usage = Usage(usd=0.0 if any(t.price for t in self._endpoints.all) else None)
        ask = self._store.ask if self._store else None
        budget = self._budget = Budget(limits or Limits(), _now, ask, run)
        self._numbering = Numbering(self._endpoints)
        self._supply = Supply(self._endpoints, self._store, budget)
        self._sender = Sender(budget, self.usage, self._store, run)
        self._sharding: Sharding | None = None
        if shards is not None and self._store is not None:
            parts = self._endpoints, self._sender, self._store
            self._sharding = Sharding(shards, *parts, lambda text: self.on_notice(text))
        self._thread: LoopThread | None = None
        self._damaged = 0

    def stream(
        self, requests: Iterable[Request], *, phase: str, total: int | None = None
    ) -> Iterator[Answer]:
        """Yield the answer to each request, in their order, in bounded memory.

        Args:
            requests: Taken as they are needed, in the engine's thread. The n-th request of a
                stream is draw n of it, over the whole life of this object.
            phase: Name in the progress display.
            total: Number of requests, if known.

        Raises:
            LimitReachedError: A cap would have been crossed.
            ProviderError: The LLM cannot be used.
            RunFolderError: The store cannot be written.
            KeyboardInterrupt: Ctrl-C, or the call was cancelled; answers in flight are waited for
                and stored.
        """
        yield from self.stream_numbered(
            map(self._numbering.next, requests), phase=phase, total=total
        )

    def stream_numbered(
        self, requests: Iterator[Numbered], *, phase: str, total: int | None = None
    ) -> Iterator[Answer]:
        """Yield the answers to requests that have their numbers; see `stream`."""
        is_batched = any(endpoint.is_batched for endpoint in self._endpoints.all)
        flow = Flow(phase, total, None if is_batched else WINDOW, _now)
        thread = self._loop_thread()
        ended = thread.submit(self._run(flow, requests))
        try:
            while chunk := self._wait_for(thread.submit(flow.chunk()), flow, ended):
                yield from chunk
            self._wait_for(ended, flow, ended)
        finally:
            self._end(flow, ended)

    def generate(self, requests: Sequence[Request], *, phase: str) -> list[Answer]:
        """Return the answers of `stream` as a list."""
        return list(self.stream(requests, phase=phase, total=len(requests))) if requests else []

    def stored(self, requests: Sequence[Request]) -> list[Completion | None]:
        """Return the answers that the store has; nothing is sent or counted.

        Args:
            requests: n requests without a stream.

        Raises:
            RunFolderError: The store cannot be read.
        """
        if self._store is None:
            return [None] * len(requests)
        places = [self._endpoints.all[self._endpoints.next(each)] for each in requests]
        asked = [(e.request_id(r), e.settings.model) for e, r in zip(places, requests, strict=True)]
        values = self._store.get_many(key for key, _ in asked)
        return [
            Completion(request_id=key, model=model, **values[key]) if key in values else None
            for key, model in asked
        ]

    def ping(self) -> dict[str, float]:
        """Ask every LLM of the run for one token, and return model -> seconds it took.

        Raises:
            ProviderError: One of them cannot be used; raised within its `ping_s` seconds.
        """
        return self._loop_thread().submit(self._ping()).result()

    def close(self) -> None:
        """Close connections and the store. The object cannot be used afterwards."""
        if self._thread is not None:
            self._thread.submit(self._close_backends()).result()
            self._thread.close()
            self._thread = None
        if self._store is not None:
            self._store.close()

    @property
    def has_answered(self) -> bool:
        """Whether any request was answered yet, now or in the store."""
        return self.usage.from_store > 0 or any(t.has_answered for t in self._endpoints.all)

    @property
    def spent(self) -> Spent:
        """What was sent and used up now: answers from the store cost nothing."""
        return self._budget.spent

    def settings_of(self, numbered: Numbered) -> LLMSettings:
        """Return the settings of the LLM that a numbered request is sent to."""
        return self._endpoints.all[numbered.endpoint].settings

    def usd_of(self, request: Request, answer: Completion) -> float | None:
        """Return what an answer to a request without a stream costs; None: not known."""
        price = self._endpoints.all[self._endpoints.next(request)].price
        return None if price is None else cost(price, answer)

    def request_id(self, request: Request) -> str:
        """Return the digest of a request as sent to the main LLM, with its draw."""
        return self._endpoints.main.request_id(request)

    def _endpoint(self, backend: Backend[Any]) -> Endpoint:
        return Endpoint(backend, self.random_seed, _now, lambda text: self.on_notice(text))

    def _loop_thread(self) -> LoopThread:
        if self._thread is None:
            self._thread = LoopThread()
        return self._thread

    def _wait_for(self, future: Future[Any], flow: Flow, ended: Future[None]) -> Any:
        """Return a result; on Ctrl-C let answers in flight land first."""
        try:
            return result_of(future)
        except KeyboardInterrupt:
            self.on_notice(
                f"stopping: waiting up to {GRACE_S:.0f} s for answers that are on their way; "
                "Ctrl-C again drops them"
            )
            self._end(flow, ended)
            raise

    def _end(self, flow: Flow, ended: Future[None]) -> None:
        """Stop a phase that has not ended, and wait until it has."""
        if not ended.done():
            self._loop_thread().loop.call_soon_threadsafe(flow.stop, None)
            with contextlib.suppress(StepsynthError, FutureTimeoutError):
                ended.result(timeout=GRACE_S + 1)

    async def _run(self, flow: Flow, requests: Iterator[Numbered]) -> None:
        flow.on_stop = self._wake_all
        for endpoint in self._endpoints.all:
            endpoint.pace.begin_phase()
            if self._store is not None:
                identity = endpoint.settings.request_identity()
                self._store.remember_settings(endpoint.settings_id, identity)
        jobs = [self._feed(flow, requests), *self._workers(flow)]
        ticking = asyncio.ensure_future(self._tick(flow))
        try:
            await _run_until_stopped(flow, jobs)
            if self._store is not None:
                await self._store.release()
                self._budget.close_part()
                self._tell_of_store(self._store)
        finally:
            ticking.cancel()
            flow.end()
            self._tell(flow)
        if flow.reason is not None:
            raise flow.reason
        if flow.unsent is not None:
            raise flow.unsent

    async def _feed(self, flow: Flow, requests: Iterator[Numbered]) -> None:
        try:
            await self._supply.feed(flow, requests, partial(self._sender.found, flow))
        finally:
            flow.end_feed()
        await collect_batched(flow, self._sender, lambda text: self.on_notice(text))

    def _workers(self, flow: Flow) -> list[Coroutine[Any, Any, None]]:
        """Return what sends the requests: other processes, or a worker for each in flight."""
        if self._sharding is not None and self._sharding.is_worth(flow):
            return [self._sharding.run(flow)]
        places = sum(endpoint.live.concurrency for endpoint in self._endpoints.all)
        return [self._work(flow) for _ in range(min(places, flow.total or places))]

    async def _work(self, flow: Flow) -> None:
        while (job := await flow.next_job()) is not None:
            await self._sender.answer(flow, job)

    def _tell_of_store(self, store: Store) -> None:
        """Give notice of what could not be read from the store."""
        if (damaged := len(store.damaged)) > self._damaged:
            self._damaged = damaged
            self.on_notice(f"{store.path}: {damaged} damaged answers were asked for again")

    def _wake_all(self) -> None:
        """Wake everything that waits, so that it sees the run stop."""
        self._budget.stop()
        if self._sharding is not None:
            self._sharding.stop()
        for endpoint in self._endpoints.all:
            endpoint.pace.stop()

    async def _tick(self, flow: Flow) -> None:
        while True:
            flow.tick(sum(endpoint.pace.in_flight for endpoint in self._endpoints.all))
            self._tell(flow)
            if self._store is not None:
                self._store.beat()
            await asyncio.sleep(TICK_S)

    def _tell(self, flow: Flow) -> None:
        paces = [endpoint.pace for endpoint in self._endpoints.all]
        in_flight, allowed = sum(p.in_flight for p in paces), sum(int(p.allowed) for p in paces)
        if self._sharding is not None:
            in_flight += min(self._sharding.out, allowed)
        note = next(filter(None, (endpoint.note for endpoint in self._endpoints.all)), flow.note)
        usual_s = max(pace.usual_s for pace in paces)
        self.on_progress(flow.status(in_flight, allowed, self.usage, note, usual_s))

    async def _ping(self) -> dict[str, float]:
        took: dict[str, float] = {}
        for endpoint in self._endpoints.all:
            began = _now()
            try:
                async with asyncio.timeout(endpoint.backend.ping_s):
                    await endpoint.backend.ping()
            except TimeoutError as error:
                raise ProviderError(
                    f"{endpoint.settings.model} took a request and gave no answer in "
                    f"{endpoint.backend.ping_s:g} s",
                    hint="a local server may be loading the model, or be busy: check again in a "
                    f"minute (a run waits for llm.timeout_s, {endpoint.live.timeout_s:g} s); "
                    "else, is llm.base_url right?",
                ) from error
            except (RetryLaterError, GiveUpError) as error:
                raise ProviderError(error.message, hint=_ping_hint(error, endpoint)) from error
            took[endpoint.settings.model] = _now() - began
        return took

    async def _close_backends(self) -> None:
        await cancel_others()
        for endpoint in self._endpoints.all:
            await endpoint.backend.close()


def _ping_hint(error: RetryLaterError | GiveUpError, endpoint: Endpoint) -> str:
    """Return what to do about a ping that failed."""
    if isinstance(error, RetryLaterError):
        if error.is_unreachable:
            return "is the server running, and is llm.base_url right (http or https, port)?"
        if error.is_unavailable:
            return (
                "the server may be loading the model: check again in a minute (a run waits for "
                f"llm.patience_s, {endpoint.live.patience_s:g} s)"
            )
        if error.reason == "timeout":
            return "raise llm.timeout_s: not even a ping fits into it"
    return "check llm.model and the rest of the `llm` section"


async def _run_until_stopped(flow: Flow, jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run jobs; once the phase is to stop, let those in flight land: they are paid for.

    After Ctrl-C they get `GRACE_S` seconds; after a limit or an error, as long as they take, which
    the time-out of a request bounds.
    """
    running = {asyncio.ensure_future(job) for job in jobs}
    all_ended = asyncio.Event()

    def end(task: asyncio.Task[None]) -> None:
        running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            flow.stop(error)
        if not running:
            all_ended.set()

    for task in list(running):
        task.add_done_callback(end)
    waiting: list[asyncio.Task[Any]] = [
        asyncio.ensure_future(event.wait()) for event in (all_ended, flow.stopped)
    ]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    waiting[1].cancel()
    await asyncio.wait(waiting, timeout=GRACE_S if flow.reason is None else None)
    left: list[asyncio.Task[Any]] = [*running, *waiting]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _now() -> float:
    """Return the monotonic time in seconds; looked up anew, so that tests can set it."""
    return monotonic()
