"""The file of decisions, `review.jsonl`: appended to by any number of processes."""

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

from stepsynth._util.files import to_line
from stepsynth.errors import RunFolderError
from stepsynth.review.decisions import Decision, History, read_lines


class ReviewLog:
    """The decisions on a run, in memory and on disk.

    Args:
        path: The file; made with the first decision.

    Attributes:
        history: What the file held when it was last looked at.

    Raises:
        RunFolderError: A line of it is no decision.
    """

    def __init__(self, path: Path) -> None:
        self.history = History()
        self._path = path
        self._size = 0
        self._lines = 0
        self.refresh()

    def refresh(self) -> None:
        """Take up what another process has appended."""
        if self._path.exists() and self._path.stat().st_size > self._size:
            with self._path.open("rb") as file:
                file.seek(self._size)
                self._take(file.read())

    def append(
        self, decisions: Sequence[Decision], then: Callable[[], None] = lambda: None
    ) -> None:
        """Append decisions but those that are there; they are on disk when this returns.

        Args:
            decisions: The decisions.
            then: Called when they are on disk, before another process can append: what it writes
                of the history is not older than what another one has written.

        Raises:
            OSError: They cannot be written; the file is as it was.
            RunFolderError: Somebody has changed the lines that were there.
            ValueError: One undoes a decision that was never made.
        """
        is_new = not self._path.exists()
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.refresh()
            self._cut(file)
            new = [each for each in decisions if not self.history.has(each)]
            for each in new:
                self.history.check(each)
            lines = "".join(to_line(each.to_dict()) + "\n" for each in new)
            data = lines.encode("utf-8", "replace")
            written = os.write(file, data) if data else 0
            if written < len(data):
                os.ftruncate(file, self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            os.fsync(file)
            if is_new:
                _sync_folder(self._path.parent)
            self._take(data)
            then()
        finally:
            os.close(file)

    def _cut(self, file: int) -> None:
        """Cut off half a line of a process that was killed."""
        size = os.fstat(file).st_size
        if size < self._size:
            raise RunFolderError(
                f"{self._path}: lines are gone that were there before",
                hint="put them back, or stop this command and start it again",
            )
        if size > self._size:
            os.ftruncate(file, self._size)

    def _take(self, data: bytes) -> None:
        read = read_lines(BytesIO(data), self.history, self._path, first=self._lines + 1)
        self._size += read
        self._lines += data[:read].count(b"\n")


def _sync_folder(folder: Path) -> None:
    """Make sure that a new file is found after a power cut."""
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
