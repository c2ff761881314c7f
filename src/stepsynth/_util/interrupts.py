"""Handling of Ctrl-C at moments when Python would lose it or leave a half-done state."""

import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 0.05
_CAN_WAIT = hasattr(signal, "setitimer")


def interrupt_on(number: signal.Signals, is_wanted: Callable[[], bool] = lambda: True) -> None:
    """Raise KeyboardInterrupt on a signal, at a moment when it is not lost.

    During an import it waits: libraries try imports and ignore what is raised there, and a
    half-imported module is of no use. A second signal does not wait. In a destructor or a weak
    reference's callback, where nothing can be raised, it is raised afterwards.

    Args:
        number: The signal; an ignored one stays ignored.
        is_wanted: Whether there is anything to interrupt.
    """
    if signal.getsignal(number) is signal.SIG_IGN:
        return
    handler = _Handler(number, is_wanted)
    signal.signal(number, handler)
    if _CAN_WAIT:  # no thread: it might wait for a lock of the interrupted code
        signal.signal(signal.SIGALRM, handler)
        sys.unraisablehook = handler.take_unraisable


@contextmanager
def holding_ctrl_c() -> Generator[None]:
    """Hold Ctrl-C back until the block is done; processes that are started in it never see one.

    An interrupted process leaves the one that it was starting half-started. And a starting process
    has no handler of its own yet, but gets every Ctrl-C of its terminal.

    Raises:
        KeyboardInterrupt: At the end, if Ctrl-C came meanwhile.
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
    """Send a signal to the main thread, whatever it waits for."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, number)


_Handle = Callable[[int, FrameType | None], object]


class _Handler:
    """A handler that raises KeyboardInterrupt, or sets an alarm to try again."""

    def __init__(self, number: signal.Signals, is_wanted: Callable[[], bool]) -> None:
        self.number = number
        self.is_wanted = is_wanted
        self.is_due = False

    def __call__(self, came: int, frame: FrameType | None) -> None:
        is_alarm = came != self.number
        if is_alarm and not self.is_due:
            return  # a late one: what it was set for has been raised by a second signal
        is_first = is_alarm or not self.is_due
        if _CAN_WAIT and is_first and _is_importing(frame):
            self._try_again()
            return
        self.is_due = False
        if self.is_wanted():
            raise KeyboardInterrupt

    def take_unraisable(self, caught: "sys.UnraisableHookArgs") -> None:
        """Set an alarm to raise again a KeyboardInterrupt that was raised in vain."""
        if issubclass(caught.exc_type, KeyboardInterrupt):
            self._try_again()
        else:
            sys.__unraisablehook__(caught)

    def _try_again(self) -> None:
        self.is_due = True
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)


def _handlers() -> dict[int, _Handle | int]:
    """Return the handlers that take Ctrl-C now, by signal."""
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
