"""The driver of batch APIs: sends requests in batches and delivers the results.

It can be stopped, killed and started again at any moment, days later too: a ledger records what is
out at the provider. Nothing is sent twice but in one case: a run is killed, or the connection
breaks, after the provider has taken a batch and before its id is recorded. Then the next look asks
the provider for that batch. If it is not found it is sent again, with a notice.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from tempfile import TemporaryFile, gettempdir
from typing import BinaryIO

from stepsynth.errors import ProviderError, StepsynthError
from stepsynth.llm.batches.patience import RUN_ON, Patience
from stepsynth.llm.chat.http import NotFoundError
from stepsynth.llm.core.batch_api import (
    BatchApi,
    BatchHooks,
    BatchState,
    Outcome,
    SentBatch,
)
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Request
from stepsynth.llm.store.batch_ledger import SQLiteLedger

DELIVERED_AT_ONCE = 256
"""Most results on their way to the store at the same time."""
DOWNLOADS = 3
"""Fetches of a batch's results before a missing one counts as lost; a fetch is free."""
KEPT_DAYS = 30
"""Days after which providers have deleted the results of a batch."""


async def collect(
    api: BatchApi,
    jobs: Sequence[tuple[str, Request]],
    ledger: SQLiteLedger,
    hooks: BatchHooks,
    *,
    max_attempts: int,
) -> None:
    """Have requests answered in batches; return when all were delivered, or when stopped.

    Batches that are out when it returns or raises run on: call it again with the requests that
    have no completion yet.

    Args:
        api: The provider's batch API.
        jobs: Ids and requests; an id given twice counts once.
        ledger: Record of what is out, from earlier runs and other processes too.
        hooks: Callbacks into the engine.
        max_attempts: Attempts at a request, in this call, before it is delivered as failed.

    Raises:
        ProviderError: The provider cannot be used, or refused a batch as a whole.
        StepsynthError: What a hook or the ledger raised.
    """
    await _Driver(api, dict(jobs), ledger, hooks, max_attempts).run()


@dataclass
class _Out:
    """A batch at the provider.

    Attributes:
        mine: Its requests that this run has asked for.
        left: Requests of `mine` that were not delivered yet.
    """

    batch: SentBatch
    mine: frozenset[str]
    left: set[str]
    state: BatchState = field(default_factory=BatchState)
    downloads: int = 0


