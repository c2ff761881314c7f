"""A full disk, told apart from other errors: it is the user's to mend, and no bug."""

import errno

from stepsynth.errors import RunFolderError

_SQLITE_FULL = 13  # importing sqlite3 for this would slow down every command
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def as_disk_full(error: BaseException) -> RunFolderError | None:
    """Return what to tell the user if this error, or one behind it, is that the disk is full."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if _is_disk_full(cause):
            place = getattr(cause, "filename", None)
            return RunFolderError(
                f"{place}: the disk is full" if place else "the disk is full",
                hint="free some space; the same command goes on where this stopped",
            )
        cause = cause.__cause__ or cause.__context__
    return None


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    if getattr(error, "sqlite_errorcode", None) == _SQLITE_FULL:
        return True
    # Libraries that write models in Rust or C++ have errors of their own, with the system's words.
    return "No space left on device" in str(error)
