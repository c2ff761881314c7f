"""Requests for rows, and their outcome."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepsynth.llm import Request
from stepsynth.methods._method import Unused
from stepsynth.records import Example, Provenance, Rejected

OWN_FILES = ("examples", "rejected", "failed", "misclassified", "asked")
"""Files of lines that every round has."""


_NO_NOTE: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class RowRequest:
    """A request for a row.

    Attributes:
        prompt: The prompt to send.
        like: Gives the label and the context of the row; its text is the error to extrapolate
            ("" for seed data).
        provenance: Provenance of the row to come.
        check: The method's own check of a parsed row: returns the row, perhaps shortened, or why
            it is none. None: every row passes.
        source: What else the text is written from, a passage or an instance seed: a text that only
            repeats it is none.
        shots: Gold rows shown as few-shot examples: curation rejects copies of them.
        schema: JSON Schema of the answer; None: it is not JSON.
        note: What else the method knows of the row; `Written.known` keeps it by request.
    """

    prompt: str
    like: Example
    provenance: Provenance
    check: Callable[[Example], Example | Rejected] | None = None
    source: str = ""
    shots: Sequence[Example] = ()
    schema: Mapping[str, Any] | None = None
    note: Mapping[str, Any] = field(default_factory=lambda: _NO_NOTE)

    def request(self) -> Request:
        """Return the request to send.

        An extrapolation has its parent's stream: the n-th row from one gold row is the n-th draw,
        whichever round or method requests it, and never a repetition.
        """
        tags = {"kind": self.provenance.kind, "label": str(self.like.label)}
        if self.like.context is not None:
            tags["context"] = self.like.context
        if not self.like.text:
            stream = self.provenance.kind
        else:
            tags["source"] = self.like.text
            stream = f"extrapolate/{self.like.id}"
        return Request(self.prompt, stream=stream, tags=tags, schema=self.schema)


@dataclass
class Written:
    """The outcome of requests for rows.

    Attributes:
        rows: Rows kept.
        unused: Answers that became no row, and requests without an answer.
        exchanges: Request id -> its prompt and the LLM's output, verbatim.
        known: Request id -> its method's note, if there is one.
        rationales: Label -> rationales that its rows were written from.
        asked: Answers requested before the rows, as recordings.
        notes: File name -> its lines.
    """

    rows: list[Example] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    exchanges: dict[str, tuple[str, str]] = field(default_factory=dict)
    known: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rationales: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    notes: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def note(self, name: str, **values: Any) -> None:
        """Add a line to the file of that name in the round's folder.

        Raises:
            ValueError: It is the name of a run's own file, or of no file.
        """
        if name in OWN_FILES or not name.isidentifier():
            raise ValueError(
                f"{name!r} cannot name a file of notes: a run has its own, {OWN_FILES}"
            )
        self.notes.setdefault(name, []).append(values)

    def note_rows(self, name: str) -> None:
        """Add a line for each row: its request, and the method's note on it."""
        for row in self.rows:
            request = row.provenance.request
            self.note(name, request=request, **self.known.get(request, {}))

    def extend(self, other: "Written") -> None:
        """Add the outcome of a further call."""
        self.rows += other.rows
        self.unused += other.unused
        self.exchanges |= other.exchanges
        self.known |= other.known
        self.asked += other.asked
        for name, lines in other.notes.items():
            self.notes.setdefault(name, []).extend(lines)


def count_by_reason(unused: Iterable[Unused], *, failed: bool) -> Mapping[str, int]:
    """Return the count of each reason, among failed requests or among rejected answers."""
    counts = Counter(item.rejected.reason for item in unused if item.is_failed == failed)
    return dict(sorted(counts.items()))