@dataclass
class _Driver:
    _api: BatchApi
    _requests: dict[str, Request]
    _ledger: SQLiteLedger
    _hooks: BatchHooks
    _max_attempts: int

    def __post_init__(self) -> None:
        self._max_requests = self._api.max_requests
        self._waiting = dict.fromkeys(self._requests)
        self._out: dict[int, _Out] = {}
        self._attempts = Counter[str]()
        self._is_held = False
        self._patience = Patience()

    async def run(self) -> None:
        while self._requests and not self._hooks.is_stopped():
            self._patience.trouble = ""
            await self._take_up()
            await self._send()
            if await self._look():
                self._patience.start_anew()
            elif self._requests:
                await self._pause()

    # What is out already.

    async def _take_up(self) -> None:
        """Watch the batches of earlier runs and other processes that hold our requests."""
        if not self._waiting:
            return
        for batch in self._ledger.open_batches(self._api.provider):
            mine = frozenset(each for each in batch.requests if each in self._waiting)
            if not mine:
                continue
            if batch.is_lost:
                batch = await self._recover(batch)
            if batch is None or not batch.provider_id:
                continue  # another process is sending it right now
            self._watch(batch, mine)
            self._hooks.on_resumed([self._requests[each] for each in mine])
            self._hooks.on_notice(
                f"a batch of {len(mine):,} requests that was sent earlier is still out: "
                "its results will be collected"
            )

    async def _recover(self, batch: SentBatch) -> SentBatch | None:
        """Ask the provider for a batch whose sending broke off; drop it if it is not there."""
        try:
            found = await self._api.find(batch, self._ledger.known_ids(self._api.provider))
        except RetryLaterError as error:
            self._patience.note_failure(error)
            return None
        except (GiveUpError, NotFoundError):
            found = None  # there is no list of batches to ask for
        if found is not None:
            return self._ledger.set_sent(batch, found)
        self._ledger.drop(batch)
        self._hooks.on_notice(
            f"an earlier run broke off while it sent a batch of {len(batch.requests):,} requests, "
            "and the provider shows no such batch: they are sent again"
        )
        return None

    def _watch(self, batch: SentBatch, mine: frozenset[str]) -> None:
        self._out[batch.id] = _Out(batch, mine, set(mine))
        for each in mine:
            self._waiting.pop(each, None)

    # Sending.

    async def _send(self) -> None:
        """Send what waits, in as few batches as the provider allows."""
        while self._waiting and not self._hooks.is_stopped():
            if self._is_held:
                self._is_held = bool(self._out)
                return
            waiting = list(self._waiting)
            batch = self._ledger.take(self._api.provider, waiting, self._max_requests)
            if batch is None:
                return  # other processes have them
            try:
                await self._send_one(batch)
            except RetryLaterError as error:
                self._patience.note_failure(error)
                return

    async def _send_one(self, batch: SentBatch) -> None:
        with TemporaryFile() as file:
            try:
                batch = self._ledger.keep(batch, await self._pack(batch, file))
            except BaseException as error:
                self._ledger.drop(batch)
                if isinstance(error, OSError):
                    raise ProviderError(
                        f"no batch can be written to {gettempdir()}: {error.strerror}",
                        hint="make room there, or name another folder in TMPDIR",
                    ) from error
                raise
            if not batch.requests:
                self._ledger.drop(batch)
                return
            batch = await self._submit(batch, file)
        self._patience.note_answer()
        self._watch(batch, frozenset(batch.requests))

    async def _pack(self, batch: SentBatch, file: BinaryIO) -> list[str]:
        """Write a batch to a file, and return the ids of the requests that it holds."""
        for each in self._hooks.find_stored(batch.requests):
            self._forget(each)
        before, between, after = self._api.frame
        most = self._api.max_bytes - len(after)
        ids: list[str] = []
        ends = [file.write(before)]
        for each in batch.requests:
            if each not in self._requests:
                continue
            line = self._api.line(each, self._requests[each])
            if len(before) + len(line) > most:
                error = GiveUpError("too_large", f"a request of {len(line):,} bytes fits no batch")
                await self._deliver([(each, error)])
                continue
            line = between + line if ids else line
            if ends[-1] + len(line) > most:
                break
            ids.append(each)
            ends.append(ends[-1] + file.write(line))
        allowed = await self._reserve(ids) if ids else 0
        file.truncate(ends[allowed])
        file.seek(ends[allowed])
        file.write(after)
        return ids[:allowed]

    async def _reserve(self, ids: Sequence[str]) -> int:
        """Return how many of these requests the caps allow now."""
        try:
            allowed = await self._hooks.before_submit([self._requests[each] for each in ids])
        except StepsynthError:
            # What is out is reserved at the most it can cost; once it ended, more may fit.
            if not self._out:
                raise
            allowed = 0
        self._is_held = allowed < len(ids)
        return allowed

    async def _submit(self, batch: SentBatch, file: BinaryIO) -> SentBatch:
        """Send a batch, and record its id before anything else."""
        try:
            file.seek(0)
            # On Windows a temporary file is a wrapper, which cannot be sent.
            provider_id = await self._api.submit(getattr(file, "file", file), batch.token)
            return self._ledger.set_sent(batch, provider_id)
        except RetryLaterError as error:
            self._hooks.on_returned([self._requests[each] for each in batch.requests])
            is_refused = error.is_unreachable or error.reason == "rate_limit"
            (self._ledger.drop if is_refused else self._ledger.lose)(batch)
            raise
        except (GiveUpError, ProviderError) as error:
            self._ledger.drop(batch)
            if isinstance(error, ProviderError):
                raise
            raise ProviderError(
                f"a batch of {len(batch.requests):,} requests was refused: {error.message}",
                hint="does this endpoint have a batch API? without it: llm.batch: false",
            ) from error
        except BaseException:
            self._ledger.lose(batch)
            raise

    # Looking after what is out.

    async def _look(self) -> bool:
        """Poll each batch, deliver what ended, and return whether anything did."""
        has_ended = False
        for out in list(self._out.values()):
            if self._hooks.is_stopped():
                break
            try:
                out.state = await self._api.poll(out.batch.provider_id)
                if out.state.status == "ended":
                    has_ended |= await self._fetch(out)
                elif out.state.status == "failed":
                    self._take_back(out)
                self._patience.note_answer()
            except NotFoundError as error:
                self._miss(out, error)
            except GiveUpError as error:
                raise ProviderError(error.message, hint=RUN_ON) from error
            except RetryLaterError as error:
                self._patience.note_failure(error)
        return has_ended

    async def _fetch(self, out: _Out) -> bool:
        """Deliver the results of an ended batch, and return whether it is done with."""
        missing, again, group = set(out.left), list[str](), list[tuple[str, Outcome]]()
        trouble: ProviderError | None = None
        async with aclosing(self._api.results(out.batch.provider_id)) as results:
            async for request_id, outcome in results:
                if request_id not in missing:
                    continue
                missing.discard(request_id)
                if isinstance(outcome, ProviderError):
                    trouble = outcome
                    again.append(request_id)
                elif isinstance(outcome, RetryLaterError) and not self._is_last(request_id):
                    again.append(request_id)
                else:
                    group.append((request_id, outcome))
                if len(group) == DELIVERED_AT_ONCE:
                    await self._deliver(group, out)
                    group.clear()
                    if self._hooks.is_stopped():
                        return False
        await self._deliver(group, out)
        out.downloads += 1
        if missing and out.downloads < DOWNLOADS:
            return False
        message = f"batch {out.batch.provider_id} ended with no result that can be read"
        lost = RetryLaterError("no_result", message)
        await self._deliver([(each, lost) for each in missing if self._is_last(each)], out)
        self._settle(out, [*again, *(each for each in missing if each in self._requests)])
        if trouble is not None:
            raise trouble
        return True

    def _settle(self, out: _Out, again: Sequence[str]) -> None:
        """Close a batch whose results are all delivered; what failed goes into another."""
        others = [each for each in out.batch.requests if each not in out.mine]
        self._ledger.settle(out.batch, [*out.mine, *self._hooks.find_stored(others)])
        self._attempts.update(again)
        self._return(out, again)

    def _return(self, out: _Out, ids: Sequence[str]) -> None:
        """Put requests of a batch that is no longer out back among those that wait."""
        del self._out[out.batch.id]
        self._is_held = False
        self._waiting.update(dict.fromkeys(ids))
        self._hooks.on_returned([self._requests[each] for each in ids])

    def _take_back(self, out: _Out) -> None:
        """Take back the requests of a batch that failed as a whole."""
        self._ledger.drop(out.batch)
        self._return(out, list(out.left))
        size, message = len(out.mine), out.state.message or "(no message)"
        if not out.state.is_queue_full or (size == 1 and not self._out):
            raise ProviderError(
                f"batch {out.batch.provider_id} of {size:,} requests failed: {message}",
                hint="see your account at the provider; the same command sends them again",
            )
        if self._out:
            self._is_held = True
        else:
            self._max_requests = max(1, size // 2)
            self._hooks.on_notice(
                f"the provider's queue does not take a batch of {size:,} requests ({message}): "
                f"from here on {self._max_requests:,} at a time"
            )

    def _miss(self, out: _Out, error: NotFoundError) -> None:
        """Handle a batch that the provider does not know."""
        days = (time.time() - out.batch.created) / 86400
        size, name = len(out.left), out.batch.provider_id
        if days <= KEPT_DAYS:
            raise ProviderError(
                f"batch {name} of {size:,} requests, sent {days:.1f} days ago, is not known there: "
                f"{error.message}",
                hint="use the key of the account that sent it; another `llm.store` starts anew",
            ) from error
        self._ledger.drop(out.batch)
        self._return(out, list(out.left))
        self._hooks.on_notice(
            f"batch {name} is {days:.0f} days old and no longer there: its {size:,} requests are "
            "sent again"
        )

    async def _deliver(self, group: Sequence[tuple[str, Outcome]], out: _Out | None = None) -> None:
        """Deliver outcomes, but for requests that another process has stored."""
        stored = set(self._hooks.find_stored([each for each, _ in group]))
        self._hooks.on_returned([self._requests[each] for each in stored])
        left = [each for each in group if each[0] not in stored]
        errors = await asyncio.gather(
            *(self._hooks.deliver(*each) for each in left), return_exceptions=True
        )
        kept = {each for (each, _), error in zip(left, errors, strict=True) if error is None}
        for each in stored | kept:
            self._forget(each)
            if out is not None:
                out.left.discard(each)
        if failed := [error for error in errors if error is not None]:
            raise failed[0]

    def _forget(self, request_id: str) -> None:
        self._requests.pop(request_id, None)
        self._waiting.pop(request_id, None)

    def _is_last(self, request_id: str) -> bool:
        return self._attempts[request_id] + 1 >= self._max_attempts

    async def _pause(self) -> None:
        left = self._patience.next_pause_s()
        self._hooks.on_state(self._describe(left))
        while left > 0 and not self._hooks.is_stopped():
            await self._hooks.sleep(min(1.0, left))
            left -= 1

    def _describe(self, pause_s: float) -> str:
        """Return what is out, in one line."""
        sizes = [(out.state.done, len(out.mine)) for out in self._out.values()]
        done, total = sum(map(min, sizes)), sum(size for _, size in sizes)
        name = "batch" if len(sizes) == 1 else "batches"
        parts = [f"{len(sizes)} {name} out: {done:,} of {total:,} requests done"]
        if self._waiting:
            parts.append(f"{len(self._waiting):,} wait for their turn")
        if trouble := self._patience.trouble:
            parts.append(f"the last look failed ({trouble})")
        parts.append(f"the next look in {pause_s:.0f} s")
        return "; ".join([*parts, "Ctrl-C leaves them running, the same command collects them"])
