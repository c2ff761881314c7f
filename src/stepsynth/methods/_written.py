"""A row to ask the LLM for, and what came of those that were asked for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepsynth.llm import Request
from stepsynth.methods._method import Unused
from stepsynth.records import Example, Provenance, Rejected


@dataclass(frozen=True)
class RowRequest:
    """A row to ask for.

    Attributes:
        prompt: What the LLM is sent.
        like: Has the label and the context of the row; its text is the error that is extrapolated
            ("" for seed data).
        provenance: Where the row will have come from.
        check: What a method makes of the row that was read: the row, shorter or as it is, or why
            it is none; None: it takes every row.
        shots: Gold rows that the prompt shows as examples: curation rejects copies of them.
        schema: JSON Schema of the answer; None: it is no JSON.
        note: What the method knows of the row beyond that: `Written.known` has it by request.
    """

    prompt: str
    like: Example
    provenance: Provenance
    check: Callable[[Example], Example | Rejected] | None = None
    shots: Sequence[Example] = ()
    schema: Mapping[str, Any] | None = None
    note: Mapping[str, Any] = field(default_factory=dict)

    def request(self) -> Request:
        """Return what is sent.

        The stream of an extrapolation is its parent's: the n-th row written from one gold row is
        one draw, whichever round or method asks for it, and never a repetition.
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
    """What came of some requests for rows.

    Attributes:
        rows: Those that are kept.
        unused: Answers that became no row, and requests without an answer.
        exchanges: Id of a request -> its prompt and what the LLM wrote, verbatim.
        known: Id of a request -> what its method knew when it asked: its note.
        rationales: Label -> what its rows were written from.
        asked: What was asked for before rows, as recordings.
        notes: Name of a file -> its lines.
    """

    rows: list[Example] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    exchanges: dict[str, tuple[str, str]] = field(default_factory=dict)
    known: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rationales: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    notes: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def note(self, name: str, **values: Any) -> None:
        """Add a line to the file of that name in the round's folder."""
        self.notes.setdefault(name, []).append(values)

    def note_rows(self, name: str) -> None:
        """Add a line for each row: its request, and what was known when it was asked for."""
        for row in self.rows:
            request = row.provenance.request
            self.note(name, request=request, **self.known[request])

    def extend(self, other: "Written") -> None:
        """Add what a further call brought."""
        self.rows += other.rows
        self.unused += other.unused
        self.exchanges |= other.exchanges
        self.known |= other.known
        self.asked += other.asked
        for name, lines in other.notes.items():
            self.notes.setdefault(name, []).extend(lines)


def count_by_reason(unused: Iterable[Unused], *, failed: bool) -> Mapping[str, int]:
    """Return how often each reason occurs, among failed requests or among rejected answers."""
    counts: dict[str, int] = {}
    for item in unused:
        if item.is_failed == failed:
            counts[item.rejected.reason] = counts.get(item.rejected.reason, 0) + 1
    return dict(sorted(counts.items()))
