"""A page of the review: what a filter lets through, as JSON that is safe to show."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stepsynth._util.text import visible
from stepsynth.records import Example, label_from_json, label_to_json
from stepsynth.review.apply import name_change
from stepsynth.review.decisions import Decision, History, Version
from stepsynth.review.table import Error, Row, Table

CUT = 1_200
"""Characters of a text in a page; the rest is sent when it is asked for."""

MOST_WRITTEN = 50
"""Rows of an error that are shown beside it; a filter shows all."""

STATES = ("undecided", "edited", "relabelled", "rejected", "approved")


@dataclass(frozen=True)
class Query:
    """What a page shows.

    Attributes:
        label: Of the row, or of the gold row of an error; "": any.
        round: That added the row, or makes the error; None: any.
        state: One of `STATES`; "": any.
        text: Part of the text, in any case; "": any.
        error: Id of a gold row: only rows that were written for it; "": any.
    """

    label: str = ""
    round: int | None = None
    state: str = ""
    text: str = ""
    error: str = ""


def find_rows(table: Table, query: Query, history: History) -> Iterator[Row]:
    """Yield the synthetic rows that a query asks for."""
    rows = table.written.get(query.error, ()) if query.error else table.rows.values()
    return (row for row in rows if _fits(row, query, history))


def find_errors(table: Table, query: Query, history: History) -> Iterator[Error]:
    """Yield the errors that a query asks for: its state is that of a row written for them."""
    return (each for each in table.errors if _error_fits(each, query, history))


def _fits(row: Row, query: Query, history: History) -> bool:
    if query.round is not None and row.round != query.round:
        return False
    text, label, state = current(row.example, history.on("synthetic", row.id))
    if query.label and label_text(label) != query.label:
        return False
    if query.state and state != query.state:
        return False
    return not query.text or query.text.casefold() in text.casefold()


def _error_fits(error: Error, query: Query, history: History) -> bool:
    if query.round is not None and error.round != query.round:
        return False
    gold = error.missed.example
    if query.label and str(gold.label) != query.label:
        return False
    if query.error and error.id != query.error:
        return False
    if query.state:
        states = {current(row.example, history.on("synthetic", row.id))[2] for row in error.rows}
        if query.state not in states:
            return False
    if not query.text:
        return True
    words = query.text.casefold()
    texts = (gold.text, *(row.example.text for row in error.rows))
    return any(words in text.casefold() for text in texts)


def current(row: Example, decision: Decision | None) -> tuple[str, Any, str]:
    """Return text and label of a row after a decision (as they were, if it is out), and a state."""
    if decision is None:
        return row.text, label_to_json(row.label), "undecided"
    now = decision.after or Version.of(row)
    return now.text, now.label, name_change(row, decision.after)


def label_text(label: Any) -> str:
    """Return the text of a label in its JSON form; of answers the first one."""
    return str(label_from_json(label))


def cut(text: str) -> dict[str, Any]:
    """Return a text for a page: commands to the screen made visible, and cut if it is long."""
    more = {"more": len(text)} if len(text) > CUT else {}
    return {"text": visible(text[:CUT]), **more}


def to_dict(item: Row | Error, table: Table, history: History) -> dict[str, Any]:
    """Return a synthetic row, or an error with the rows that were written for it, for the page."""
    if isinstance(item, Row):
        return _row_to_dict(item, table, history)
    return _error_to_dict(item, table, history)


def _row_to_dict(row: Row, table: Table, history: History) -> dict[str, Any]:
    """Return a synthetic row for the page."""
    decision = history.on("synthetic", row.id)
    text, label, state = current(row.example, decision)
    context = {} if row.example.context is None else {"context": cut(row.example.context)}
    was = {"label": visible(str(row.example.label)), **cut(row.example.text)}
    return {
        "data": "synthetic",
        "row": row.id,
        "round": row.round,
        "kind": row.example.provenance.kind,
        "copies": table.copies[row.id],
        "errors": [each for each in row.example.provenance.parents if each in table.gold],
        "state": state,
        "label": visible(label_text(label)),
        **cut(text),
        **context,
        **({"was": was} if state in ("edited", "relabelled") else {}),
        **({"why": visible(decision.why)} if decision and decision.why else {}),
    }


def _error_to_dict(error: Error, table: Table, history: History) -> dict[str, Any]:
    """Return an error for the page, with the rows that were written for it."""
    gold, decision = error.missed.example, history.on("gold", error.id)
    _, label, state = current(gold, decision)
    context = {} if gold.context is None else {"context": cut(gold.context)}
    return {
        "data": "gold",
        "row": error.id,
        "round": error.round,
        "predicted": visible(error.missed.predicted),
        "is_fixed": error.is_fixed,
        "state": state,
        "label": visible(label_text(label)),
        **cut(gold.text),
        **context,
        **({"why": visible(decision.why)} if decision and decision.why else {}),
        "rows": [_row_to_dict(each, table, history) for each in error.rows[:MOST_WRITTEN]],
        "more_rows": max(0, len(error.rows) - MOST_WRITTEN),
        "unused": [
            {"reason": visible(each.reason), **cut(each.text)}
            for each in error.unused[:MOST_WRITTEN]
        ],
    }
