"""Tables of a store, their version and migration, and what SQLite's errors mean for a run."""

import json
import shlex
import sqlite3
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from stepsynth._util.disk import is_locked
from stepsynth._util.files import read_object
from stepsynth.errors import RunFolderError
from stepsynth.llm.core.types import TOKEN_COUNTS
from stepsynth.llm.store.batch_ledger import BATCHES_TABLE

SCHEMA_VERSION = 2
ADD_SPENT = """INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET
requests = requests + excluded.requests, usd = usd + excluded.usd, tokens = tokens + excluded.tokens
"""

_TOKENS = """SELECT CAST(total(
    coalesce(json_extract(completion, '$.prompt_tokens'), 0)
    + coalesce(json_extract(completion, '$.completion_tokens'), 0)
) AS INTEGER) FROM old_completions WHERE json_valid(completion)"""
"""Query for the tokens of all completions in a store of version 1."""

_TABLES = (
    # With a rowid: rows are appended, and only the small index is written at random places.
    """CREATE TABLE completions (
        id TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        completion TEXT NOT NULL,
        settings TEXT NOT NULL,
        created INTEGER NOT NULL
    )""",
    """CREATE TABLE spent (
        run TEXT PRIMARY KEY,
        requests INTEGER NOT NULL,
        usd REAL NOT NULL,
        tokens INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE settings (
        id TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE failures (
        id TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        raw TEXT NOT NULL,
        created INTEGER NOT NULL
    )""",
    """CREATE TABLE claims (
        id TEXT PRIMARY KEY,
        owner INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE owners (
        owner INTEGER PRIMARY KEY,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        beat INTEGER NOT NULL,
        run TEXT NOT NULL DEFAULT '',
        requests REAL NOT NULL DEFAULT 0,
        usd REAL NOT NULL DEFAULT 0,
        tokens REAL NOT NULL DEFAULT 0
    )""",
    BATCHES_TABLE,
    # A request that was given up is freed at once: another process may try it now.
    """CREATE TRIGGER given_up AFTER INSERT ON failures
    BEGIN DELETE FROM claims WHERE id = NEW.id; END""",
)

_ANSWER_KEYS = {"text", "truncated", "stop", *TOKEN_COUNTS}
_ANSWER_TYPES = {str, int, bool, type(None)}
_ENCODER = json.JSONEncoder(ensure_ascii=False)
SWITCH_ATTEMPTS, SWITCH_WAIT_S = 200, 0.05
"""Attempts to switch a new store to WAL while another process does the same, and seconds between
them."""

_GOES_ON = "the same command goes on from here"
_HINTS = {
    sqlite3.SQLITE_FULL: f"the disk is full: free some space; {_GOES_ON}",
    sqlite3.SQLITE_IOERR: f"is the disk full, or broken, or the network down? {_GOES_ON}",
    sqlite3.SQLITE_READONLY: "the file or its folder may not be written to",
    sqlite3.SQLITE_CANTOPEN: "may the file and its folder be read and written to?",
    sqlite3.SQLITE_BUSY: f"another process has locked it for a minute; {_GOES_ON}",
    sqlite3.SQLITE_TOOBIG: "one prompt or answer is larger than SQLite takes (1 GB)",
}


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn SQLite's errors into what they mean for a run.

    Raises:
        RunFolderError: In place of an error of SQLite.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: in a damaged list of tables
        # The lower byte is the kind of error, the others refine it.
        hint = _HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if hint:
            message = f"completions cannot be written or read: {error}"
        else:
            message = f"this is no store of completions, or it is damaged: {error}"
            command = f"stepsynth store export {shlex.quote(str(path))} --out FILE.jsonl"
            hint = f"`{command}` saves what can still be read; " + (
                "then move the file away, or give another `llm.store` or `--out`"
            )
        raise RunFolderError(f"{path}: {message}", hint=hint) from error


