"""Calls in a thread that can be stopped, as Ctrl-C stops a call in the main thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_stop: ContextVar["Future[None] | None"] = ContextVar("stop", default=None)
"""Done once the call that runs in this context is to stop; None: it cannot be stopped."""


async def call_in_thread(call: Callable[[], T]) -> T:
    """Make a call in a thread, and return its result.

    Cancelling interrupts the call at its next `check_stop` or `result_of`, and waits until it has
    ended; a second cancelling does not wait.
    """
    stop: Future[None] = Future()
    context = copy_context()
    context.run(_stop.set, stop)
    work = asyncio.get_running_loop().run_in_executor(None, context.run, call)
    work.add_done_callback(_retrieve)
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError as cancelled:
        stop.set_result(None)
        await asyncio.wait([work])
        raise cancelled from work.exception()
    return work.result()


def _retrieve(work: "asyncio.Future[Any]") -> None:
    """Take note of an error, which nobody else does of a cancelled call."""
    if not work.cancelled():
        work.exception()


def check_stop() -> None:
    """Do nothing, unless this call is to stop.

    Raises:
        KeyboardInterrupt: It is.
    """
    stop = _stop.get()
    if stop is not None and stop.done():
        raise KeyboardInterrupt


def result_of(future: "Future[T]") -> T:
    """Wait for a future and return its result.

    Raises:
        KeyboardInterrupt: This call is to stop, and there is no result yet.
    """
    stop = _stop.get()
    if stop is not None:
        either: list[Future[Any]] = [future, stop]
        wait(either, return_when=FIRST_COMPLETED)
        if not future.done():
            raise KeyboardInterrupt
    return future.result()
