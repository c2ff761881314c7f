"""Claims on requests, so that processes that share a store never send one twice.

A process claims requests before it sends them. A claim ends when its request is given up, when the
phase or the process that holds it ends, or when that process has been silent for too long. An
answer is looked up before a claim is.
"""

import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Sequence

PER_QUERY = 500
SILENT_S = 120
"""Seconds without a heartbeat after which a process, even a running one, loses its claims."""


def parts(ids: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """Yield ids in numbers that SQLite takes in one query, with the marks that stand for them."""
    for start in range(0, len(ids), PER_QUERY):
        part = ids[start : start + PER_QUERY]
        yield part, ",".join("?" * len(part))


def enrol(connection: sqlite3.Connection, owner: int) -> None:
    """Register this process or renew its heartbeat, also where it was taken for dead."""
    connection.execute(
        "INSERT INTO owners (owner, host, pid, beat) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (owner) DO UPDATE SET beat = excluded.beat",
        (owner, socket.gethostname(), os.getpid(), int(time.time())),
    )


def leave(connection: sqlite3.Connection, owner: int) -> None:
    """Remove a process, with its claims and its lease."""
    connection.execute("DELETE FROM claims WHERE owner = ?", (owner,))
    connection.execute("DELETE FROM owners WHERE owner = ?", (owner,))


def claim(connection: sqlite3.Connection, ids: Sequence[str], owner: int) -> set[str]:
    """Claim requests, and return those of them that other live processes have claimed."""
    drop_claims_of_the_dead(connection, owner)
    others: set[str] = set()
    for part, marks in parts(ids):
        rows = ",".join(["(?,?)"] * len(part))
        values = [value for each in part for value in (each, owner)]
        connection.execute(f"INSERT OR IGNORE INTO claims VALUES {rows}", values)
        query = f"SELECT id FROM claims WHERE id IN ({marks}) AND owner != ?"
        others |= {request_id for (request_id,) in connection.execute(query, (*part, owner))}
    return others


def drop_claims_of_the_dead(connection: sqlite3.Connection, owner: int) -> None:
    """Release the claims and leases of other processes that are gone."""
    query = "SELECT owner, host, pid, beat FROM owners WHERE owner != ?"
    for other, host, pid, last in connection.execute(query, (owner,)).fetchall():
        if not is_there(host, pid, last):
            leave(connection, other)


def is_there(host: str, pid: int, last: float) -> bool:
    """Return whether a process may still be alive, by its pid and its last heartbeat."""
    is_here = host == socket.gethostname()
    return not (is_here and not _is_running(pid)) and time.time() - last <= SILENT_S


def _is_running(pid: int) -> bool:
    if os.name != "posix":
        return True  # there is no harmless signal to try; silence will tell
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    return True
