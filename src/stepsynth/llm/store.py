"""The durable store: every completion that was paid for, by the digest of what was asked.

One SQLite file in WAL mode, JSON values, no pickle. Writes are grouped: whatever waits is written
in one transaction, and a completion is only counted after that transaction is on disk. Two
processes may share a store.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsynth.errors import RunFolderError

SCHEMA_VERSION = 1
_TABLES = (
    """CREATE TABLE IF NOT EXISTS completions (
        id TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        completion TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS spent (
        run TEXT PRIMARY KEY,
        requests INTEGER NOT NULL,
        usd REAL NOT NULL
    ) WITHOUT ROWID""",
)

SWITCH_ATTEMPTS, SWITCH_WAIT_S = 200, 0.05
"""How often, and how long apart, a store that another process has just made is tried."""


Entry = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""Id of a request, the request, its completion."""


@dataclass(frozen=True)
class Spent:
    """What a run has sent so far, over all its invocations."""

    requests: int = 0
    usd: float = 0.0


class Store:
    """Completions by id, and what each run has spent.

    Args:
        path: The SQLite file; made if it is not there.

    Raises:
        RunFolderError: The file is no store, is damaged, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
            self._use_wal()
            self._connection.execute("PRAGMA synchronous=FULL")
            self._check_version()
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from error
        except sqlite3.DatabaseError as error:
            raise RunFolderError(
                f"{path}: this is no store of completions, or it is damaged: {error}",
                hint="move the file away, or give another `llm.store` or `--out`",
            ) from error
        self._queue: list[tuple[tuple[str, str, str] | None, str, Spent, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    def _use_wal(self) -> None:
        """Switch to WAL, which SQLite refuses at once while another process is doing the same."""
        for attempt in range(SWITCH_ATTEMPTS):
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or attempt == SWITCH_ATTEMPTS - 1:
                    raise
                time.sleep(SWITCH_WAIT_S)

    def _check_version(self) -> None:
        """Make sure that the file is a store, and make it one if it is new.

        In one transaction: another process that opens it meanwhile sees all of it or nothing.
        """
        if self._version() == SCHEMA_VERSION:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            self._make_tables(self._version())

    def _version(self) -> int:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        return version

    def _make_tables(self, version: int) -> None:
        tables = "SELECT count(*) FROM sqlite_master"
        if version == 0 and self._connection.execute(tables).fetchone()[0]:
            raise RunFolderError(
                f"{self.path}: this database belongs to something else",
                hint="give another `llm.store`",
            )
        if version > SCHEMA_VERSION:
            raise RunFolderError(
                f"{self.path}: written by a newer stepsynth (store version {version}, "
                f"this one reads {SCHEMA_VERSION})",
                hint="upgrade stepsynth",
            )
        for table in _TABLES:
            self._connection.execute(table)
        self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def get_many(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the stored completions among the ids, as JSON values."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ",".join("?" * len(part))
            query = f"SELECT id, completion FROM completions WHERE id IN ({marks})"
            found.update(
                (i, json.loads(value)) for i, value in self._connection.execute(query, part)
            )
        return found

    def spent(self, run: str) -> Spent:
        """Return what a run has sent before."""
        row = self._connection.execute(
            "SELECT requests, usd FROM spent WHERE run = ?", (run,)
        ).fetchone()
        return Spent(*row) if row else Spent()

    async def put(self, run: str, spent: Spent, entry: Entry | None) -> None:
        """Write a completion and add to what its run has spent; return when it is on disk.

        Args:
            run: Digest of the run's identity.
            spent: What to add.
            entry: What to keep; None where an attempt brought nothing.
        """
        row = None
        if entry is not None:
            request, completion = (json.dumps(part, ensure_ascii=False) for part in entry[1:])
            row = (entry[0], request, completion)
        done = asyncio.get_running_loop().create_future()
        self._queue.append((row, run, spent, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_queue())
        await done

    async def _write_queue(self) -> None:
        while self._queue:
            group, self._queue = self._queue, []
            try:
                await asyncio.to_thread(self._write, group)
            except Exception as error:
                for *_, done in group:
                    if not done.done():
                        done.set_exception(self._explain(error))
                continue
            for *_, done in group:
                if not done.done():
                    done.set_result(None)

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error):
            return RunFolderError(
                f"{self.path}: completions cannot be written: {error}",
                hint="is the disk full or the folder read-only? the same command resumes",
            )
        return error

    def _write(self, group: Iterable[tuple[Any, str, Spent, Any]]) -> None:
        with self._connection:
            for row, run, spent, _ in group:
                if row is not None:
                    self._connection.execute(
                        "INSERT OR IGNORE INTO completions VALUES (?, ?, ?)", row
                    )
                if spent != Spent():
                    self._connection.execute(
                        "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT (run) DO UPDATE SET "
                        "requests = requests + excluded.requests, usd = usd + excluded.usd",
                        (run, spent.requests, spent.usd),
                    )

    def is_empty(self) -> bool:
        """Say whether nothing has been paid for yet."""
        return self._connection.execute("SELECT 1 FROM completions LIMIT 1").fetchone() is None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
