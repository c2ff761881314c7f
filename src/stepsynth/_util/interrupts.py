"""Ctrl-C at moments at which Python loses it, or makes a mess of it."""

import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 0.05
_CAN_WAIT = hasattr(signal, "setitimer")


def interrupt_on(number: signal.Signals, is_wanted: Callable[[], bool] = lambda: True) -> None:
    """Raise KeyboardInterrupt when a signal comes, but where it is not lost.

    While a module is imported it waits: libraries try imports and go on whatever is raised there,
    and a half-imported module is of no use to who goes on. A second signal does not wait. What
    comes within a destructor or a weak reference's callback, where nothing can be raised, is
    raised after it.

    Args:
        number: The signal; one that is ignored stays so.
        is_wanted: Whether there is anything to interrupt.
    """
    if signal.getsignal(number) is signal.SIG_IGN:
        return
    handler = _Handler(number, is_wanted)
    signal.signal(number, handler)
    if _CAN_WAIT:  # no thread: one that is started here may wait for a lock of what was cut off
        signal.signal(signal.SIGALRM, handler)
        sys.unraisablehook = handler.take_unraisable


@contextmanager
def holding_ctrl_c() -> Generator[None]:
    """Hold Ctrl-C back until the block is done; processes that are started in it never see one.

    A process that is cut off while it starts another one leaves half of that behind. And a
    process that is starting has no handler of its own yet, but gets every Ctrl-C of its terminal.

    Raises:
        KeyboardInterrupt: At the end, if it came meanwhile.
    """
    came: list[int] = []
    before = _handlers() if threading.current_thread() is threading.main_thread() else {}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    masked: set[int | signal.Signals] | None = None
    if hasattr(signal, "pthread_sigmask"):
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if masked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def wake_main_thread(number: signal.Signals) -> None:
    """Send a signal to the main thread, whatever that waits for."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)


_Handle = Callable[[int, FrameType | None], object]


class _Handler:
    """Raises KeyboardInterrupt, or has an alarm ring when it could not."""

    def __init__(self, number: signal.Signals, is_wanted: Callable[[], bool]) -> None:
        self.number = number
        self.is_wanted = is_wanted
        self.is_waiting = False

    def __call__(self, came: int, frame: FrameType | None) -> None:
        is_first = came != self.number or not self.is_waiting
        self.is_waiting = _CAN_WAIT and is_first and _is_importing(frame)
        if self.is_waiting:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        elif self.is_wanted():
            raise KeyboardInterrupt

    def take_unraisable(self, caught: "sys.UnraisableHookArgs") -> None:
        """Have raised again what was raised in vain."""
        if issubclass(caught.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        else:
            sys.__unraisablehook__(caught)


def _handlers() -> dict[int, _Handle | int]:
    """Return who takes Ctrl-C now, by the signals that it may come as."""
    numbers = [signal.SIGINT, *([signal.SIGALRM] if _CAN_WAIT else [])]
    found = {number: signal.getsignal(number) for number in numbers}
    return {
        number: handler
        for number, handler in found.items()
        if handler is not None and (number == signal.SIGINT or isinstance(handler, _Handler))
    }


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
