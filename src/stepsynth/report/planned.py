"""The section of a report that compares planned and actual usage."""

from collections.abc import Callable, Mapping
from typing import Any

from stepsynth._util.words import amount, whole
from stepsynth.runner import compare_with_plan


def planned_section(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the template's data from `plan.json`; None without a plan.

    Returns:
        `rows`: phase, what is counted (requests, tokens, USD, minutes), planned, used and error;
        `from_store`: completions that the store had already; `assumptions`, `limits`.
    """
    planned, used = plan.get("planned"), plan.get("used")
    if not planned or not used:
        return None
    return {
        "rows": [
            [row["phase"], key.replace("_", " ").replace("usd", "USD"), *_cells(row[key], write)]
            for row in compare_with_plan(planned, used)
            for key, write in _COUNTED.items()
            if row[key]["planned"] is not None or row[key]["used"] is not None
        ],
        "from_store": used["from_store"],
        "assumptions": planned["assumptions"],
        "limits": planned["limits"],
    }


def _cells(cell: Mapping[str, Any], write: Callable[[float], str]) -> list[str]:
    planned, used, error = cell["planned"], cell["used"], cell["error"]
    low_high = "–" if planned is None else _range(planned, write)
    return [
        low_high,
        "–" if used is None else write(used),
        "–" if error is None else f"{100 * error:+.0f} %",
    ]


def _range(planned: Mapping[str, float], write: Callable[[float], str]) -> str:
    low, expected, high = (write(planned[name]) for name in ("low", "expected", "high"))
    return expected if low == high else f"{expected} ({low} – {high})"


_COUNTED: Mapping[str, Callable[[float], str]] = {
    "requests": whole,
    "prompt_tokens": whole,
    "completion_tokens": whole,
    "usd": amount,
    "minutes": amount,
}
