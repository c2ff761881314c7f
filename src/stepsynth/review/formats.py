"""Rows to and from the annotation tools Label Studio and Argilla, as files of theirs.

Three questions go with a row: `label`; `verdict`, keep or reject; `edited`, a better text. What
comes back is read strictly: a row that the run does not have, a label that the task does not have
or annotators who disagree are errors, and then nothing is taken.

Formats:
    Label Studio: https://labelstud.io/guide/predictions and https://labelstud.io/guide/task_format
    Argilla 2: what `Dataset.records.from_json` reads and `Dataset.records.to_json` writes
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from stepsynth._util.files import write_json
from stepsynth._util.hashing import digest
from stepsynth._util.text import shorten
from stepsynth.data import BadRow, rows_of_file
from stepsynth.errors import DataError
from stepsynth.review.apply import name_change
from stepsynth.review.deciding import BadRequestError, check_text
from stepsynth.review.decisions import Decision, History, Version, What
from stepsynth.review.page import current
from stepsynth.review.table import Row, Table

Format = Literal["label-studio", "argilla"]
KEEP, REJECT = "keep", "reject"
SENDER = "stepsynth"
WHAT: dict[str, What] = {
    "edited": "edit",
    "relabelled": "relabel",
    "rejected": "reject",
    "approved": "keep",
}
"""What became of a row -> the decision that did it."""

_INTERFACE = """\
<View>
  <Text name="text" value="$text"/>{context}
{label}  <Choices name="verdict" toName="text" choice="single">
    <Choice value="keep"/>
    <Choice value="reject"/>
  </Choices>
  <TextArea name="edited" toName="text" maxSubmissions="1" editable="true"/>
</View>
"""
_LABEL = """\
  <Choices name="label" toName="text" choice="single">
{choices}
  </Choices>
"""


def export_rows(table: Table, history: History, to: Format, path: Path) -> int:
    """Write the synthetic rows of a run as they are now, and return how many.

    Args:
        table: The rows.
        history: The decisions so far.
        to: The tool that takes the file.
        path: The JSON file to write.
    """
    make = _task if to == "label-studio" else _record
    rows = [make(row, history) for row in table.rows.values()]
    write_json(path, rows)
    return len(rows)


def labelling_interface(table: Table) -> str:
    """Return the labelling interface (XML) that Label Studio needs for the tasks."""
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in table.labels)
    has_context = any(row.example.context is not None for row in table.rows.values())
    return _INTERFACE.format(
        context='\n  <Text name="context" value="$context"/>' if has_context else "",
        label=_LABEL.format(choices=choices) if choices else "",
    )


def _task(row: Row, history: History) -> dict[str, Any]:
    """Return a row as a task of Label Studio, with its label and text as a prediction."""
    context = {} if row.example.context is None else {"context": row.example.context}
    text, label, verdict = _now(row, history)

    def result(name: str, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        return {"from_name": name, "to_name": "text", "type": kind, "value": value}

    results = [
        result("verdict", "choices", {"choices": [verdict]}),
        result("edited", "textarea", {"text": [text]}),
    ]
    if isinstance(label, str):
        results.insert(0, result("label", "choices", {"choices": [label]}))
    return {
        "data": {"row": row.id, "text": text, **context, "round": row.round},
        "predictions": [{"model_version": SENDER, "result": results}],
    }


def _record(row: Row, history: History) -> dict[str, Any]:
    """Return a row as a record of Argilla, with its label and text as suggestions."""
    context = {} if row.example.context is None else {"context": row.example.context}
    text, label, verdict = _now(row, history)
    values = {"verdict": verdict, "edited": text}
    if isinstance(label, str):
        values["label"] = label
    return {
        "id": row.id,
        "fields": {"text": text, **context},
        "metadata": {},
        "suggestions": {
            name: {"value": value, "score": None, "agent": SENDER} for name, value in values.items()
        },
        "responses": {},
        "vectors": {},
    }


def _now(row: Row, history: History) -> tuple[str, Any, str]:
    """Return text, label and verdict of a row as it is now."""
    text, label, state = current(row.example, history.on("synthetic", row.id))
    return text, label, REJECT if state == "rejected" else KEEP


def import_rows(path: Path, table: Table, history: History) -> list[Decision]:
    """Return the decisions of annotators; rows that they did not answer have none.

    The same answers have the same ids, so that a file that is read again changes nothing.

    Args:
        path: What Label Studio (JSON) or Argilla (`to_json`) exported.
        table: The rows of the run.
        history: The decisions so far.

    Raises:
        DataError: A row or an answer cannot be used; the message has file and row.
    """
    found: dict[str, Decision] = {}
    for place, given in rows_of_file(path):
        row = _row_of(given, place, path, table)
        answers = {name: given.get(name) for name in ("label", "verdict", "edited")}
        if all(answer is None for answer in answers.values()):
            continue
        where = f"{path}, {place}"
        if row.id in found:
            raise DataError(f"{where}: the row {row.id} was there before", hint="leave one of them")
        found[row.id] = _decision(row, answers, where, table, history)
    return list(found.values())


def _row_of(given: Any, place: str, path: Path, table: Table) -> Row:
    if isinstance(given, BadRow):
        raise DataError(f"{path}, {place}: {given.message}", hint=given.hint)
    name = None
    if isinstance(given, Mapping):
        # A task that nobody has annotated comes as it was sent.
        sent = given["data"] if isinstance(given.get("data"), Mapping) else given
        name = sent.get("row", given.get("id"))
    if not isinstance(name, str):
        raise DataError(
            f"{path}, {place}: no row of an export of ours: its id is missing",
            hint="export all of a task as JSON (not JSON-MIN or CSV) in Label Studio, or with "
            "records.to_json in Argilla",
        )
    if name not in table.rows:
        raise DataError(
            f"{path}, {place}: this run has no row {shorten(name, 40)!r}",
            hint="give the run folder that the rows were exported from",
        )
    return table.rows[name]


def _decision(
    row: Row, answers: Mapping[str, Any], where: str, table: Table, history: History
) -> Decision:
    for name, answer in answers.items():
        if not isinstance(answer, str | None):
            raise DataError(
                f"{where}: {name} is {shorten(repr(answer), 80)}: annotators disagree, or it is "
                "no text",
                hint="mark one of the annotations as ground truth, or correct the file",
            )
    label, verdict, edited = answers["label"], answers["verdict"], answers["edited"]
    if label is not None and label not in table.labels:
        raise DataError(
            f"{where}: the label is {shorten(label, 40)!r}",
            hint=f"one of {', '.join(table.labels)}" if table.labels else "these rows have none",
        )
    if verdict not in (None, KEEP, REJECT):
        raise DataError(f"{where}: the verdict is {shorten(verdict, 40)!r}", hint="keep or reject")
    text, old, _ = current(row.example, history.on("synthetic", row.id))
    try:
        better = text if edited in (None, text) else check_text(edited)
    except BadRequestError as error:
        raise DataError(f"{where}: {error}", hint="correct the file") from error
    after = None
    if verdict != REJECT:
        after = Version(text=better, label=old if label is None else label)
    return Decision(
        id=digest([SENDER, row.id, after and after.model_dump(mode="json")]),
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        data="synthetic",
        row=row.id,
        what=WHAT[name_change(row.example, after)],
        before=Version(text=text, label=old),
        after=after,
    )
