"""Read-only access to a store: while a run writes to it, and to what is left of a damaged one."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from stepsynth._util.files import read_object
from stepsynth.errors import RunFolderError
from stepsynth.llm.store import schema

MOST_FAILURES = 200_000
"""Failed reads of a damaged file after which the rest of it is given up."""
BLOCK = 256
"""Rows read at once."""
_FEWEST_BYTES = 16
"""Lower bound on the bytes of a row; with the file's size it bounds the number of rows."""
_BEYOND = "\U0010ffff"
"""Sorts after every character of an id, and so ends a search by prefix."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One completion in a store; see `store.Entry`.

    `created` is in Unix seconds. Version 1 kept neither it (0) nor `settings` ("").
    """

    id: str
    request: Mapping[str, Any]
    completion: Mapping[str, Any]
    settings: str
    created: int

    @property
    def tags(self) -> Mapping[str, Any]:
        """What the request was for."""
        tags = self.request.get("tags")
        return tags if isinstance(tags, dict) else {}

    @property
    def kind(self) -> str:
        """Kind of prompt; "" where none was given."""
        return str(self.tags.get("kind", ""))


class EmptyStoreError(RunFolderError):
    """A file that was made to be a store, and has nothing in it yet."""


class StoreReader:
    """A store, opened read-only.

    Args:
        path: The SQLite file.

    Attributes:
        version: Version of its tables; 0 if not even that can be read.
        damaged: Completions met so far that are no longer what was written.
        connection: Refuses to write; returns texts as bytes.
        unread: Rows met so far whose place in the file cannot be read (an upper bound: some of
            the places may have been empty).

    Raises:
        RunFolderError: There is no store, or nothing of it can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = self.unread = 0
        if not path.exists():
            raise RunFolderError(
                f"{path}: there is no store here", hint="give a run folder, or a .sqlite file"
            )
        schema.check_place(path)
        with schema.explained(path):
            self.connection = _open(path)
            try:
                self.version = schema.version_of(self.connection)
                _check_tables(self.connection, self.version, path)
            except BaseException:
                self.connection.close()
                raise

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.connection.close()

    @property
    def is_whole(self) -> bool:
        """Whether everything that was looked for so far could be read."""
        return not self.damaged and not self.unread

    def completions(self) -> Iterator[Stored]:
        """Yield all completions that can be read, oldest first, and count the others."""
        rows = self._by_rowid() if self.version >= 2 else self._from_both_ends()
        for row in rows:
            if (stored := self._stored(row)) is not None:
                yield stored

    def find(self, start: str) -> tuple[list[Stored], list[dict[str, Any]]]:
        """Return the completions and the given-up requests whose ids begin with `start`."""
        between = (start, start + _BEYOND)
        with schema.explained(self.path):
            query = f"SELECT {self._columns} FROM completions WHERE id >= ? AND id < ?"
            rows = self.connection.execute(query, between).fetchall()
            lost = self.failures("WHERE id >= ? AND id < ?", between)
        return [found for row in rows if (found := self._stored(row)) is not None], lost

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings of completions, by their digest."""
        found: dict[str, dict[str, Any]] = {}
        for row in self.table("SELECT id, value FROM settings", id="t", value="t"):
            if (value := read_object(row["value"])) is not None:
                found[row["id"]] = value
        return found

    def failures(self, where: str = "", values: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Return the requests that were given up."""
        query = f"SELECT id, request, reason, message, raw, created FROM failures {where}"
        texts = dict.fromkeys(("id", "request", "reason", "message", "raw"), "t")
        rows = self.table(query, values, **texts, created="n")
        return [{**row, "request": read_object(row["request"]) or {}} for row in rows]

    def table(
        self, query: str, values: tuple[str, ...] = (), **columns: str
    ) -> list[dict[str, Any]]:
        """Return the readable rows of one of the small tables.

        Args:
            query: Selects them.
            values: Parameters of the query.
            columns: Name -> t for a text, n for a number; other values are damage.
        """
        try:
            rows = self.connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError:
            if self.version >= 2:  # else it has no such table
                self.unread += 1
            return []
        whole = [
            row
            for row in rows
            if all(
                isinstance(value, bytes if letter == "t" else int | float)
                for value, letter in zip(row, columns.values(), strict=True)
            )
        ]
        self.unread += len(rows) - len(whole)
        texts = ([text_of(v) if isinstance(v, bytes) else v for v in row] for row in whole)
        return [dict(zip(columns, row, strict=True)) for row in texts]

    def count(self) -> int | None:
        """Return the number of completions by the index; None if it is damaged."""
        try:
            return self.connection.execute("SELECT count(*) FROM completions").fetchone()[0]
        except sqlite3.DatabaseError:
            return None

    @property
    def _columns(self) -> str:
        more = "settings, created" if self.version >= 2 else "'', 0"
        return f"id, request, completion, {more}"

    def _stored(self, row: tuple[Any, ...]) -> Stored | None:
        name, request, text, settings, created = row[-5:]
        completion, asked = schema.parse_completion(text), read_object(request)
        if completion is None or asked is None or not isinstance(created, int):
            self.damaged += 1
            return None
        return Stored(text_of(name), asked, completion, text_of(settings), created)

    def _by_rowid(self) -> Iterator[tuple[Any, ...]]:
        """Yield rows in order; where some cannot be read, still those before and after them."""
        failures = 0
        for block in self._blocks():
            ranges = [block]
            while ranges:
                low, high = ranges.pop()
                try:
                    yield from self._between(low, high)
                except sqlite3.DatabaseError:
                    failures += 1
                    middle = (low + high) // 2
                    if low == middle or failures > MOST_FAILURES:
                        self.unread += high - low
                    else:
                        ranges += [(middle, high), (low, middle)]

    def _between(self, low: int, high: int) -> list[tuple[Any, ...]]:
        """Return the rows of a range of rowids.

        Raises:
            sqlite3.DatabaseError: Not all of them can be read.
        """
        query = "FROM completions WHERE rowid >= ? AND rowid < ? ORDER BY rowid"
        rows: list[tuple[Any, ...]] = []
        for row in self.connection.execute(f"SELECT rowid, {self._columns} {query}", (low, high)):
            # A damaged page number may lead anywhere, even in a circle.
            if not (rows[-1][0] + 1 if rows else low) <= row[0] < high:
                raise sqlite3.DatabaseError("rows are out of order")
            rows.append(row)
        if len(rows) < high - low:
            # Or it ends the search too early; read backwards, it would end elsewhere.
            backwards = self.connection.execute(f"SELECT rowid {query} DESC", (low, high))
            if [row[0] for row in rows] != [row[0] for row in backwards][::-1]:
                raise sqlite3.DatabaseError("rows are out of order")
        return rows

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges of rowids that are read at once."""
        likely = self.path.stat().st_size // _FEWEST_BYTES + 1
        by_index = "SELECT max(rowid) FROM completions INDEXED BY sqlite_autoindex_completions_1"
        end = likely
        for query in ("SELECT max(rowid) FROM completions", by_index):
            with suppress(sqlite3.DatabaseError):
                end = (self.connection.execute(query).fetchone()[0] or 0) + 1
                break
        for low in range(0, min(end, likely), BLOCK):
            yield low, min(low + BLOCK, end)
        if end > likely:  # the highest rowid is damaged, most likely
            yield likely // BLOCK * BLOCK + BLOCK, end

    def _from_both_ends(self) -> Iterator[tuple[Any, ...]]:
        """Yield rows of version 1, which have no rowids: from both ends up to the damage."""
        last = b""
        for order in ("ASC", "DESC"):
            query = f"SELECT {self._columns} FROM completions WHERE id > ? ORDER BY id {order}"
            try:
                for row in self.connection.execute(query, (text_of(last),)):
                    last = row[0] if order == "ASC" else last
                    yield row
                return
            except sqlite3.DatabaseError:
                continue
        self.unread += 1


def _open(path: Path) -> sqlite3.Connection:
    newest = path.with_name(f"{path.name}-wal")
    # With a WAL, closing a writable connection could copy it into a damaged file. Without one, a
    # writable connection removes again the files that it had to put beside the store.
    mode = "ro" if newest.exists() else "rw"
    try:
        return _connect(path, mode)
    except sqlite3.OperationalError:
        if newest.exists() and newest.stat().st_size:
            raise
        # Where nothing may be written beside the file, nobody else writes to it either.
        return _connect(path, "ro&immutable=1")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None)
    connection.text_factory = bytes
    try:
        connection.execute("PRAGMA query_only=ON")
        # A file that was cut short is read as far as it goes.
        connection.execute("PRAGMA writable_schema=ON")
        # A snapshot: all reads are of one moment, whatever a run writes meanwhile.
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _check_tables(connection: sqlite3.Connection, version: int, path: Path) -> None:
    schema.check_version(version, path)
    names = {text_of(name) for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not version and not names:
        raise EmptyStoreError(
            f"{path}: this file is empty", hint="the first answer of a run makes it a store"
        )
    if "completions" not in names:
        raise RunFolderError(
            f"{path}: this database belongs to something else",
            hint="give a run folder, or the .sqlite file of a store",
        )


def text_of(value: Any) -> str:
    """Return a value of a row, whose texts come as bytes, as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
