"""Pools of this machine: this process, or worker processes that may be killed.

A pool is a `concurrent.futures.Executor`. A future that ends with `BrokenExecutor` means that its
process has died.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from stepsynth._util.interrupts import holding_ctrl_c, interrupt_on, wake_main_thread

GRACE_S = 12.0
"""Seconds that a worker may outlive its parent: answers in flight are paid for."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerLostError(BrokenExecutor):
    """The worker of a job has died.

    Args:
        message: What is known of it.
        deaths: How many workers of the job have.
    """

    def __init__(self, message: str, *, deaths: int = 1) -> None:
        super().__init__(message)
        self.deaths = deaths


class Pool(Executor):
    """Pool that does each job at once, in this process."""

    is_here = True
    """Whether jobs are done in this process, and see its objects."""

    can_start = True
    """Whether any process has ever been ready for a job."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function and return its finished future."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future

    def stop(self) -> None:
        """Stop the jobs as Ctrl-C would."""

    def kill(self) -> None:
        """Kill the jobs; all paid answers are on disk."""


class Processes(Pool):
    """Pool of worker processes that are reused, stop on request, and end with this process.

    A `ProcessPoolExecutor` breaks as a whole when one of its processes is killed, and does not
    tell whose job was lost. So each worker is a pool of its own. It watches one end of a pipe,
    whose other end is closed by `stop` or by the end of this process.

    Args:
        jobs: Number of jobs at once, which share the cores.
        threads: Cores of a job; None: an equal share.
    """

    is_here = False

    def __init__(self, jobs: int, *, threads: int | None = None) -> None:
        with holding_ctrl_c():  # started later, it would let Ctrl-C reach the first worker
            resource_tracker.ensure_running()
        self._context = multiprocessing.get_context("spawn")
        self._reader, self._writer = self._context.Pipe(duplex=False)
        # Not an event: a killed process would keep its lock.
        self._born, self._bearer = self._context.Pipe(duplex=False)
        self._pools: list[ProcessPoolExecutor] = []
        self._idle: list[ProcessPoolExecutor] = []
        each = str(threads or max(1, cores() // jobs))
        self._added = [name for name in _THREADS if name not in os.environ]
        os.environ.update(dict.fromkeys(self._added, each))

    @property
    def can_start(self) -> bool:
        """Whether any process has ever been ready for a job."""
        return self._born.poll()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function in an idle process, or in a new one."""
        with holding_ctrl_c():
            pool = self._idle.pop() if self._idle else self._add()
            try:
                future = pool.submit(fn, *args, **kwargs)
            except BrokenExecutor:  # its process was killed, or had no memory to start
                pool = self._add()
                future = pool.submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: self._idle.append(pool))
        return future

    def stop(self) -> None:
        """Stop the jobs as Ctrl-C would."""
        self._writer.close()

    def kill(self) -> None:
        """Kill the jobs; all paid answers are on disk."""
        for pool in self._pools:
            for process in list(pool._processes.values()):
                process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the processes, and wait until they have ended."""
        self.stop()
        for pool in self._pools:
            pool.shutdown(wait, cancel_futures=cancel_futures)
        for name in self._added:
            os.environ.pop(name, None)
        for end in (self._reader, self._born, self._bearer):
            end.close()

    def _add(self) -> ProcessPoolExecutor:
        shared = self._reader, self._bearer
        self._pools.append(ProcessPoolExecutor(1, self._context, _start_worker, shared))
        return self._pools[-1]


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Job:
    """State of this worker: whether it has a job, and whether it was told to stop."""

    def __init__(self) -> None:
        self.has_ended = threading.Event()
        self.has_ended.set()
        self.is_to_stop = False

    def is_to_end(self) -> bool:
        """Return whether there is a job that has to stop."""
        return self.is_to_stop and not self.has_ended.is_set()


_job = _Job()


@contextmanager
def at_work() -> Generator[None]:
    """Mark this process as working on a job, so that a stop interrupts it.

    Raises:
        KeyboardInterrupt: The process was told to stop, possibly before the job began.
    """
    _job.has_ended.clear()
    try:
        if _job.is_to_end():
            raise KeyboardInterrupt
        yield
    finally:
        _job.has_ended.set()


def _start_worker(reader: Connection, born: Connection) -> None:
    """Prepare a worker, which ignores Ctrl-C: its parent tells it when to stop."""

    def watch() -> None:
        try:
            reader.recv()
        except (EOFError, OSError):
            _job.is_to_stop = True
            if hasattr(signal, "SIGUSR1"):
                wake_main_thread(signal.SIGUSR1)
            parent = multiprocessing.parent_process()
            assert parent is not None
            parent.join()
            _job.has_ended.wait(GRACE_S)
            os._exit(130)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        interrupt_on(signal.SIGUSR1, _job.is_to_end)
    threading.Thread(target=watch, daemon=True).start()
    born.send_bytes(b"1")
