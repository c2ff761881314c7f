"""The orders to `hook/sitecustomize.py` within a command, as the value of TORTURE."""

import json
from pathlib import Path
from typing import Any

HOOK = Path(__file__).parent / "hook"

TRAINING = ("stepsynth/students/", "fit")
SEARCH = ("stepsynth/students/_search.py", "run_search")
SCORING = ("stepsynth/runner/runner.py", "_score_test")
REPORT = ("stepsynth/report/", "")
PAGE = ("stepsynth/report/compare_page.py", "")

Order = dict[str, Any]


def at(
    where: tuple[str, str],
    marks: Path,
    *,
    signal: str = "SIGKILL",
    after_s: float = 0.0,
    times: int = 1,
) -> Order:
    """Send a signal to the first processes that reach a place in the code.

    Args:
        where: A part of a file's path, and a function's name or "".
        marks: Path at which the signalled processes are recorded.
        signal: Name of the signal; SIGINT goes to all processes of the command.
        after_s: Seconds between reaching the place and the signal.
        times: Number of processes that get the signal.
    """
    return {
        "where": where,
        "marks": str(marks),
        "signal": signal,
        "after_s": after_s,
        "times": times,
    }


def before_write(n: int, under: Path, marks: Path, *, signal: str = "SIGKILL") -> Order:
    """Send a signal before the n-th change of a file in a folder."""
    return {"write": n, "under": str(under), "marks": str(marks), "signal": signal, "times": 1}


def clock(by_s: float, after: int = 0) -> Order:
    """Shift the clock by `by_s` seconds, once it was read `after` times."""
    return {"clock": [by_s, after]}


def names_lost(first: int, last: int) -> Order:
    """Make host look-ups fail, from the `first` to the `last`."""
    return {"names": [first, last]}


def environment(orders: list[Order], path: str) -> dict[str, str]:
    """Return the environment variables for orders, given the present PYTHONPATH."""
    return {"TORTURE": json.dumps(orders), "PYTHONPATH": f"{HOOK}:{path}" if path else str(HOOK)}
