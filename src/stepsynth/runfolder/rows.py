"""The rows of a round's files: what was added, what became no row, what was got wrong."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stepsynth.methods import Journal, Round
from stepsynth.records import Example, Label, Provenance


@dataclass(frozen=True, slots=True)
class Origin:
    """What a row was written from.

    Attributes:
        source: The gold text of the error that it was written for; "": of none.
        prompt: What the LLM was asked; "": no LLM was.
        completion: What it answered.
    """

    source: str = ""
    prompt: str = ""
    completion: str = ""

    @classmethod
    def of(
        cls, done: Round | Journal, provenance: Provenance, sources: Mapping[str, str]
    ) -> "Origin":
        """Return the origin of a row.

        Args:
            done: The round, or what there is of one that a run has ended in.
            provenance: Of the row.
            sources: Id of a gold row that rows are written from -> its text.
        """
        prompt, completion = done.exchanges.get(provenance.request, ("", ""))
        # A user's method may extrapolate rows that are not gold: their text is in the prompt.
        errors = provenance.parents[:1] if provenance.kind == "extrapolate" else ()
        source = "".join(sources.get(parent, "") for parent in errors)
        return cls(source, prompt, completion)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Origin":
        """Return the origin of a row's JSON form."""
        return cls(*(row.get(key, "") for key in cls.__slots__))

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form; what is not there is left out."""
        found = {"source": self.source} if self.source else {}
        return found | (
            {"prompt": self.prompt, "completion": self.completion} if self.prompt else {}
        )


@dataclass(frozen=True, slots=True)
class AddedRow:
    """A row that a round added: `examples.jsonl`.

    Attributes:
        example: The row.
        origin: What it was written from.
    """

    example: Example
    origin: Origin

    @property
    def text(self) -> str:
        """What the LLM wrote."""
        return self.example.text

    @property
    def label(self) -> Label:
        """The label that was asked for."""
        return self.example.label

    @property
    def context(self) -> str | None:
        """What it was written for, if anything."""
        return self.example.context

    @property
    def provenance(self) -> Provenance:
        """Method, round, parents and request."""
        return self.example.provenance

    @property
    def completion(self) -> str:
        """The whole answer that the row is of."""
        return self.origin.completion or self.example.text

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "AddedRow":
        """Return the row of its JSON form."""
        return cls(Example.from_dict(row), Origin.from_dict(row))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"id": self.example.id, **self.example.to_dict(), **self.origin.to_dict()}


@dataclass(frozen=True, slots=True)
class UnusedRow:
    """An answer that became no row (`rejected.jsonl`), or a request without one (`failed.jsonl`).

    Attributes:
        reason: A short name: "refusal", "truncated", "timeout", ...
        label: The label that was asked for, as a text; "" where none was.
        completion: What the LLM, or its provider, sent.
        detail: What more is known of the reason.
        context: The context that was given, if any.
        provenance: Of the row that it would have become; None: the line says why the run ended.
        origin: What it was asked with.
    """

    reason: str
    label: str
    completion: str = ""
    detail: str = ""
    context: str | None = None
    provenance: Provenance | None = None
    origin: Origin = Origin()

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "UnusedRow":
        """Return the row of its JSON form."""
        return cls(
            reason=row["reason"],
            label=row["label"],
            completion=row["completion"],
            detail=row.get("detail", ""),
            context=row.get("context"),
            provenance=Provenance.from_dict(row["provenance"]) if "provenance" in row else None,
            origin=Origin.from_dict(row),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; the answer stands in it once."""
        origin = self.origin.to_dict()
        origin.pop("completion", None)
        return {
            "reason": self.reason,
            "label": self.label,
            **({} if self.context is None else {"context": self.context}),
            **({"detail": self.detail} if self.detail else {}),
            "completion": self.completion,
            **({"provenance": self.provenance.to_dict()} if self.provenance else {}),
            **origin,
        }


@dataclass(frozen=True, slots=True)
class MissedRow:
    """A mining row that a round's model gets wrong: `misclassified.jsonl`.

    Attributes:
        example: The gold row.
        predicted: What the model said.
    """

    example: Example
    predicted: str

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "MissedRow":
        """Return the row of its JSON form."""
        return cls(Example.from_dict(row), row["predicted"])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        gold = {key: value for key, value in self.example.to_dict().items() if key != "provenance"}
        return {"id": self.example.id, **gold, "predicted": self.predicted}


def added_rows(done: Round, sources: Mapping[str, str]) -> Iterator[AddedRow]:
    """Yield the rows that a round added; see `Origin.of`."""
    for row in done.added:
        yield AddedRow(row, Origin.of(done, row.provenance, sources))


def unused_rows(
    done: Round | Journal, sources: Mapping[str, str], *, failed: bool
) -> Iterator[UnusedRow]:
    """Yield what became no row: requests that failed, or answers that were rejected."""
    for item in done.unused:
        if item.is_failed == failed:
            origin = Origin.of(done, item.provenance, sources)
            # A part of an answer stands with the whole; a failure with what was sent instead.
            whole = "" if failed else origin.completion
            yield UnusedRow(
                reason=item.rejected.reason,
                label=item.label,
                completion=whole or item.rejected.completion,
                detail=item.detail,
                context=item.context,
                provenance=item.provenance,
                origin=origin,
            )


def missed_rows(done: Round) -> Iterator[MissedRow]:
    """Yield the mining rows that a round's model gets wrong."""
    for row, predicted in zip(done.misclassified, done.predicted, strict=True):
        yield MissedRow(row, predicted)
