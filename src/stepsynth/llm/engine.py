"""The engine: store, limits, retries and order around a backend that sends one request.

Requests are started in their order and at most `concurrency` are in flight. A completion is in the
store before it is counted, so a run that was killed asks again only for what was in flight.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from typing import Any

from stepsynth._util.hashing import digest
from stepsynth.errors import ProviderError, StepsynthError
from stepsynth.llm._backend import Backend
from stepsynth.llm._errors import GiveUpError, RetryLaterError
from stepsynth.llm._loop import LoopThread, cancel_others
from stepsynth.llm._types import Completion, Failed, Request
from stepsynth.llm.limits import Budget, Limits, cost
from stepsynth.llm.store import Entry, Spent, Store

BACK_OFF_S = 0.5
LONGEST_WAIT_S = 60.0
GRACE_S = 10.0
"""How long a run that stops waits for answers that are on their way: they are paid for."""
FAILURES_IN_A_ROW = 20
"""So many given-up requests with no answer between them mean that the provider is down."""

Progress = Callable[[str, int, int], None]
"""Called with the phase, the requests done and their total, from the engine's thread."""


@dataclass
class Usage:
    """What the LLM was asked for and what that cost.

    `requests` are attempts sent in this invocation, retries included. Tokens and USD are those of
    every completion that the run used, stored ones included: what its data set cost.
    """

    requests: int = 0
    from_store: int = 0
    replayed: int = 0
    retries: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "requests": self.requests,
            "from_store": self.from_store,
            "replayed": self.replayed,
            "failed": self.failures.total(),
            "failures": dict(sorted(self.failures.items())),
            "retries": self.retries,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "usd": None if self.usd is None else round(self.usd, 6),
        }


