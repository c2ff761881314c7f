"""The durable store: every completion that was paid for, by the digest of what was asked.

One SQLite file in WAL mode, JSON values, no pickle. One thread writes: whatever waits goes to disk
in one transaction, and a completion is only counted after that. `GROUP` bounds how much waits.
Processes may share a store; each claims what it is about to send.
"""

import asyncio
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from stepsynth.llm.core.usage import Spent
from stepsynth.llm.store import claims, schema, shared_caps
from stepsynth.llm.store.batch_ledger import SQLiteLedger
from stepsynth.llm.store.shared_caps import CapGrant, CapRequest

GROUP = 64
"""Most answers that are not on disk yet, beside one for each request that waits in `room`. So a
kill loses what is in flight and one group, never more."""
ENOUGH = 48  # answers to commit at once; below GROUP, so that others can come meanwhile
LINGER_S = 0.01
"""Seconds a small group waits for more answers, since a commit costs as much as some answers."""
BEAT_S = 20.0
"""Seconds between heartbeats."""
T = TypeVar("T")
Then = Callable[[Exception | None], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered request.

    Attributes:
        id: Digest of the request as sent and its draw.
        request: What was asked: prompt, stream, draw, tags.
        completion: What was answered.
        settings: Digest of the LLM's settings, as given to `remember_settings`.
    """

    id: str
    request: Mapping[str, Any]
    completion: Mapping[str, Any]
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """A request that was given up, why, and what the provider sent last."""

    id: str
    request: Mapping[str, Any]
    reason: str
    message: str
    raw: str


@dataclass
class _Group:
    """What goes to disk in one transaction, and the callbacks for when it is there."""

    entries: list[Entry] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    spent: dict[str, list[Spent]] = field(default_factory=dict)
    calls: list[Callable[[sqlite3.Connection], None]] = field(default_factory=list)
    then: list[Then] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None


class Store:
    """Completions by id, and what each run has spent.

    Args:
        path: The SQLite file; created if missing.

    Attributes:
        damaged: Ids of completions met that cannot be read; they are asked for again.

    Raises:
        RunFolderError: The file is no store, is damaged, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader, self._writer = schema.open_store(path)
        self.damaged: set[str] = set()
        self._owner = secrets.randbits(62)
        self._is_enrolled = False
        self._group = _Group()
        self._unwritten = 0
        self._room: deque[asyncio.Future[None]] = deque()
        self._last_beat = time.monotonic()
        self._queue: SimpleQueue[_Group | None] = SimpleQueue()
        self._is_writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the stored completions among the ids, as JSON values.

        One that cannot be read counts as missing: it is asked for again, and replaced.
        """
        with schema.explained(self.path):
            return _read(self._reader, list(dict.fromkeys(ids)), self.damaged)

    async def take(self, ids: Sequence[str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
        """Claim requests for this process, before it sends them.

        Returns:
            The completions that are there by now, and the ids that another process has claimed.
            The rest is this process's until it is answered, given up or released.
        """

        def claim(connection: sqlite3.Connection) -> tuple[dict[str, dict[str, Any]], set[str]]:
            claims.enrol(connection, self._owner)
            found = _read(connection, ids, self.damaged)
            left = [each for each in ids if each not in found]
            return found, claims.claim(connection, left, self._owner)

        self._is_enrolled = True
        return await self._call(claim)

    async def ask(self, asked: CapRequest) -> CapGrant:
        """Lease a part of what is left of a run's caps, before it is spent; see `shared_caps`."""

        def ask(connection: sqlite3.Connection) -> CapGrant:
            claims.enrol(connection, self._owner)
            return shared_caps.ask(connection, self._owner, asked)

        self._is_enrolled = True
        return await self._call(ask)

    async def release(self) -> None:
        """Release this process's claims and its lease, once all that was put is on disk."""
        if self._is_enrolled:
            await self._call(lambda connection: claims.leave(connection, self._owner))
            self._is_enrolled = False
        else:
            await self.drain()

    def put(self, entries: Sequence[Entry], run: str, spent: Spent, then: Then) -> None:
        """Queue the answers of an attempt and its cost for writing, and return at once.

        Args:
            entries: The answers, if there are any.
            run: Digest of the run's identity.
            spent: What to add to what the run has spent.
            then: Called in the event loop, with None when all is on disk, or with the error.
        """
        self._group.entries += entries
        self._unwritten += len(entries)
        self._group.spent.setdefault(run, []).append(spent)
        self._group.then.append(then)
        self._flush_soon()

    def put_lost(self, lost: Lost, then: Then) -> None:
        """Queue a given-up request for writing, which releases its claim."""
        self._group.lost.append(lost)
        self._group.then.append(then)
        self._flush_soon()

    def remember_settings(self, settings: str, value: Mapping[str, Any]) -> None:
        """Queue the settings of completions for writing, by their digest; once is enough."""
        row = (settings, schema.dump(dict(sorted(value.items()))))

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", row)

        self._group.calls.append(insert)

    async def room(self) -> None:
        """Wait in turn until enough answers are on disk for another request to be sent."""
        if self._unwritten > GROUP + len(self._room):
            self._room.append(asyncio.get_running_loop().create_future())
            await self._room[-1]

    def beat(self) -> None:
        """Renew this process's heartbeat if it is due, so that its claims hold."""
        if self._is_enrolled and time.monotonic() - self._last_beat > BEAT_S:
            self._last_beat = time.monotonic()
            self._group.calls.append(lambda connection: claims.enrol(connection, self._owner))
            self._flush()

    async def drain(self) -> None:
        """Wait until everything that was put is on disk."""
        await self._call(lambda _: None)

    def spent(self, run: str) -> Spent:
        """Return what a run has spent, in all invocations and processes."""
        query = "SELECT requests, usd, tokens FROM spent WHERE run = ?"
        with schema.explained(self.path):
            row = self._reader.execute(query, (run,)).fetchone()
        return Spent(*row) if row else Spent()

    def batch_ledger(self) -> SQLiteLedger:
        """Return the ledger of batches at providers."""
        return SQLiteLedger(self._reader)

    def is_empty(self) -> bool:
        """Return whether nothing has been paid for yet."""
        with schema.explained(self.path):
            query = "SELECT 1 FROM completions UNION ALL SELECT 1 FROM batches LIMIT 1"
            return self._reader.execute(query).fetchone() is None

    def close(self) -> None:
        """Close the file, and release what was claimed."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        try:
            if self._group.then:
                # Nobody waits for these after a second Ctrl-C, but they are paid for.
                with schema.explained(self.path):
                    self._write(self._group)
        finally:
            self._group = _Group()
            if self._is_enrolled:
                # Where this fails (a full disk), claims end with this process.
                with suppress(sqlite3.Error):
                    claims.leave(self._writer, self._owner)
                self._is_enrolled = False
            self._writer.close()
            self._reader.close()

    async def _call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function in the writing thread, within its next transaction."""
        result: list[T] = []
        done = asyncio.get_running_loop().create_future()

        def then(error: Exception | None) -> None:
            if not done.done():
                done.set_exception(error) if error else done.set_result(None)

        self._group.calls.append(lambda connection: result.append(function(connection)))
        self._group.then.append(then)
        self._flush()
        await done
        return result[0]

    def _flush_soon(self) -> None:
        """Commit what waits: at once if it is worth a transaction, else after `LINGER_S`."""
        if self._is_writing:
            return
        if len(self._group.entries) >= ENOUGH:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._flush)

    def _flush(self) -> None:
        """Hand what waits to the writing thread, unless that is busy: then more gathers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_writing:
            return
        group, self._group = self._group, _Group()
        group.loop = asyncio.get_running_loop()
        self._is_writing = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_groups, name="store", daemon=True)
            self._thread.start()
        self._queue.put(group)

    def _write_groups(self) -> None:
        while (group := self._queue.get()) is not None:
            error: Exception | None = None
            try:
                with schema.explained(self.path):
                    self._write(group)
            except Exception as caught:
                error = caught
            assert group.loop is not None
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                group.loop.call_soon_threadsafe(self._written, group, error)

    def _written(self, group: _Group, error: Exception | None) -> None:
        self._is_writing = False
        self._unwritten -= len(group.entries)
        for then in group.then:
            then(error)
        while self._room and self._unwritten < GROUP + len(self._room):
            waiting = self._room.popleft()
            if not waiting.done():
                waiting.set_result(None)
        if self._group.calls:
            self._flush()
        elif self._group.then:
            self._flush_soon()

    def _write(self, group: _Group) -> None:
        connection = self._writer
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            now = int(time.time())
            if group.entries:
                _insert(connection, group.entries, now)
            for lost in group.lost:
                said = (schema.sound(lost.message), schema.sound(lost.raw))
                row = (lost.id, schema.dump(lost.request), lost.reason, *said, now)
                connection.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)", row)
            for run, several in group.spent.items():
                spent = Spent.sum(several)
                connection.execute(schema.ADD_SPENT, (run, *spent))
                if self._is_enrolled:
                    shared_caps.record(connection, self._owner, run, spent)
            for call in group.calls:
                call(connection)


def _insert(connection: sqlite3.Connection, entries: Sequence[Entry], now: int) -> None:
    """Write entries in few statements, since each waits for Python's GIL again.

    Their lengths are few too, since SQLite caches compiled statements.
    """
    while entries:
        size = min(GROUP, 1 << (len(entries).bit_length() - 1))
        part, entries = entries[:size], entries[size:]
        rows = [
            (e.id, schema.dump(e.request), schema.dump(e.completion), e.settings, now) for e in part
        ]
        marks = ",".join(["(?,?,?,?,?)"] * size)
        # A damaged row is replaced.
        query = f"INSERT OR REPLACE INTO completions VALUES {marks}"
        connection.execute(query, list(chain.from_iterable(rows)))


def _read(
    connection: sqlite3.Connection, ids: Sequence[str], damaged: set[str]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part, marks in claims.parts(ids):
        # As bytes, so that an invalid text damages its own row alone.
        query = f"SELECT id, CAST(completion AS BLOB) FROM completions WHERE id IN ({marks})"
        for request_id, text in connection.execute(query, part):
            value = schema.parse_completion(text)
            if value is None:
                damaged.add(request_id)
            else:
                found[request_id] = value
    return found
