"""Several texts from one prompt: equal requests are grouped, and the answer is divided."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepsynth._util.hashing import digest
from stepsynth.llm import Completion, Failed, Request
from stepsynth.methods._method import Setup
from stepsynth.methods._written import RowRequest
from stepsynth.prompts import Part, split_texts
from stepsynth.records import Example, Provenance, Rejected


@dataclass(frozen=True, slots=True)
class GroupedRequest:
    """One prompt, and the rows that its answer should hold.

    Attributes:
        request: The request to send.
        rows: The requested rows.
    """

    request: Request
    rows: Sequence[RowRequest]


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """The part of an answer that belongs to one row.

    Attributes:
        asked: The requested row.
        answer: The answer, with the text for this row alone.
        part: Number of that text in the answer, from 1; 0: the answer is that text.
        rejected: Why the answer has no text for the row; None: it has one.
    """

    asked: RowRequest
    answer: Completion | Failed
    part: int = 0
    rejected: Rejected | None = None


def group(rows: Sequence[RowRequest], setup: Setup) -> list[GroupedRequest]:
    """Return the requests to send, each for up to `setup.texts_per_prompt` equal rows.

    They come in the order of their first row. A single row keeps its own request.
    """
    if setup.texts_per_prompt == 1:
        return [_join([row], setup) for row in rows]
    groups: list[list[RowRequest]] = []
    unfilled: dict[tuple[str, Example, Provenance, str], list[RowRequest]] = {}
    for row in rows:
        same = (row.prompt, row.like, row.provenance, digest(row.note))
        if same not in unfilled:
            unfilled[same] = []
            groups.append(unfilled[same])
        unfilled[same].append(row)
        if len(unfilled[same]) == setup.texts_per_prompt:
            del unfilled[same]
    return [_join(each, setup) for each in groups]


def _join(rows: Sequence[RowRequest], setup: Setup) -> GroupedRequest:
    request = rows[0].request()
    if setup.text_tokens is not None:
        request = replace(request, max_tokens=len(rows) * setup.text_tokens)
    if len(rows) > 1:
        suffix = setup.task.render("several", number=len(rows))
        # A schema describes a single text.
        request = replace(request, prompt=f"{request.prompt}\n\n{suffix}", schema=None)
    return GroupedRequest(request, rows)


def divide(grouped: GroupedRequest, answer: Completion | Failed) -> tuple[list[RowAnswer], int]:
    """Return the part of an answer for each row, and the number of surplus texts.

    A failed request is listed once, not for each row.
    """
    rows = grouped.rows
    if isinstance(answer, Failed) or len(rows) == 1:
        return [RowAnswer(rows[0], answer)], 0
    parts = split_texts(answer.text, truncated=answer.truncated)
    if isinstance(parts, Rejected):
        return [RowAnswer(row, answer, i, parts) for i, row in enumerate(rows, start=1)], 0
    lacking = Rejected("missing", answer.text)
    found = [
        _part(row, answer, i, parts[i - 1])
        if i <= len(parts)
        else RowAnswer(row, answer, i, lacking)
        for i, row in enumerate(rows, start=1)
    ]
    return found, max(0, len(parts) - len(rows))


def _part(asked: RowRequest, answer: Completion, number: int, part: Part) -> RowAnswer:
    own = replace(answer, text=part.text, truncated=part.is_open and answer.truncated)
    rejected = Rejected("broken_tags", part.text) if part.is_broken else None
    return RowAnswer(asked, own, number, rejected)
