"""The event log of a run, `events.jsonl`, and the pace at which progress is logged."""

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stepsynth._util.files import to_line
from stepsynth.observer import Observer

if TYPE_CHECKING:
    from stepsynth.llm import Status

T = TypeVar("T")

USAGE_EVERY_S = 10.0
TAIL_BYTES = 8_192


class EventLog:
    """Log that appends lines to `events.jsonl` from any thread; one process writes at a time.

    Each line is whole or absent: the partial line of a killed process is cut off before the next
    process writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None

    def write(self, name: str, **values: Any) -> None:
        """Append a line.

        Raises:
            OSError: The line cannot be written; the file is unchanged.
        """
        with self._lock:
            # The time is taken under the lock, so that the lines are in its order.
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            row = {"time": now, "event": name, **values}
            line = (to_line(row) + "\n").encode("utf-8", "replace")
            if self._file is None:
                self._file = _open_at_line(self._path)
            written = os.write(self._file, line)
            if written < len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def _open_at_line(path: Path) -> int:
    """Open a file for appending, after cutting off a partial last line."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.ftruncate(file, path.read_bytes().rfind(b"\n") + 1)
    return file


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of `events.jsonl`, except partial or damaged ones."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and "event" in row:
                yield row


class Cadence(Generic[T]):
    """Rate limit for reports of progress: one per interval, and the last of each phase.

    A method that asks in small portions ends its phase repeatedly. Its further ends are held back
    like other reports, so that the number of lines depends on time and not on requests.

    Args:
        write: Receives the reports that are due.
        every_s: Seconds from one line of a phase to the next.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        write: Callable[[T], None],
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._written: dict[str, float] = {}
        self._ended: set[str] = set()
        self._held: dict[str, tuple[T, bool]] = {}

    def tell(self, phase: str, report: T, *, is_end: bool) -> None:
        """Write a report if it is due, else hold it until `flush` or the next one."""
        now = self._clock()
        if phase not in self._written:
            self.flush(only_ended=True)  # the lines of phases before it come first
        with self._lock:
            since = now - self._written.setdefault(phase, now)
            if since < self._every_s and not (is_end and phase not in self._ended):
                self._held[phase] = report, is_end
                return
            self._written[phase] = now
            self._held.pop(phase, None)
            if is_end:
                self._ended.add(phase)
            self._write(report)

    def flush(self, *, only_ended: bool = False) -> None:
        """Write the held-back report of each phase, or only of phases that have ended."""
        with self._lock:
            for phase, (report, has_ended) in list(self._held.items()):
                if has_ended or not only_ended:
                    del self._held[phase]
                    self._write(report)

    def drop(self) -> None:
        """Forget all phases and their held-back reports."""
        with self._lock:
            self._held.clear()
            self._written.clear()
            self._ended.clear()


class UsageLog:
    """Log of the engine's progress, for `events.jsonl` and the observer.

    The engine, and so a method, holds this object: it leads to no data. A line that cannot be
    written loses no request; the store reports a full disk.
    """

    def __init__(self, events: EventLog, observer: Observer) -> None:
        self._events = events
        self._observer = observer
        self._cadence = Cadence[dict[str, Any]](self._write, USAGE_EVERY_S)

    def asking(self, status: "Status") -> None:
        """Record the progress of a phase; called from the engine's thread."""
        self._observer.asking(status)
        self._cadence.tell(status.phase, usage_row(status), is_end=is_done(status))

    def notice(self, message: str) -> None:
        """Record a notice to the user."""
        with contextlib.suppress(OSError):
            self._events.write("notice", message=message)
        self._observer.warn(message)

    def flush(self) -> None:
        """Write the progress of each phase, before another event is logged."""
        self._cadence.flush()

    def _write(self, row: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._events.write("usage", **row)


def last_progress(path: Path) -> dict[str, Any] | None:
    """Return the last `usage` line of a log that a run is writing; None: there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        with contextlib.suppress(ValueError):  # the first may be cut, the last half written
            row = json.loads(line)
            if isinstance(row, dict) and row.get("event") == "usage":
                return row
    return None


def is_done(status: "Status") -> bool:
    """Return whether the phase is over; False while its total is unknown."""
    return status.total is not None and status.done >= status.total


def usage_row(status: "Status") -> dict[str, Any]:
    """Return the content of a `usage` line: a copy, since the usage keeps changing."""
    usage = status.usage.to_dict()
    kept = ("requests", "from_store", "retries", "setbacks", "failures", "prompt_tokens")
    tokens = ("completion_tokens", "cached_tokens", "reasoning_tokens", "usd")
    return {
        "phase": status.phase,
        "done": status.done,
        "total": status.total,
        "in_flight": status.in_flight,
        "allowed": status.allowed,
        "per_second": round(status.per_second, 3),
        **{key: usage[key] for key in (*kept, *tokens)},
        **({"note": status.note} if status.note else {}),
    }
