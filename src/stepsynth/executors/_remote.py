"""Jobs on other machines: each in a process of its own there, at the orders of a file.

The coordinator, the process that started the comparison, writes a file of orders into its folder
every two seconds. A worker stops its job as Ctrl-C would once the orders say so, once they are
another coordinator's, or once nobody has written them for half a minute. So a coordinator that is
killed leaves nothing running, and needs no connection to any worker.
"""

import os
import sys
import threading
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from socket import gethostname
from typing import Any

from stepsynth._util.files import write_text
from stepsynth.errors import ConfigError, RunFolderError
from stepsynth.executors._pool import GRACE_S, Pool, Processes, WorkerLostError

BEAT_S, STALE_S, POLL_S = 2.0, 30.0, 0.5
"""Seconds between two orders; without new ones, until a worker stops; between two looks at them."""
VERSION_PARTS = ("stepsynth", "Python")


@dataclass(frozen=True)
class Orders:
    """What a worker is told with a job.

    Attributes:
        path: The coordinator's file of orders.
        token: Names the coordinator in it.
        versions: Of stepsynth and Python, where the coordinator runs.
        cwd: Folder that relative paths are relative to.
        threads: Cores of a job; None: all.
    """

    path: Path
    token: str
    versions: tuple[str, str]
    cwd: str
    threads: int | None


class RemotePool(Pool):
    """Pool of workers on other machines.

    Args:
        folder: Folder of the comparison; it must be seen by all machines.
        threads: Cores of a job.
        lost: Errors of the library that mean that a job's worker has died.

    Raises:
        RunFolderError: Another process is working on the comparison.
    """

    is_here = False

    def __init__(
        self, folder: Path, *, threads: int | None, lost: tuple[type[BaseException], ...]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = (folder / ".orders").absolute()
        self._lost = lost
        self._orders = Orders(path, uuid.uuid4().hex, versions(), os.getcwd(), threads)
        self._open: dict[Future[Any], Future[Any]] = {}
        _wait_for_others(path)
        self._is_stopped = threading.Event()
        self._has_ended = threading.Event()
        self._write(0)
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._beats.start()

    @abstractmethod
    def send(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have a worker call a function."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a worker do a job; the future fails with `WorkerLostError` if that dies."""
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        inner = self.send(obey, self._orders, fn, args)
        self._open[outer] = inner
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        return outer

    def stop(self) -> None:
        """Stop the jobs as Ctrl-C would; those that have not begun by then are given up."""
        if not self._is_stopped.is_set():
            self._is_stopped.set()
            with suppress(OSError, RunFolderError):  # the beat tries again
                self._write(-1)
            timer = threading.Timer(GRACE_S, self.kill)
            timer.daemon = True
            timer.start()

    def kill(self) -> None:
        """Give up the jobs; all paid answers are on disk, and their workers stop by themselves."""
        for outer, inner in list(self._open.items()):
            inner.cancel()
            self._end(outer, WorkerLostError("it was given up"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the jobs, wait for them, and let go of the workers."""
        self.stop()
        if wait and self._open:
            wait_for(list(self._open), timeout=GRACE_S)
        self.kill()
        self._has_ended.set()
        self._beats.join()
        self._orders.path.unlink(missing_ok=True)

    def _pass_on(self, inner: Future[Any], outer: Future[Any]) -> None:
        try:
            result = inner.result()
        except CancelledError as error:
            self._end(outer, WorkerLostError(f"its worker gave it up: {error}"))
        except ModuleNotFoundError as error:
            lacking = ConfigError(
                f"a worker lacks a package: {error}",
                hint="install the same stepsynth where the workers run",
            )
            self._end(outer, lacking)
        except BaseException as error:
            is_lost = isinstance(error, self._lost)
            self._end(outer, self.explain_loss(error) if is_lost else error)
        else:
            self._open.pop(outer, None)
            with suppress(InvalidStateError):  # it was given up meanwhile
                outer.set_result(result)

    def _end(self, outer: Future[Any], error: BaseException) -> None:
        self._open.pop(outer, None)
        with suppress(InvalidStateError):
            outer.set_exception(error)

    def explain_loss(self, error: BaseException) -> WorkerLostError:
        """Return the error for a job whose worker has died."""
        return WorkerLostError(str(error))

    def _beat(self) -> None:
        number = 0
        while not self._has_ended.wait(BEAT_S):
            number += 1
            # A disk that is full for a moment: workers wait half a minute for new orders.
            with suppress(OSError, RunFolderError):
                self._write(-1 if self._is_stopped.is_set() else number)

    def _write(self, number: int) -> None:
        write_text(self._orders.path, f"{self._orders.token} {number}\n")


def obey(orders: Orders, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Do a job in a child process of this worker, as long as the orders last.

    Raises:
        ConfigError: This worker has another version, or does not see the comparison's folder.
        BrokenExecutor: The child was killed.
    """
    where = f"the worker on {gethostname()}"
    if versions() != orders.versions:
        named = [
            f"{part} {there}, and the coordinator {here}"
            for part, there, here in zip(VERSION_PARTS, versions(), orders.versions, strict=True)
            if there != here
        ]
        raise ConfigError(f"{where} has {'; '.join(named)}", hint="install the same versions")
    if not _read(orders.path).startswith(orders.token):
        raise ConfigError(
            f"{where} does not see {orders.path}, or sees an old one",
            hint="the folder (--out) must be on a disk that all workers share",
        )
    # Workers of some clusters are daemons, which may have no children; ours ends with its parent.
    current_process().daemon = False
    with Processes(1, threads=orders.threads) as pool:
        future = pool.submit(_call_in, orders.cwd, fn, args)
        _watch(orders, future)
        pool.stop()
        if not wait_for([future], timeout=GRACE_S).done:
            pool.kill()
        return future.result()


def _watch(orders: Orders, future: Future[Any]) -> None:
    """Return once the job is done, or has to stop."""
    last, since = "", time.monotonic()
    while not future.done():
        wait_for([future], timeout=POLL_S)
        said = _read(orders.path)
        if said != last:
            last, since = said, time.monotonic()
        is_over = not said.startswith(orders.token) or said.endswith(" -1")
        is_gone = not said and not orders.path.exists()
        if time.monotonic() - since > (2 * BEAT_S if is_gone else STALE_S) or (said and is_over):
            return


def _call_in(cwd: str, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    if Path(cwd).is_dir():
        os.chdir(cwd)
    return fn(*args)


def _read(path: Path) -> str:
    """Return the orders; "" if there are none, or they are being written."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _wait_for_others(path: Path) -> None:
    """Wait until the jobs of a coordinator that was killed have stopped.

    Raises:
        RunFolderError: It goes on.
    """
    if not (before := _read(path)):
        return
    time.sleep(2 * BEAT_S + POLL_S)
    if _read(path) != before:
        raise RunFolderError(
            f"{path.parent}: another process is working on this comparison",
            hint="wait for it, stop it, or give another --out",
        )
    # Its jobs stop at the sight of other orders, and let answers in flight land.
    write_text(path, "none -1\n")
    time.sleep(GRACE_S)


def versions() -> tuple[str, str]:
    """Return the versions that must be the same everywhere: of stepsynth, and of Python."""
    from importlib.metadata import version

    return version("stepsynth"), ".".join(map(str, sys.version_info[:2]))
