"""Decisions on gold rows that an audit doubts: a file that a person edits and later commands read.

Each row has a gold row's `text`, `label` and, for pairs, `context`, and a `decision`: "" or "keep"
(nothing changes), "drop" (the row is left out), or another label (the row gets it).
Texts and labels are read as those of gold are: a spreadsheet makes TRUE of a label true.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from stepsynth._util.text import clean
from stepsynth.data.bad_rows import BadRow
from stepsynth.data.files import rows_of_file
from stepsynth.errors import DataError
from stepsynth.records import Dataset, Example
from stepsynth.tasks.classification import label_text

KEEP, DROP = "keep", "drop"

Named = tuple[str, str | None, str]


def check_label_names(label_names: Sequence[str]) -> None:
    """Check that no label is a decision.

    Raises:
        DataError: One is "keep" or "drop".
    """
    if taken := {KEEP, DROP}.intersection(label_names):
        raise DataError(
            f"the label {min(taken)!r} cannot be told from the decision of that name",
            hint="give the label another name, or correct the gold file by hand",
        )


def read_decisions(
    path: str, label_names: Sequence[str], encoding: str | None = None
) -> dict[Named, str]:
    """Return the decisions of a file other than to keep, by the row's text, context and label.

    Args:
        path: The file, in any format that gold may have.
        label_names: The labels that a row may get.
        encoding: Its encoding, if it is not UTF-8.

    Raises:
        DataError: The file cannot be read, a line of it is no decision, or two contradict.
    """
    check_label_names(label_names)
    found: dict[Named, str] = {}
    places: dict[Named, str] = {}
    for at, row in rows_of_file(path, encoding=encoding):
        place = f"{path}, {at}"
        key, decision = _parse(row, place, label_names)
        if key in places and found.get(key, KEEP) != decision:
            raise DataError(
                f"{place}: the decision is {decision!r}, but {found.get(key, KEEP)!r} for the same "
                f"row in {places[key]}",
                hint="leave one of the two lines",
            )
        places[key] = at
        if decision != KEEP:
            found[key] = decision
    return found


def _parse(row: Any, place: str, label_names: Sequence[str]) -> tuple[Named, str]:
    hint = '{"text": ..., "label": ..., "decision": "keep", "drop" or a label}'
    if isinstance(row, BadRow):
        raise DataError(f"{place}: not a decision: {row.message}", hint=hint)
    if not isinstance(row, Mapping) or not {"text", "label", "decision"} <= row.keys():
        raise DataError(f"{place}: not a decision: text, label or decision is missing", hint=hint)
    text, context, label = row["text"], row.get("context") or None, label_text(row["label"])
    if not isinstance(text, str) or not isinstance(context, str | None):
        raise DataError(f"{place}: not a decision: the text or context is no text", hint=hint)
    decision = label_text(row["decision"]) or KEEP
    if decision not in (KEEP, DROP, *label_names):
        raise DataError(
            f"{place}: the decision is {decision!r}",
            hint=f"keep, drop, or one of the labels: {', '.join(label_names)}",
        )
    key = clean(text), context and clean(context), label
    # The row's own label says the same as "keep".
    return key, KEEP if decision == label else decision


def apply_decisions(
    parts: Sequence[Dataset], decisions: Mapping[Named, str], warn: Callable[[str], None]
) -> list[Dataset]:
    """Return parts of gold without the rows that are dropped, and with corrected labels."""
    used: list[Named] = []

    def decide(row: Example) -> Iterator[Example]:
        key = row.text, row.context, str(row.label)
        decision = decisions.get(key)
        if decision is None:
            yield row
            return
        used.append(key)
        if decision != DROP:
            yield replace(row, label=decision)

    decided = [Dataset(chain.from_iterable(map(decide, rows))) for rows in parts]
    dropped = sum(decisions[key] == DROP for key in used)
    unused = len(decisions) - len(set(used))
    told = f"data.decisions: gold rows dropped {dropped}, relabelled {len(used) - dropped}"
    warn(told + (f"; {unused} decisions are about no row of mine or select" if unused else ""))
    return decided
