"""Locks of folders, which a killed process cannot leave behind."""

import os
import sqlite3
from pathlib import Path

from stepsynth._util.disk import is_locked
from stepsynth.errors import FolderInUseError, RunFolderError

LONGEST_PATH = 500
"""Bytes; SQLite allows 512, including the suffixes of its side files."""


def acquire(path: Path, what: str) -> sqlite3.Connection:
    """Lock a folder by an open SQLite transaction, which ends even with a killed process.

    Args:
        path: File in the folder that is the lock.
        what: What the folder is.

    Returns:
        The lock, which is open until it is closed.

    Raises:
        FolderInUseError: Another process holds it.
        RunFolderError: It cannot be written.
    """
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.DatabaseError as error:
        is_long = len(os.fsencode(path.absolute())) > LONGEST_PATH
        raise RunFolderError(
            f"{path.parent}: cannot be written: {error}",
            hint=f"SQLite takes paths of {LONGEST_PATH} bytes: give a shorter --out"
            if is_long
            else "",
        ) from error
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.DatabaseError as error:
        connection.close()
        if not is_locked(error):
            raise RunFolderError(f"{path.parent}: cannot be written: {error}") from error
        raise FolderInUseError(
            f"{path.parent}: another process is writing into this {what}",
            hint="wait for it, stop it, or give another --out",
        ) from error
    return connection
