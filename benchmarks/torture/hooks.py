"""What `hook/sitecustomize.py` is told to do within a command, as the value of TORTURE."""

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
    """Send a signal to the first processes that come to a place in the code.

    Args:
        where: A part of a file's path, and a function's name or "".
        marks: Where those that have had it are noted.
        signal: Its name; SIGINT goes to all processes of the command.
        after_s: How long after it was seen there.
        times: How many processes have it.
    """
    return {
        "where": where,
        "marks": str(marks),
        "signal": signal,
        "after_s": after_s,
        "times": times,
    }


def before_write(n: int, under: Path, marks: Path, *, signal: str = "SIGKILL") -> Order:
    """Send a signal before the n-th change of a file of a folder."""
    return {"write": n, "under": str(under), "marks": str(marks), "signal": signal, "times": 1}


def clock(by_s: float, after: int = 0) -> Order:
    """Set the clock by so much, once it was read so many times."""
    return {"clock": [by_s, after]}


def names_lost(first: int, last: int) -> Order:
    """Have hosts not be found, from one look-up to another one."""
    return {"names": [first, last]}


def environment(orders: list[Order], path: str) -> dict[str, str]:
    """Return the variables that carry orders, given the PYTHONPATH so far."""
    return {"TORTURE": json.dumps(orders), "PYTHONPATH": f"{HOOK}:{path}" if path else str(HOOK)}
