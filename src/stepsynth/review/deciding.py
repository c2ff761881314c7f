"""Decisions made of what a reviewer asks for, and the file of those on gold rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from stepsynth._util.files import write_jsonl
from stepsynth._util.text import clean, clean_answer, is_blank
from stepsynth.data import check_label_names
from stepsynth.errors import DataError
from stepsynth.records import Example, LabelSet
from stepsynth.review.decisions import Data, Decision, History, Version, What
from stepsynth.review.page import current
from stepsynth.review.table import Table

MOST_WHY = 500
"""Characters of a reason."""
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class BadRequestError(ValueError):
    """A request that cannot be meant: what was expected."""


def find(given: Mapping[str, Any], table: Table) -> tuple[Data, str, Example]:
    """Return the row that a request is about: its kind, its id and itself.

    Raises:
        BadRequestError: There is no such row.
    """
    data, name = given.get("data"), given.get("row")
    if data not in ("synthetic", "gold") or not isinstance(name, str):
        raise BadRequestError('expected "data" (synthetic or gold) and "row"')
    found = table.example(data, name)
    if found is None:
        raise BadRequestError("this run has no such row")
    return data, name, found


def decide(given: Mapping[str, Any], table: Table, history: History) -> Sequence[Decision]:
    """Return the decisions that a request asks for; of a repeated request those that it made.

    Args:
        given: `id`, `data`, `row`, `what`; `label` of a relabel, `text` of an edit; `why`; `same`:
            also for the other rows of its errors.
        table: The rows of the run.
        history: The decisions so far.

    Raises:
        BadRequestError: It cannot be meant.
    """
    name = _id(given.get("id"))
    if known := history.of_id(name):
        return known
    data, row, example = find(given, table)
    rows = {row: example}
    if given.get("same"):
        if data == "gold" or given.get("what") == "edit":
            raise BadRequestError("only keep, reject and relabel go for the other rows of an error")
        rows |= {each.id: each.example for each in table.siblings(row)}
    if data == "gold":
        _check_gold(table)
    time, why = datetime.now(UTC).isoformat(timespec="milliseconds"), _why(given.get("why"))
    return [
        Decision(
            id=name,
            time=time,
            data=data,
            row=key,
            what=cast("What", given.get("what")),
            before=before,
            after=_after(given, each, before, table.labels, is_gold=data == "gold"),
            why=why,
        )
        for key, each in rows.items()
        for before in [_version(each, history.on(data, key))]
    ]


def undo(given: Mapping[str, Any], history: History) -> Sequence[Decision]:
    """Return the decisions that undo the last one that counts, on each of its rows.

    Args:
        given: `id`; `undoes`, the id of a decision, in place of the last one.
        history: The decisions so far.

    Raises:
        BadRequestError: There is nothing to undo.
    """
    name = _id(given.get("id"))
    if known := history.of_id(name):
        return known
    undone = given.get("undoes", history.last)
    made = history.of_id(undone) if isinstance(undone, str) else []
    if not made or made[0].what == "undo":
        raise BadRequestError("there is nothing to undo")
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return [
        Decision(id=name, time=time, data=d.data, row=d.row, what="undo", undoes=undone)
        for d in made
    ]


def check_text(value: Any) -> str:
    """Return a text that a reviewer wrote, in the form of the run's own texts.

    Control characters, which come with what is pasted, are left out as from an LLM's answer: there
    is nobody to correct them by the time that a decision is read.

    Raises:
        BadRequestError: It is empty.
    """
    text = clean_answer(value) if isinstance(value, str) else ""
    if is_blank(text):
        raise BadRequestError("an edited text must not be empty")
    return text


def write_gold_decisions(path: Path, table: Table, history: History) -> None:
    """Write the decisions on gold rows as `data.decisions` takes them; none: no file."""
    lines = list(_gold_lines(table, history))
    if lines:
        write_jsonl(path, lines)
    else:
        path.unlink(missing_ok=True)


def _gold_lines(table: Table, history: History) -> Iterator[dict[str, Any]]:
    for name, row in table.gold.items():
        made = history.on("gold", name)
        if made is None:
            continue
        context = {} if row.context is None else {"context": row.context}
        yield {
            "text": row.text,
            **context,
            "label": str(row.label),
            "kind": "review",
            "reason": made.why,
            "decision": {"keep": "keep", "reject": "drop"}.get(made.what)
            or cast("Version", made.after).label,
        }


def _after(
    given: Mapping[str, Any],
    row: Example,
    before: Version,
    labels: Sequence[str],
    *,
    is_gold: bool,
) -> Version | None:
    """Return a row after what is asked for; None: it is left out."""
    what = given.get("what")
    if what == "keep":
        return Version.of(row)
    if what == "reject":
        return None
    if what == "relabel":
        if given.get("label") not in labels:
            raise BadRequestError("this is no label of the task")
        return before.model_copy(update={"label": given["label"]})
    if what == "edit" and not is_gold:
        return before.model_copy(update={"text": check_text(given.get("text"))})
    raise BadRequestError("expected keep, relabel, reject, or edit of a synthetic row")


def _version(row: Example, made: Decision | None) -> Version:
    text, label, _ = current(row, made)
    return Version(text=text, label=label)


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise BadRequestError('expected "id", 8 to 64 letters, digits, - or _')
    return value


def _why(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MOST_WHY:
        raise BadRequestError(f"a reason is a text of at most {MOST_WHY} characters")
    return clean(value).strip()


def _check_gold(table: Table) -> None:
    if any(isinstance(gold.label, LabelSet) for gold in table.gold.values()):
        raise BadRequestError("gold rows of sets of labels cannot be decided on: correct the file")
    try:
        check_label_names(table.labels)
    except DataError as error:
        raise BadRequestError(f"gold rows cannot be decided on: {error.message}") from error
