"""Where the runs of a comparison are done: in this process, or each in one that may be killed.

Both are a `concurrent.futures.Executor`. A future that ends with `BrokenExecutor` is one whose
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
"""How long a process outlives its parent: answers that are on their way are paid for."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Pool(Executor):
    """Does jobs; this one at once, in this process."""

    can_start = True
    """Whether any process ever came so far as to take a job."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a future that is done."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future

    def stop(self) -> None:
        """Have jobs end as after Ctrl-C."""

    def kill(self) -> None:
        """End jobs as they are: all that was paid for is on disk."""


class Processes(Pool):
    """Does each job in a process; they are used again, stop when told to, and end with this one.

    A pool of several processes ends as a whole when one of them is killed, and does not say whose
    job that one had. So each process is a pool of its own. It holds one end of a pipe, and waits
    for the other one to be closed: by us, or with us.

    Args:
        jobs: How many at once, to share the cores out.
    """

    def __init__(self, jobs: int) -> None:
        with holding_ctrl_c():  # it would let Ctrl-C through to the first process
            resource_tracker.ensure_running()
        self._context = multiprocessing.get_context("spawn")
        self._reader, self._writer = self._context.Pipe(duplex=False)
        # No lock, such as an event has: a process that is killed would keep it.
        self._born, self._bearer = self._context.Pipe(duplex=False)
        self._pools: list[ProcessPoolExecutor] = []
        self._idle: list[ProcessPoolExecutor] = []
        each = str(max(1, (os.cpu_count() or 1) // jobs))
        self._added = [name for name in _THREADS if name not in os.environ]
        os.environ.update(dict.fromkeys(self._added, each))

    @property
    def can_start(self) -> bool:
        """Whether any process ever came so far as to take a job."""
        return self._born.poll()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a process that is idle, or a new one, call a function."""
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
        """Have jobs end as after Ctrl-C."""
        self._writer.close()

    def kill(self) -> None:
        """End jobs as they are: all that was paid for is on disk."""
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


class _Job:
    """Whether this process is at work, and whether it was told to stop."""

    def __init__(self) -> None:
        self.has_ended = threading.Event()
        self.has_ended.set()
        self.is_to_stop = False

    def is_to_end(self) -> bool:
        """Say whether there is a job, and it is to stop."""
        return self.is_to_stop and not self.has_ended.is_set()


_job = _Job()


@contextmanager
def at_work() -> Generator[None]:
    """Mark that this process works on a job, so that there is something to stop.

    Raises:
        KeyboardInterrupt: It was told to stop; before it began, perhaps.
    """
    _job.has_ended.clear()
    try:
        if _job.is_to_end():
            raise KeyboardInterrupt
        yield
    finally:
        _job.has_ended.set()


def _start_worker(reader: Connection, born: Connection) -> None:
    """Prepare a process: Ctrl-C is the parent's, who tells it when to stop."""

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