def check_place(path: Path) -> None:
    """Check that opening a file as a store cannot lose what is there.

    Raises:
        RunFolderError: It is a folder, or is empty or gone beside its write-ahead log (WAL).
    """
    if path.is_dir():
        raise RunFolderError(f"{path}: this is a folder, no store", hint="give the name of a file")
    # In this order: if another process makes the store meanwhile, the file is there first.
    newest = path.with_name(f"{path.name}-wal")
    if newest.exists() and newest.stat().st_size and not (path.exists() and path.stat().st_size):
        raise RunFolderError(
            f"{path}: this file is empty or gone, and {newest.name} beside it holds its newest "
            "completions, which SQLite would delete",
            hint=f"put {path.name} back; if it is lost, delete {newest.name} to begin anew",
        )


def connect(path: Path) -> sqlite3.Connection:
    """Open a SQLite file for several threads and processes; transactions are begun by hand."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(connection)
        # An answer that was paid for must outlive a power cut, too.
        connection.execute("PRAGMA synchronous=FULL")
        # Pages that change again and again are copied into the file less often.
        connection.execute("PRAGMA wal_autocheckpoint=4000")
    except BaseException:
        connection.close()
        raise
    return connection


def open_store(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Open a file as a store of this version; create or migrate it if it is new or older.

    Returns:
        Two connections.

    Raises:
        RunFolderError: It is no store, is damaged, or was written by a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_place(path)
        with explained(path), ExitStack() as opened:
            first = opened.enter_context(closing(connect(path)))
            prepare(first, path)
            second = connect(path)
            opened.pop_all()  # they stay open
            return first, second
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from error


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create or migrate the tables of a file that is new or older.

    In one transaction: another process that opens it meanwhile sees all of it or nothing.

    Raises:
        RunFolderError: It belongs to something else, or was written by a newer version.
    """
    if version_of(connection) != SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            _migrate(connection, version_of(connection), path)
    # Without this, missing tables would only show at the first answer.
    connection.execute("SELECT 1 FROM completions, spent, failures, claims, batches LIMIT 0")


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a store; 0 if it has no tables yet, or is none."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return version


def check_version(version: int, path: Path) -> None:
    """Check that a store is not of a later version than this one."""
    if version > SCHEMA_VERSION:
        raise RunFolderError(
            f"{path}: written by a newer stepsynth (store version {version}, "
            f"this one reads {SCHEMA_VERSION})",
            hint="upgrade stepsynth",
        )


def _migrate(connection: sqlite3.Connection, version: int, path: Path) -> None:
    if version == SCHEMA_VERSION:
        return
    check_version(version, path)
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise RunFolderError(
            f"{path}: this database belongs to something else", hint="give another `llm.store`"
        )
    old = ("completions", "spent") if version == 1 else ()
    for table in old:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for table in _TABLES:
        connection.execute(table)
    if old:
        # Version 1 said neither what the LLM was set to nor when it answered.
        connection.execute(
            "INSERT INTO completions SELECT id, request, completion, '', 0 FROM old_completions"
        )
        # Nor whose a completion was: each run is charged for all tokens, so that caps hold.
        connection.execute(
            f"INSERT INTO spent SELECT run, requests, usd, ({_TOKENS}) FROM old_spent"
        )
    for table in old:
        connection.execute(f"DROP TABLE old_{table}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, which SQLite refuses at once while another process is doing the same."""
    for attempt in range(SWITCH_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not is_locked(error) or attempt == SWITCH_ATTEMPTS - 1:
                raise
            time.sleep(SWITCH_WAIT_S)


def parse_completion(text: bytes) -> dict[str, Any] | None:
    """Return a stored completion, or None if it is no longer what was written."""
    if (value := read_object(text)) is None:
        return None
    types = [*map(type, value.values())]
    is_whole = (
        value.keys() <= _ANSWER_KEYS
        and isinstance(value.get("text"), str)
        and isinstance(value.get("stop", ""), str)
        and types.count(str) == 1 + ("stop" in value)
        and _ANSWER_TYPES.issuperset(types)
    )
    return value if is_whole else None


def dump(value: Mapping[str, Any]) -> str:
    """Return a value as JSON that SQLite takes."""
    return sound(_ENCODER.encode(value))


def sound(text: str) -> str:
    """Return a text without lone surrogates, which odd data may hold and SQLite refuses."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
