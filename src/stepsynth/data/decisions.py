"""Decisions on gold rows that an audit doubts: a file that a person edits and later commands read.

Each line is a JSON object with a row's `text`, `label` and, for pairs, `context`, and a `decision`:
"" or "keep" (nothing changes), "drop" (the row is left out), or another label (the row gets it).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from stepsynth.errors import DataError
from stepsynth.records import Dataset, Example

KEEP, DROP = "keep", "drop"

Named = tuple[str, str | None, str]


def read_decisions(path: str, label_names: Sequence[str]) -> dict[Named, str]:
    """Return the decisions of a file other than to keep, by the row's text, context and label.

    Raises:
        DataError: The file cannot be read, or a line of it is no decision.
    """
    found: dict[Named, str] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(
            f"data.decisions: {path} cannot be read: {error}",
            hint="stepsynth audit writes such a file; remove the key to do without",
        ) from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            key, decision = _parse(line, f"{path}, line {number}", label_names)
            if decision not in ("", KEEP, key[2]):
                found[key] = decision
    return found


def _parse(line: str, place: str, label_names: Sequence[str]) -> tuple[Named, str]:
    try:
        row: Any = json.loads(line)
        key = row["text"], row.get("context"), row["label"]
        decision = row.get("decision") or ""
        if not all(isinstance(each, str) for each in (*key, decision) if each is not None):
            raise ValueError("a value is not a text")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{place}: not a decision: {error!r}",
            hint='{"text": ..., "label": ..., "decision": "keep", "drop" or a label}',
        ) from error
    if decision not in ("", KEEP, DROP, *label_names):
        raise DataError(
            f"{place}: the decision is {decision!r}",
            hint=f"keep, drop, or one of the labels: {', '.join(label_names)}",
        )
    return key, decision


def apply_decisions(
    parts: Sequence[Dataset], decisions: dict[Named, str], warn: Callable[[str], None]
) -> list[Dataset]:
    """Return parts of gold without the rows that are dropped, and with corrected labels."""
    used: set[Named] = set()

    def decide(row: Example) -> Iterator[Example]:
        key = row.text, row.context, str(row.label)
        decision = decisions.get(key)
        if decision is None:
            yield row
            return
        used.add(key)
        if decision != DROP:
            yield replace(row, label=decision)

    decided = [Dataset(chain.from_iterable(map(decide, rows))) for rows in parts]
    dropped = sum(map(len, parts)) - sum(map(len, decided))
    relabelled = sum(decisions[key] != DROP for key in used)
    unused = len(decisions) - len(used)
    told = f"data.decisions: gold rows dropped {dropped}, relabelled {relabelled}"
    warn(told + (f"; {unused} decisions are about no gold row" if unused else ""))
    return decided
