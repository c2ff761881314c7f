"""Disk errors, told apart from bugs: the user can put them right."""

import errno

from stepsynth.errors import RunFolderError

_SQLITE_FULL = 13  # importing sqlite3 for this would slow down every command
_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_GOES_ON = "the same command goes on where this stopped"
_FULL = "the disk is full", f"free some space; {_GOES_ON}"
_CLOSED = "it may not be written to", f"who owns it, and is the disk read-only? {_GOES_ON}"
_ODD = "a file and a folder stand in each other's place", "move away what is not the run's"
_FILES = "too many files are open", f"allow more (ulimit -n 1024); {_GOES_ON}"
_SAID = {
    "ENOSPC": _FULL,
    "EDQUOT": _FULL,
    "EFBIG": ("the file may grow no larger", f"allow it to (ulimit -f unlimited); {_GOES_ON}"),
    "EMFILE": _FILES,
    "ENFILE": _FILES,
}
"""System error -> its meaning, and what to do."""
_SAID_OF_PLACES = {
    "EROFS": _CLOSED,
    "EACCES": _CLOSED,
    "EPERM": _CLOSED,
    "ENAMETOOLONG": ("the name is too long", "give a shorter one"),
    "EISDIR": _ODD,
    "ENOTDIR": _ODD,
    "EIO": ("the disk cannot be read or written", f"is it broken, or gone? {_GOES_ON}"),
}
"""The same for errors that name a file; without a file they are no disk errors."""


def as_disk_trouble(error: BaseException) -> RunFolderError | None:
    """Return an error for the user if this one, or one behind it, is of the disk; else None."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if (said := _explain(cause)) is not None:
            place = getattr(cause, "filename", None)
            return RunFolderError(f"{place}: {said[0]}" if place else said[0], hint=said[1])
        cause = cause.__cause__ or cause.__context__
    return None


def is_locked(error: BaseException) -> bool:
    """Return whether another process has locked the SQLite database."""
    # The lower byte is the kind of error, the others refine it.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED)


def _explain(error: BaseException) -> tuple[str, str] | None:
    if getattr(error, "sqlite_errorcode", None) == _SQLITE_FULL:
        return _FULL
    # Libraries in Rust or C++ that write models have errors of their own, with the system's words.
    if "No space left on device" in str(error):
        return _FULL
    if not isinstance(error, OSError):
        return None
    name = errno.errorcode.get(error.errno or 0, "")
    return _SAID.get(name) or (_SAID_OF_PLACES.get(name) if error.filename is not None else None)