class LLM:
    """An LLM that remembers what it was asked.

    Args:
        backend: Sends one request.
        random_seed: Part of every request's identity: another seed draws other completions.
        store: Where completions are kept; None keeps none.
        run: Digest of the run's identity, under which the store keeps what was spent.
        limits: Hard caps.
    """

    def __init__(
        self,
        backend: Backend[Any],
        *,
        random_seed: int = 0,
        store: Store | None = None,
        run: str = "",
        limits: Limits | None = None,
    ) -> None:
        self.backend = backend
        self.settings = backend.settings
        self.random_seed = random_seed
        self.usage = Usage(usd=0.0 if self.settings.price else None)
        self.on_progress: Progress = lambda _phase, _done, _total: None
        self.on_notice: Callable[[str], None] = lambda _message: None
        self._store = store if self.settings.stores_completions else None
        self._run = run
        spent = self._store.spent(run) if self._store else Spent()
        self._budget = Budget(limits or Limits(), self.settings, spent)
        self._draws: Counter[str] = Counter()
        self._thread: LoopThread | None = None
        self._stopped: asyncio.Event | None = None
        self._settled = asyncio.Event()
        self._reason: BaseException | None = None
        self._has_answered = False
        self._failed_in_a_row = 0

    def generate(self, requests: Sequence[Request], *, phase: str) -> list[Completion | Failed]:
        """Return the answer to each request, in their order.

        Args:
            requests: They get their draws here: the n-th request of a stream is draw n of it,
                over the whole life of this object.
            phase: What this is for, for the progress display.

        Raises:
            LimitReachedError: A cap would have been crossed.
            ProviderError: The LLM cannot be used.
            KeyboardInterrupt: Ctrl-C; answers on their way are waited for and stored.
        """
        if not requests:
            return []
        if self._thread is None:
            self._thread = LoopThread()
        future = self._thread.submit(self._generate(self._number(requests), phase))
        try:
            return future.result()
        except KeyboardInterrupt:
            self.on_notice(
                f"stopping: waiting up to {GRACE_S:.0f} s for answers that are on their way; "
                "Ctrl-C again drops them"
            )
            self._thread.loop.call_soon_threadsafe(self._stop, None)
            with contextlib.suppress(StepsynthError, FutureTimeoutError):
                future.result(timeout=GRACE_S + 1)
            raise

    def close(self) -> None:
        """Close connections and the store. The object cannot be used afterwards."""
        if self._thread is not None:
            self._thread.submit(self._close_backend()).result()
            self._thread.close()
            self._thread = None
        if self._store is not None:
            self._store.close()

    async def _close_backend(self) -> None:
        await cancel_others()
        await self.backend.close()

    def request_id(self, request: Request) -> str:
        """Return the digest of a request as it is sent, and of its draw."""
        settings = self.settings
        return digest(
            {
                "backend": settings.backend,
                "base_url": getattr(settings, "base_url", None),
                "model": settings.model,
                "prompt": request.prompt,
                "sampling": settings.sampling(),
                "random_seed": self.random_seed,
                "stream": request.stream,
                "draw": request.draw,
            }
        )

    def _number(self, requests: Sequence[Request]) -> list[Request]:
        numbered: list[Request] = []
        for request in requests:
            numbered.append(replace(request, draw=self._draws[request.stream]))
            self._draws[request.stream] += 1
        return numbered

    async def _generate(self, requests: list[Request], phase: str) -> list[Completion | Failed]:
        ids = [self.request_id(request) for request in requests]
        answers = self._from_store(dict(zip(ids, (r.draw for r in requests), strict=True)))
        missing = ((i, ids[i], r) for i, r in enumerate(requests) if ids[i] not in answers)
        results: list[Completion | Failed | None] = [answers.get(i) for i in ids]
        self._stopped = asyncio.Event()
        self._reason = None
        done = len(answers)
        self.on_progress(phase, done, len(requests))

        async def work(jobs: Iterator[tuple[int, str, Request]]) -> None:
            nonlocal done
            for i, request_id, request in jobs:
                results[i] = await self._answer(request, request_id)
                if self._is_stopped():
                    return
                done += 1
                self.on_progress(phase, done, len(requests))

        workers = min(self.settings.concurrency, len(requests) - len(answers))
        await self._run_until_stopped([work(missing) for _ in range(workers)])
        if self._reason is not None:
            raise self._reason
        return [r if r is not None else Failed("stopped", "the run was stopped") for r in results]

    async def _run_until_stopped(self, jobs: list[Any]) -> None:
        """Run jobs; once the run is to stop, let those in flight land: they are paid for.

        After Ctrl-C they get `GRACE_S` seconds; after a limit or an error, as long as they take,
        which the time-out of a request bounds.
        """
        assert self._stopped is not None
        tasks = {asyncio.ensure_future(job) for job in jobs}
        stop = asyncio.ensure_future(self._stopped.wait())
        running = set(tasks)
        while running and not stop.done():
            finished, _ = await asyncio.wait({*running, stop}, return_when=asyncio.FIRST_COMPLETED)
            running -= finished
            self._stop_on_error(finished - {stop})
        grace = GRACE_S if self._reason is None else None
        finished, late = await asyncio.wait(running, timeout=grace) if running else (set(), set())
        self._stop_on_error(finished)
        for task in {*late, stop}:
            task.cancel()
        await asyncio.gather(*late, stop, return_exceptions=True)

    def _stop_on_error(self, tasks: Iterable[asyncio.Future[Any]]) -> None:
        for task in tasks:
            if (error := task.exception()) is not None:
                self._stop(error)

    def _stop(self, reason: BaseException | None) -> None:
        if self._reason is None:
            self._reason = reason
        if self._stopped is not None:
            self._stopped.set()
        self._settled.set()

    def _is_stopped(self) -> bool:
        return self._stopped is not None and self._stopped.is_set()

    def _from_store(self, draws: Mapping[str, int]) -> dict[str, Completion]:
        """Return the stored completions of requests, given as id -> draw."""
        if self._store is None:
            return {}
        found = {
            request_id: Completion(request_id=request_id, draw=draws[request_id], **value)
            for request_id, value in self._store.get_many(draws).items()
        }
        self.usage.from_store += len(found)
        for completion in found.values():
            self._count(completion)
        return found

    async def _answer(self, request: Request, request_id: str) -> Completion | Failed:
        """Return the answer to one request: as many attempts as are allowed."""
        error: RetryLaterError | None = None
        for attempt in range(self.settings.max_attempts):
            if error is not None:
                self.usage.retries += 1
                await self._wait(attempt, error.retry_after_s)
            if self._is_stopped():
                return Failed("stopped", "the run was stopped", request_id, request.draw)
            try:
                return await self._attempt(request, request_id)
            except RetryLaterError as caught:
                error = caught
                if error.is_unreachable and not self._has_answered and attempt >= 1:
                    break
            except GiveUpError as caught:
                return self._give_up(caught.reason, caught.message, request_id, request.draw)
        assert error is not None
        if error.is_unreachable:
            raise ProviderError(
                error.message,
                hint="is the server running, and is llm.base_url right? "
                "the same command goes on where this stopped",
            )
        return self._give_up(error.reason, error.message, request_id, request.draw)

    async def _attempt(self, request: Request, request_id: str) -> Completion | Failed:
        if not self.settings.stores_completions:
            completion = await self.backend.complete(request)
            completion = replace(completion, request_id=request_id, draw=request.draw)
            self.usage.replayed += 1
            self._count(completion)
            return completion
        while self._budget.must_wait(request) and not self._is_stopped():
            self._settled.clear()
            await self._settled.wait()
        if self._is_stopped():
            return Failed("stopped", "the run was stopped", request_id, request.draw)
        reserved = self._budget.reserve(request)
        self.usage.requests += 1
        try:
            completion = await self.backend.complete(request)
            completion = replace(completion, request_id=request_id, draw=request.draw)
        except BaseException:
            spent = self._budget.settle(reserved, None)
            self._settled.set()
            await self._keep(spent, None)
            raise
        spent = self._budget.settle(reserved, completion)
        self._settled.set()
        await self._keep(spent, self._entry(request, completion))
        self._has_answered = True
        self._failed_in_a_row = 0
        self._count(completion)
        return completion

    async def _keep(self, spent: Spent, entry: Entry | None) -> None:
        """Put on disk what an attempt has cost and brought."""
        if self._store is not None:
            await self._store.put(self._run, spent, entry)

    def _entry(self, request: Request, completion: Completion) -> Entry:
        asked = {
            "prompt": request.prompt,
            "stream": request.stream,
            "draw": request.draw,
            "tags": dict(request.tags),
        }
        answered = {
            "text": completion.text,
            "truncated": completion.truncated,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
        }
        return completion.request_id, asked, answered

    def _give_up(self, reason: str, message: str, request_id: str, draw: int) -> Failed:
        self.usage.failures[reason] += 1
        if self.settings.stores_completions:
            self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            raise ProviderError(
                f"the LLM failed {self._failed_in_a_row} requests in a row; the last: {message}",
                hint="the same command goes on where this stopped",
            )
        return Failed(reason, message, request_id, draw)

    def _count(self, completion: Completion) -> None:
        self.usage.prompt_tokens += completion.prompt_tokens or 0
        self.usage.completion_tokens += completion.completion_tokens or 0
        if self.settings.price is not None and self.usage.usd is not None:
            usd = cost(self.settings.price, completion)
            self.usage.usd = None if usd is None else self.usage.usd + usd

    async def _wait(self, attempt: int, retry_after_s: float | None) -> None:
        """Wait before an attempt: as long as the provider asks for, else longer each time."""
        assert self._stopped is not None
        longest = BACK_OFF_S * 2 ** (attempt - 1)
        # Jitter keeps clients that failed together from coming back together.
        wait = (retry_after_s or 0.0) + longest * random.uniform(0.5, 1.0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), timeout=min(wait, LONGEST_WAIT_S))
