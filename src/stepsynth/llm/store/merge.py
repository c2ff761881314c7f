"""One store from several: `stepsynth store merge`."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from stepsynth.errors import RunFolderError
from stepsynth.llm.store import schema
from stepsynth.llm.store.read import Stored, StoreReader, text_of

BLOCK = 10_000
"""Completions of a transaction."""


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
        for reader in readers:
            with reader:
                counts = Counter[str]()
                completions = reader.completions()
                while block := list(islice(completions, BLOCK)):
                    connection.execute("BEGIN")
                    with connection:
                        _write(connection, block, counts)
                # What is there to the letter was paid for once: a copy of a store, gone on with.
                copied = counts["repeated"] - counts["different"]
                every = counts["written"] + counts["repeated"]
                connection.execute("BEGIN")
                with connection:
                    _add_up(connection, reader, 1 - copied / every if every else 1.0)
                found |= {key: found[key] + counts[key] for key in counts}
                found["damaged"] += reader.damaged + reader.unread
    return {"store": str(target), **found}


def _write(connection: Any, block: Sequence[Stored], counts: Counter[str]) -> None:
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


def _add_up(connection: Any, reader: StoreReader, share: float) -> None:
    """Add the settings of a store, and a share of what its runs have spent."""
    settings = reader.connection.execute("SELECT id, value FROM settings").fetchall()
    rows = [tuple(map(text_of, row)) for row in settings]
    connection.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?)", rows)
    spent = reader.connection.execute("SELECT run, requests, usd, tokens FROM spent").fetchall()
    connection.executemany(
        schema.ADD_SPENT,
        [(text_of(r), round(n * share), usd * share, round(t * share)) for r, n, usd, t in spent],
    )
