"""The store of a shard becomes part of the run's: what was written, and all of it or nothing.

Where a machine or a disk has failed, what can still be read is taken.
"""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from stepsynth.errors import RunFolderError
from stepsynth.llm.core.usage import Spent
from stepsynth.llm.store import claims, schema
from stepsynth.llm.store.merge import read_spent, take_in
from stepsynth.llm.store.read import EmptyStoreError, StoreReader

SUFFIX, DAMAGED = ".sqlite", ".damaged"
POLL_S = 0.5
_FILES = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Absorbed:
    """What a shard's store held.

    Attributes:
        spent: What the run has spent in it.
        damage: What could not be read, and where the file is now; "" if nothing.
    """

    spent: Spent
    damage: str = ""


_NOTHING = Absorbed(Spent())


def absorb(source: Path, target: Path, run: str, digests: int | None = None) -> Absorbed:
    """Move all that a store holds into another one, in one transaction.

    The file is removed; a damaged one is kept under another name. If a kill comes between the two,
    the same again changes nothing.

    Args:
        source: A store that no process writes to any more; it may be missing.
        target: The store of the run.
        run: Digest of the run's identity.
        digests: Sum of the digests of its completions, as their writer knows it; None: unknown.

    Raises:
        RunFolderError: The target cannot be written.
    """
    if not source.exists():
        return _NOTHING
    try:
        reader = StoreReader(source)
    except EmptyStoreError:
        _remove(source)
        return _NOTHING
    except RunFolderError as error:
        return Absorbed(Spent(), _set_aside(source, error.message))
    with reader, schema.explained(target), closing(schema.connect(target)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        _, total = take_in(reader, connection)
        spent = read_spent(reader).get(run, Spent())
        is_true = digests is None or total == digests or not reader.is_whole
        connection.execute("COMMIT" if is_true else "ROLLBACK")
    if reader.is_whole and is_true:
        _remove(source)
        return Absorbed(spent)
    lost = f"{reader.damaged + reader.unread} answers could not be read"
    other = "it does not hold what was written, and nothing was taken from it"
    return Absorbed(spent, _set_aside(source, lost if is_true else other))


def absorb_all(folder: Path, target: Path, run: str) -> Iterator[str]:
    """Move all that the stores of a folder hold into another one, and remove the folder.

    A store that a process still writes to, after its coordinator was killed, is waited for.

    Yields:
        What the user should know.

    Raises:
        RunFolderError: The target cannot be written.
    """
    for source in sorted(folder.glob(f"*{SUFFIX}")):
        while _is_in_use(source):
            time.sleep(POLL_S)
        if damage := absorb(source, target, run).damage:
            yield damage
    with suppress(OSError):  # there is none, or it holds a damaged store
        folder.rmdir()


def _is_in_use(path: Path) -> bool:
    try:
        with StoreReader(path) as reader:
            columns = {"host": "t", "pid": "n", "last": "n"}
            owners = reader.table("SELECT host, pid, beat FROM owners", (), **columns)
    except RunFolderError:
        return False
    return any(claims.is_there(**owner) for owner in owners)


def _set_aside(path: Path, what: str) -> str:
    """Rename a damaged store, and return what is to be said of it."""
    kept = path.with_suffix(DAMAGED)
    for end in _FILES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(kept.with_name(kept.name + end))
    return f"{kept}: a shard's store is damaged, and set aside: {what}"


def _remove(path: Path) -> None:
    for end in _FILES:
        path.with_name(path.name + end).unlink(missing_ok=True)
