"""Parsing of an answer into a row, or into the reason why it is none."""

import re
from dataclasses import replace

from stepsynth._util.hashing import compact_digest
from stepsynth._util.text import normalise
from stepsynth.llm import Completion, Failed
from stepsynth.methods._grouping import GroupedRequest, RowAnswer
from stepsynth.methods._method import Setup, Unused
from stepsynth.methods._written import RowRequest
from stepsynth.prompts import is_written_in, split_texts
from stepsynth.records import Answers, Example, Label, Rejected
from stepsynth.tasks import Task

_SOURCE = re.compile(r"\Asource:\s+(?=\S)", re.I)
"""The word that prompts have before a source, where an answer begins with it too."""


def find_fault(grouped: GroupedRequest, answer: Completion, setup: Setup) -> str | None:
    """Return why an answer is unreadable, or why its several texts cannot be told apart."""
    found = (
        _parse(grouped.rows[0], answer, setup)
        if len(grouped.rows) == 1
        else split_texts(answer.text, truncated=answer.truncated)
    )
    return found.reason if isinstance(found, Rejected) else None


def read_decision(answer: Completion | Failed, row: Example, task: Task) -> Label | None:
    """Return the label or answer that the LLM gives for a row; None: it cannot be read."""
    if isinstance(answer, Failed):
        return None
    found = task.parse_decision(answer.text, row, truncated=answer.truncated)
    return None if isinstance(found, Rejected) else found


def read_row(given: RowAnswer, setup: Setup, seen: set[bytes] | None) -> Example | Unused:
    """Return the row of an answer, or why there is none.

    Args:
        given: The requested row and its answer.
        setup: Gives the task's parser and the curator.
        seen: Digests of rows that it must not repeat; kept up to date. None: it may.
    """
    asked, answer = given.asked, given.answer
    provenance = replace(
        asked.provenance, request=answer.request_id, draw=answer.draw, part=given.part
    )
    label, context = str(asked.like.label), asked.like.context
    if isinstance(answer, Failed):
        lost = Rejected(answer.reason, answer.raw)
        return Unused(lost, label, provenance, True, context, answer.detail)
    provenance = replace(provenance, model=answer.model or provenance.model)
    row = given.rejected or _parse(asked, answer, setup)
    if asked.check is not None and not isinstance(row, Rejected):
        row = asked.check(row)
    if not isinstance(row, Rejected):
        parent = asked.like if asked.like.text else None
        said, shots = answer.text, asked.shots
        row = setup.curator.reject(row, parent=parent, completion=said, shots=shots) or row
    if isinstance(row, Rejected):
        return Unused(row, label, provenance, context=context, detail=answer.stop)
    if seen is not None:
        key = compact_digest(normalise(f"{row.context or ''}\n{row.text}"))
        if key in seen:
            return Unused(Rejected("duplicate", answer.text), label, provenance, context=context)
        seen.add(key)
    return replace(row, provenance=provenance)


def _parse(asked: RowRequest, answer: Completion, setup: Setup) -> Example | Rejected:
    if answer.is_filtered:
        return Rejected("refusal", answer.text)
    row = setup.task.parse_example(answer.text, asked.like, truncated=answer.truncated)
    if not setup.curator.settings.clean:
        return _as_it_is(answer.text, asked.like, row)
    if isinstance(row, Rejected):
        return row
    if asked.source:
        row = replace(row, text=_SOURCE.sub("", row.text, count=1))
        if normalise(row.text) == normalise(asked.source):
            return Rejected("echo", answer.text)
    if is_written_in(row.text, setup.task.language):
        return row
    return Rejected("other_language", answer.text)


def _as_it_is(said: str, like: Example, read: Example | Rejected) -> Example | Rejected:
    """Return the row of a completion that is not cleaned.

    JSON, and rows with an answer as their label, are parsed all the same.
    """
    is_structured = isinstance(like.label, Answers) or said.lstrip().startswith(("{", "```"))
    return read if is_structured or not said.strip() else replace(like, text=said)


def find_copy(found: object, said: str, setup: Setup) -> str | None:
    """Return why an answer may not go into prompts: it, a line or an item is a held-out text."""
    if isinstance(found, Rejected):
        return None
    items = [each for each in found if isinstance(each, str)] if isinstance(found, tuple) else []
    stops = map(setup.curator.gate.stop_text, [said, *said.splitlines(), *items])
    return next(filter(None, stops), None)
