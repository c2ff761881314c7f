"""What happened in a run and when: `events.jsonl`, a line each, and when another line is due."""

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


class EventLog:
    """Appends lines to `events.jsonl`, from any thread; one process writes at a time.

    A line is there whole or not at all: what a killed process left half-written is cut off
    before the next one goes on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None

    def write(self, name: str, **values: Any) -> None:
        """Append a line.

        Raises:
            OSError: It cannot be written; the file is as it was.
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
    """Open a file to append to, without the part of a line that it may end in."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.ftruncate(file, path.read_bytes().rfind(b"\n") + 1)
    return file


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of `events.jsonl`, but not those that are half-written or damaged."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "event" in row:
                yield row


class Cadence(Generic[T]):
    """Writes few of many reports of progress: one every so often, and each phase's last.

    A phase that ends again and again (a method that asks in small portions) has its further ends
    held back like any other report, so the lines are bounded by time and not by requests.

    Args:
        write: Is given the reports that are due.
        every_s: Seconds from one line of a phase to the next.
        clock: Seconds that only go up.
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
        """Take a report: write it if it is due, else hold it until `flush` or the next one."""
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
        """Write the last report of every phase (that has ended), where it was held back."""
        with self._lock:
            for phase, (report, has_ended) in list(self._held.items()):
                if has_ended or not only_ended:
                    del self._held[phase]
                    self._write(report)

    def drop(self) -> None:
        """Forget all phases and what was held back of them."""
        with self._lock:
            self._held.clear()
            self._written.clear()
            self._ended.clear()


class UsageLog:
    """Writes what the engine says to `events.jsonl`, and passes it on to the observer.

    The engine, and so a method, holds this: it leads to no data. No request is lost because a line
    of it cannot be written: that the disk is full, the store says.
    """

    def __init__(self, events: EventLog, observer: Observer) -> None:
        self._events = events
        self._observer = observer
        self._cadence = Cadence[dict[str, Any]](self._write, USAGE_EVERY_S)

    def asking(self, status: "Status") -> None:
        """Take how far a phase is; called from the engine's thread."""
        self._observer.asking(status)
        self._cadence.tell(status.phase, usage_row(status), is_end=is_done(status))

    def notice(self, message: str) -> None:
        """Take what the user should know."""
        with contextlib.suppress(OSError):
            self._events.write("notice", message=message)
        self._observer.warn(message)

    def flush(self) -> None:
        """Write where each phase is, before something else happens."""
        self._cadence.flush()

    def _write(self, row: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._events.write("usage", **row)


def is_done(status: "Status") -> bool:
    """Say whether this is the last word on a phase, as far as its total is known."""
    return status.total is not None and status.done >= status.total


def usage_row(status: "Status") -> dict[str, Any]:
    """Return what a `usage` line says; a copy, for the usage goes on changing."""
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
