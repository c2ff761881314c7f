"""Deletion of completions from a store: `stepsynth store gc`."""

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsynth.errors import ConfigError, RunFolderError, UnknownNameError
from stepsynth.llm.store import claims, schema
from stepsynth.llm.store.read import StoreReader
from stepsynth.llm.store.tools import UNKNOWN, ids_of_model, size_of

_DAY_S = 86_400


@dataclass(frozen=True)
class Chosen:
    """The rows to delete: those that meet every criterion that is set.

    Attributes:
        older_than_days: Written longer ago than this. Rows of unknown age are not chosen.
        model: By this LLM.
        settings: With these settings: the beginning of their digest, or `UNKNOWN`.
        failures: Requests that were given up, in place of completions.
    """

    older_than_days: float | None = None
    model: str | None = None
    settings: str | None = None
    failures: bool = False

    def check(self) -> None:
        """Check the criteria.

        Raises:
            ConfigError: There is none, or they do not go together.
        """
        if self.failures and (self.model or self.settings):
            raise ConfigError(
                "--failures does not go with --model and --settings: requests that were given up "
                "are kept without them",
                hint="--failures, with or without --older-than",
            )
        if not self.failures and self.older_than_days is None and not (self.model or self.settings):
            raise ConfigError(
                "there is nothing to delete: no criterion was given",
                hint="--older-than DAYS, --model NAME, --settings ID or --failures; "
                "`stepsynth store ls` shows what there is",
            )

    @property
    def table(self) -> str:
        """The table to delete from."""
        return "failures" if self.failures else "completions"

    def where(self, known: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[Any]]:
        """Return the SQL condition and its values."""
        parts, values = ["1"], list[Any]()
        if self.older_than_days is not None:
            parts.append("created > 0 AND created < ?")
            values.append(int(time.time() - self.older_than_days * _DAY_S))
        ids: list[set[str]] = []
        if self.model:
            ids.append(ids_of_model(known, self.model))
        if self.settings:
            found = {""} if self.settings == UNKNOWN else set[str]()
            found |= {name for name in known if name.startswith(self.settings)}
            if not found:
                raise UnknownNameError("digest of settings", self.settings, known)
            ids.append(found)
        if ids:
            both = sorted(set.intersection(*ids))
            parts.append(f"settings IN ({','.join('?' * len(both))})")
            values += both
        return " AND ".join(parts), values


def collect_garbage(path: Path, chosen: Chosen, *, is_dry: bool) -> dict[str, Any]:
    """Delete what was chosen from a store, and give the space back to the disk.

    Args:
        path: The store.
        chosen: What to delete.
        is_dry: Only count it.

    Returns:
        `deleted` rows, `left` rows, `of_unknown_age` (0 unless age was asked for), `freed` bytes.

    Raises:
        ConfigError: Nothing was chosen, or what is not in the store.
        RunFolderError: A process is at work on the store, or it is damaged.
    """
    chosen.check()
    before = size_of(path)
    with StoreReader(path) as reader, schema.explained(path):
        if reader.version != schema.SCHEMA_VERSION:
            raise RunFolderError(
                f"{path}: a store of version {reader.version} does not say when and with which "
                "settings its completions came",
                hint="a run that uses it makes it one of the present version",
            )
        where, values = chosen.where(reader.settings())
        found = _count(reader.connection, chosen, where, values)
    if not is_dry:
        with schema.explained(path):
            found = _delete(path, chosen, where, values)
    freed = before - size_of(path)
    return {"store": str(path), "dry_run": is_dry, **found, "freed": max(0, freed)}


def _count(
    connection: sqlite3.Connection, chosen: Chosen, where: str, values: list[Any]
) -> dict[str, int]:
    def count(condition: str, given: list[Any]) -> int:
        query = f"SELECT count(*) FROM {chosen.table} WHERE {condition}"
        return connection.execute(query, given).fetchone()[0]

    deleted, total = count(where, values), count("1", [])
    ageless = count("created = 0", []) if chosen.older_than_days is not None else 0
    return {"deleted": deleted, "left": total - deleted, "of_unknown_age": ageless}


def _delete(path: Path, chosen: Chosen, where: str, values: list[Any]) -> dict[str, int]:
    connection = schema.connect(path)
    try:
        ((said,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if said != "ok":
            raise sqlite3.DatabaseError(said.splitlines()[-1])
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            _check_unused(connection, path)
            found = _count(connection, chosen, where, values)
            # Settings stay: a run that has written them once does not write them again.
            connection.execute(f"DELETE FROM {chosen.table} WHERE {where}", values)
        if found["deleted"]:
            connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return found


def _check_unused(connection: sqlite3.Connection, path: Path) -> None:
    """Check that no process is asking, and drop the claims of those that ended."""
    owners = connection.execute("SELECT owner, host, pid, beat FROM owners").fetchall()
    for owner, host, pid, last in owners:
        if claims.is_there(host, pid, last):
            raise RunFolderError(
                f"{path}: a run is asking for completions here (process {pid} on {host})",
                hint="wait for it, or stop it; then give this command again",
            )
        claims.leave(connection, owner)
