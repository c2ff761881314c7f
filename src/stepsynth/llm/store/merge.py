"""One store from several: `stepsynth store merge`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from stepsynth.errors import RunFolderError
from stepsynth.llm.core.usage import Spent
from stepsynth.llm.store import schema
from stepsynth.llm.store.read import Stored, StoreReader

BLOCK = 10_000
"""Completions of a transaction."""
_BITS = 128


def merge(sources: Sequence[Path], target: Path) -> dict[str, Any]:
    """Write the completions of several stores into a new one, and add up what runs have spent.

    A request that several have an answer to keeps that of the first; a store that a run is writing
    to gives what it has so far.

    Returns:
        `written` completions; `repeated` ones; of these, `different` answers to one request;
        `damaged` ones.

    Raises:
        RunFolderError: The target exists, or a source cannot be read or is of version 1.
    """
    if target.exists():
        raise RunFolderError(f"{target} exists", hint="give the name of a new file")
    if len({path.resolve() for path in sources}) < len(sources):
        raise RunFolderError("a store is named twice", hint="name each store once")
    found: dict[str, int] = dict.fromkeys(("written", "repeated", "different", "damaged"), 0)
    readers = [StoreReader(path) for path in sources]
    for reader in readers:
        if reader.version != schema.SCHEMA_VERSION:
            raise RunFolderError(
                f"{reader.path}: a store of version {reader.version} cannot be merged",
                hint="a run that uses it makes it one of the present version",
            )
    connections = schema.open_store(target)
    connections[1].close()
    with closing(connections[0]) as connection, schema.explained(target):

        def commit() -> None:
            connection.execute("COMMIT")
            connection.execute("BEGIN")

        for reader in readers:
            with reader:
                connection.execute("BEGIN")
                counts, _ = take_in(reader, connection, commit)
                connection.execute("COMMIT")
                found |= {key: found[key] + counts[key] for key in counts}
                found["damaged"] += reader.damaged + reader.unread
    return {"store": str(target), **found}


def take_in(
    reader: StoreReader, connection: Any, commit: Callable[[], None] = lambda: None
) -> tuple[Counter[str], int]:
    """Write all that a store holds into another one, within a transaction.

    Args:
        reader: The store.
        connection: The other one's.
        commit: Called after each block, to begin another transaction.

    Returns:
        Counts of `written`, `repeated` and `different` completions, and the sum of the `digest`
        of all.
    """
    counts, total = Counter[str](), 0
    completions = reader.completions()
    while block := list(islice(completions, BLOCK)):
        total = (total + _write(connection, block, counts)) % (1 << _BITS)
        commit()
    # What is there to the letter was paid for once: a copy of a store, gone on with.
    copied = counts["repeated"] - counts["different"]
    every = counts["written"] + counts["repeated"]
    _add_up(connection, reader, 1 - copied / every if every else 1.0)
    return counts, total


def digest(request_id: str, completion: Mapping[str, Any]) -> int:
    """Return the digest of a completion as it is stored; the sum of several has no order."""
    text = f"{request_id} {schema.dump(completion)}".encode()
    return int.from_bytes(blake2b(text, digest_size=_BITS // 8).digest())


def add_digests(digests: Iterable[int]) -> int:
    """Return the sum of digests."""
    return sum(digests) % (1 << _BITS)


def _write(connection: Any, block: Sequence[Stored], counts: Counter[str]) -> int:
    """Write completions, count them, and return the sum of their digests."""
    for each in block:
        completion = schema.dump(each.completion)
        row = (each.id, schema.dump(each.request), completion, each.settings, each.created)
        done = connection.execute("INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?, ?)", row)
        if done.rowcount:
            counts["written"] += 1
            continue
        counts["repeated"] += 1
        query = "SELECT completion FROM completions WHERE id = ?"
        (known,) = connection.execute(query, (each.id,)).fetchone()
        counts["different"] += known != completion
    return add_digests(digest(each.id, each.completion) for each in block)


def _add_up(connection: Any, reader: StoreReader, share: float) -> None:
    """Add settings and given-up requests of a store, and a share of what its runs have spent."""
    rows = reader.table("SELECT id, value FROM settings", id="t", value="t")
    settings = [tuple(row.values()) for row in rows]
    connection.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?)", settings)
    texts = dict.fromkeys(("id", "request", "reason", "message", "raw"), "t")
    rows = reader.table("SELECT * FROM failures", **texts, created="n")
    lost = [tuple(row.values()) for row in rows]
    connection.executemany("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)", lost)
    spent = [
        (run, round(each.requests * share), each.usd * share, round(each.tokens * share))
        for run, each in read_spent(reader).items()
    ]
    connection.executemany(schema.ADD_SPENT, spent)


def read_spent(reader: StoreReader) -> dict[str, Spent]:
    """Return what each run has spent in a store."""
    columns = {"run": "t", "requests": "n", "usd": "n", "tokens": "n"}
    rows = reader.table("SELECT run, requests, usd, tokens FROM spent", (), **columns)
    return {row.pop("run"): Spent(**row) for row in rows}
