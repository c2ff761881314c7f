"""The rows of a round's files: added, unused and misclassified ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stepsynth._util.text import shared
from stepsynth.methods import Journal, Round
from stepsynth.records import Example, Label, LabelSet, Provenance


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin of a row.

    Attributes:
        source: Text of the misclassified gold row that it was written for; "": none.
        prompt: The prompt; "": no LLM was asked.
        completion: The LLM's answer.
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
            done: The round, or the journal of an unfinished one.
            provenance: The provenance of the row.
            sources: Id of a gold row that rows are written from -> its text.
        """
        prompt, completion = done.exchanges.get(provenance.request, ("", ""))
        # A user's method may extrapolate rows that are not gold: their text is in the prompt.
        errors = provenance.parents[:1] if provenance.kind == "extrapolate" else ()
        source = "".join(sources.get(parent, "") for parent in errors)
        return cls(source, prompt, completion)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Origin":
        """Return the origin from a row's JSON form."""
        # Rows often share a prompt, and a completion is often the row's text.
        source, prompt, completion = (row.get(key, "") for key in cls.__slots__)
        is_text = completion == row.get("text")
        return cls(shared(source), shared(prompt), row["text"] if is_text else completion)

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form, without empty fields."""
        found = {"source": self.source} if self.source else {}
        return found | (
            {"prompt": self.prompt, "completion": self.completion} if self.prompt else {}
        )


@dataclass(frozen=True, slots=True)
class AddedRow:
    """Row that a round added: `examples.jsonl`.

    Attributes:
        example: The row.
        origin: The origin of the row.
    """

    example: Example
    origin: Origin

    @property
    def text(self) -> str:
        """The text that the LLM wrote."""
        return self.example.text

    @property
    def label(self) -> Label:
        """The requested label."""
        return self.example.label

    @property
    def context(self) -> str | None:
        """The context that it was written for, if any."""
        return self.example.context

    @property
    def provenance(self) -> Provenance:
        """Method, round, parents and request."""
        return self.example.provenance

    @property
    def completion(self) -> str:
        """The whole answer that contains the row."""
        return self.origin.completion or self.example.text

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "AddedRow":
        """Return the row from its JSON form."""
        return cls(Example.from_dict(row), Origin.from_dict(row))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"id": self.example.id, **self.example.to_dict(), **self.origin.to_dict()}


@dataclass(frozen=True, slots=True)
class UnusedRow:
    """Answer that became no row (`rejected.jsonl`), or request without answer (`failed.jsonl`).

    Attributes:
        reason: A short name: "refusal", "truncated", "timeout", ...
        label: The requested label as a text; "" if there is none.
        completion: The text that the LLM or its provider sent.
        detail: Details of the reason.
        context: The context that was given, if any.
        provenance: That of the intended row; None: the line says why the run ended.
        origin: The origin of the intended row.
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
        """Return the row from its JSON form."""
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
        """Return the JSON form, with the answer only once."""
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
    """Mining row that a round's model misclassifies: `misclassified.jsonl`.

    Attributes:
        example: The gold row.
        predicted: The model's prediction.
    """

    example: Example
    predicted: str

    @property
    def differences(self) -> dict[str, list[str]]:
        """Labels of a set that were `missed`, and those that were given `too_many`; else empty."""
        if not isinstance(self.example.label, LabelSet):
            return {}
        own, said = self.example.label.names, LabelSet.parse(self.predicted).names
        return {
            "missed": [name for name in own if name not in said],
            "too_many": [name for name in said if name not in own],
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "MissedRow":
        """Return the row from its JSON form."""
        return cls(Example.from_dict(row), row["predicted"])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        gold = {key: value for key, value in self.example.to_dict().items() if key != "provenance"}
        return {"id": self.example.id, **gold, "predicted": self.predicted, **self.differences}


def unused_rows(
    done: Round | Journal, sources: Mapping[str, str], *, failed: bool
) -> Iterator[UnusedRow]:
    """Yield the failed requests, or the rejected answers."""
    for item in done.unused:
        if item.is_failed == failed:
            origin = Origin.of(done, item.provenance, sources)
            # A rejected part is stored with its whole answer, a failure with what was sent.
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
