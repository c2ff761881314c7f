"""The ledger of batches at providers, by which a batch outlives the run that sent it.

One row for each batch, in the store. A batch is recorded before it is sent, so that a run that is
killed in between leaves a trace. Requests in an open batch of any process count as claimed.
"""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from stepsynth._util.hashing import digest
from stepsynth.errors import RunFolderError
from stepsynth.llm.core.batch_api import SentBatch
from stepsynth.llm.store.claims import _is_running

BATCHES_TABLE = """CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    state TEXT NOT NULL,
    created INTEGER NOT NULL,
    requests TEXT NOT NULL,
    token TEXT NOT NULL,
    owner TEXT NOT NULL
)"""
"""States: intent (being sent), lost (nobody knows whether it was sent), sent, closed."""

ABANDONED_S = 3600
"""Seconds after which a batch that another machine is still sending is taken for abandoned."""

_SENDING: set[str] = set()
"""Tokens of the batches that this process is sending right now."""


class SQLiteLedger:
    """A ledger in the table of a store; every call is durable when it returns.

    Args:
        connection: Used in one thread; every call is one short transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def take(self, provider: str, ids: Sequence[str], at_most: int) -> SentBatch | None:
        """Record the intent to send a batch, of ids that no open batch holds."""
        with self._transaction():
            taken = {each for batch in self.open_batches(provider) for each in batch.requests}
            free = tuple(dict.fromkeys(each for each in ids if each not in taken))[:at_most]
            if not free:
                return None
            owner = f"{os.getpid()}@{socket.gethostname()}"
            created, token = int(time.time()), digest([provider, owner, time.time_ns(), free[0]])
            row = (provider, "", "intent", created, json.dumps(free), token, owner)
            cursor = self._connection.execute(
                "INSERT INTO batches VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", row
            )
        _SENDING.add(token)
        assert cursor.lastrowid is not None
        return SentBatch(cursor.lastrowid, token, free, created)

    def keep(self, batch: SentBatch, ids: Sequence[str]) -> SentBatch:
        """Keep only some requests of a batch that was not sent yet; release the others."""
        self._set(batch, requests=json.dumps(list(ids)))
        return replace(batch, requests=tuple(ids))

    def set_sent(self, batch: SentBatch, provider_id: str) -> SentBatch:
        """Record the provider's id of a batch."""
        self._set(batch, state="sent", provider_id=provider_id)
        _SENDING.discard(batch.token)
        return replace(batch, provider_id=provider_id, is_lost=False)

    def lose(self, batch: SentBatch) -> None:
        """Record that nobody knows whether a batch was sent."""
        _SENDING.discard(batch.token)
        self._set(batch, state="lost")

    def drop(self, batch: SentBatch) -> None:
        """Close a batch and release its requests: it will answer none of them."""
        _SENDING.discard(batch.token)
        self._set(batch, state="closed", requests="[]")

    def settle(self, batch: SentBatch, ids: Sequence[str]) -> None:
        """Release requests whose results were delivered; with the last one, close the batch."""
        done = set(ids)
        with self._transaction():
            query = "SELECT requests FROM batches WHERE id = ?"
            rows = self._connection.execute(query, (batch.id,)).fetchall()
            held: list[str] = json.loads(rows[0][0]) if rows else []
            left = [each for each in held if each not in done]
            self._connection.execute(
                "UPDATE batches SET requests = ?, state = ? WHERE id = ?",
                (json.dumps(left), "sent" if left else "closed", batch.id),
            )

    def open_batches(self, provider: str) -> list[SentBatch]:
        """Return the batches of all processes that are not closed, oldest first."""
        query = (
            "SELECT id, token, requests, created, provider_id, state, owner FROM batches "
            "WHERE provider = ? AND state != 'closed' ORDER BY id"
        )
        with self._explained():
            return [
                SentBatch(
                    row,
                    token,
                    tuple(json.loads(requests)),
                    created,
                    provider_id,
                    is_lost=state == "lost"
                    or (state == "intent" and _is_abandoned(owner, token, created)),
                )
                for row, token, requests, created, provider_id, state, owner in (
                    self._connection.execute(query, (provider,))
                )
            ]

    def known_ids(self, provider: str) -> set[str]:
        """Return the provider's ids of all batches that were ever sent from this store."""
        query = "SELECT provider_id FROM batches WHERE provider = ?"
        with self._explained():
            return {each for (each,) in self._connection.execute(query, (provider,))}

    def _set(self, batch: SentBatch, **values: str) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        with self._transaction():
            self._connection.execute(
                f"UPDATE batches SET {columns} WHERE id = ?", (*values.values(), batch.id)
            )

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                yield

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise RunFolderError(
                f"the store's record of batches cannot be written or read: {error}",
                hint="is the disk full, the folder read-only? the same command goes on from here",
            ) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise RunFolderError(
                f"the store's record of batches is damaged: {error}",
                hint="give another `llm.store`: what the provider has now cannot be matched",
            ) from error


def _is_abandoned(owner: str, token: str, created: int) -> bool:
    """Return whether nobody is sending this batch any more."""
    pid, _, host = owner.partition("@")
    if host != socket.gethostname():
        return time.time() - created > ABANDONED_S
    if int(pid) == os.getpid():
        return token not in _SENDING
    return not _is_running(int(pid))
