"""Numbers as people read them, rows of Markdown tables, and options to paste into a shell."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_UNITS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


def whole(number: float) -> str:
    """Return a count with commas ("12,345")."""
    return f"{number:,.0f}"


def short(number: float) -> str:
    """Return a count in few characters ("950", "12k", "1.2M")."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.{number < 10 * size:d}f}{unit}"
    return f"{number:.0f}"


def amount(number: float) -> str:
    """Return USD or minutes without their unit ("0.00042", "3.20")."""
    return f"{number:.3g}" if number < 1 else f"{number:,.2f}"


def usd(number: float | None) -> str:
    """Return an amount in USD; None: not known."""
    return "cost not known" if number is None else f"{amount(number)} USD"


def duration(seconds: float) -> str:
    """Return a time in seconds or minutes."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} minutes"


def set_path(key: str, path: Path, around: str = "{}") -> str:
    """Return the option that sets a key to a path, to be pasted into a shell.

    Args:
        key: The key.
        path: The path.
        around: YAML, with {} where the path goes.
    """
    text = str(path)
    written = text if re.fullmatch(r"[\w./\\ -]+", text) else json.dumps(text, ensure_ascii=False)
    return f"--set {quote(f'{key}=' + around.replace('{}', written))}"


def set_replay(recording: Path) -> str:
    """Return the option that has a recording answer in place of an LLM."""
    return set_path("llm", recording.absolute(), "{backend: replay, recordings: [{}]}")


def listed(items: Sequence[str], most: int = 20) -> str:
    """Return items with commas between, and how many more there are ("a, b and 3 more")."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def alike(message: str) -> str:
    """Return a form of a message that is equal for messages that differ only in numbers."""
    return _NUMBER.sub("0", message)


def markdown_row(cells: Iterable[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(map(markdown, cells)) + " |"


def markdown(text: str) -> str:
    """Return a text on one line, escaped so that it is no markup and stays in its cell."""
    flat = " ".join(text.split())
    for mark in "\\|`<*_":
        flat = flat.replace(mark, "\\" + mark)
    return flat
