"""The tables of a store, their version, and how an older store becomes a newer one."""

import sqlite3
import time
from pathlib import Path

from stepsynth.errors import RunFolderError
from stepsynth.llm._batch_ledger import BATCHES_TABLE

SCHEMA_VERSION = 2
_COMPLETIONS = """CREATE TABLE completions (
    id TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    completion TEXT NOT NULL,
    settings TEXT NOT NULL,
    created INTEGER NOT NULL
)"""
"""With a rowid: rows are appended, and only the small index is written at random places."""

_SPENT = """CREATE TABLE spent (
    run TEXT PRIMARY KEY,
    requests INTEGER NOT NULL,
    usd REAL NOT NULL,
    tokens INTEGER NOT NULL
) WITHOUT ROWID"""

_OTHERS = (
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
        owner INTEGER PRIMARY KEY AUTOINCREMENT,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        beat INTEGER NOT NULL
    )""",
    BATCHES_TABLE,
    # A claim ends with the answer, in the same statement.
    """CREATE TRIGGER answered AFTER INSERT ON completions
    BEGIN DELETE FROM claims WHERE id = NEW.id; END""",
    """CREATE TRIGGER given_up AFTER INSERT ON failures
    BEGIN DELETE FROM claims WHERE id = NEW.id; END""",
)

SWITCH_ATTEMPTS, SWITCH_WAIT_S = 200, 0.05
"""How often, and how long apart, a store that another process has just made is tried."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a SQLite file for several threads and processes; every transaction is begun by hand."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    _use_wal(connection)
    # An answer that was paid for outlives a power cut, too.
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that a file is a store of this version, and make it one if it is new or older.

    In one transaction: another process that opens it meanwhile sees all of it or nothing.

    Raises:
        RunFolderError: It belongs to something else, or was written by a newer version.
    """
    if version_of(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        _migrate(connection, version_of(connection), path)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a store; 0: it has no tables yet, or is none."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return version


def _migrate(connection: sqlite3.Connection, version: int, path: Path) -> None:
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise RunFolderError(
            f"{path}: written by a newer stepsynth (store version {version}, "
            f"this one reads {SCHEMA_VERSION})",
            hint="upgrade stepsynth",
        )
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise RunFolderError(
            f"{path}: this database belongs to something else", hint="give another `llm.store`"
        )
    old = ("completions", "spent") if version == 1 else ()
    for table in old:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for table in (_COMPLETIONS, _SPENT, *_OTHERS):
        connection.execute(table)
    if old:
        # Version 1 said neither what the LLM was set to nor when it answered.
        connection.execute(
            "INSERT INTO completions SELECT id, request, completion, '', 0 FROM old_completions"
        )
        connection.execute("INSERT INTO spent SELECT run, requests, usd, 0 FROM old_spent")
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
            if "locked" not in str(error) or attempt == SWITCH_ATTEMPTS - 1:
                raise
            time.sleep(SWITCH_WAIT_S)
