"""Faults within a process of the bench; Python imports this module if it is on PYTHONPATH.

TORTURE holds the orders as JSON; see `benchmarks.torture.hooks`.
"""

import json
import os
import signal
import sys
import threading
import time
from typing import Any

_POLL_S = 0.003
_WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.truncate"}


def _strike(order: dict[str, Any]) -> None:
    """Send this process a signal, unless enough other processes have had it."""
    for number in range(order["times"]):
        try:
            os.close(os.open(f"{order['marks']}.{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        if order["signal"] == "SIGINT":
            os.killpg(0, signal.SIGINT)  # as a terminal does
        else:
            os.kill(os.getpid(), getattr(signal, order["signal"]))
        return


def _watch(order: dict[str, Any]) -> None:
    """Send the signal when the main thread reaches the place of the order."""
    part, name = order["where"]
    main = threading.main_thread().ident
    while main is not None:
        frame = sys._current_frames().get(main)
        while frame is not None:
            code = frame.f_code
            if part in code.co_filename and name in ("", code.co_name):
                time.sleep(order["after_s"])
                _strike(order)
                return
            frame = frame.f_back
        time.sleep(_POLL_S)


def _count_writes(order: dict[str, Any]) -> None:
    """Send the signal before the n-th change of a file in a folder."""
    under, left = order["under"], [order["write"]]

    def audit(event: str, args: tuple[Any, ...]) -> None:
        is_open = (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (is_open or event in _WRITES) and under in str(args[0]):
            left[0] -= 1
            if left[0] == 0:
                _strike(order)

    sys.addaudithook(audit)


def _shift_clock(by_s: float, after: int) -> None:
    """Shift the clock by `by_s` seconds, after it was read `after` times."""
    real, reads = time.time, [0]

    def shifted() -> float:
        reads[0] += 1
        return real() + (by_s if reads[0] > after else 0.0)

    time.time = shifted
    time.time_ns = lambda: int(shifted() * 1e9)


def _lose_names(first: int, last: int) -> None:
    """Make host look-ups fail, from the `first` to the `last`."""
    import socket

    real, calls = socket.getaddrinfo, [0]

    def lost(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if first <= calls[0] <= last:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(*args, **kwargs)

    socket.getaddrinfo = lost
    # uvloop resolves names in C, out of reach of this change.
    sys.modules["uvloop"] = None  # type: ignore[assignment]


def _main() -> None:
    orders: list[dict[str, Any]] = json.loads(os.environ.get("TORTURE", "[]"))
    if any("resource_tracker" in argument for argument in sys.orig_argv):
        return
    for order in orders:
        if "where" in order:
            threading.Thread(target=_watch, args=(order,), daemon=True).start()
        elif "write" in order:
            _count_writes(order)
        elif "clock" in order:
            _shift_clock(*order["clock"])
        else:
            _lose_names(*order["names"])


_main()
