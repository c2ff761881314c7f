"""The rows: what is synthesised, learnt from and scored, and where each came from."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from stepsynth._util.files import write_jsonl
from stepsynth._util.hashing import digest
from stepsynth.errors import StepsynthError

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a row came from: enough to go from its text to the prompt and the error behind it.

    Attributes:
        method: Registered name of the method that made the row, or "gold".
        round: The round that added it; 0 for seed data.
        kind: "seed", "extrapolate" or "gold".
        parents: Ids of the gold rows that it was written from; empty for seed data.
        draw: Which draw of its request's stream the row is.
        request: Id of the LLM request, as in the store and in `rejected.jsonl`; "" for gold.
        model: The LLM's name as configured; "" where no LLM wrote it.
    """

    method: str
    round: int = 0
    kind: str = "gold"
    parents: tuple[str, ...] = ()
    draw: int = 0
    request: str = ""
    model: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, the same keys in every row."""
        return {
            "method": self.method,
            "round": self.round,
            "kind": self.kind,
            "parents": list(self.parents),
            "draw": self.draw,
            "request": self.request,
            "model": self.model,
        }


GOLD = Provenance(method="gold")


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task.

    Attributes:
        text: x, what the LLM writes.
        label: y, a label of the task.
        context: c, the fixed part of a multi-sentence row (premise, passage), or none.
        provenance: Where the row came from.
    """

    text: str
    label: str
    context: str | None = None
    provenance: Provenance = GOLD

    @property
    def id(self) -> str:
        """A digest of the content: equal rows have equal ids, in every run."""
        return digest([self.text, self.label, self.context], length=16)

    def with_text(self, text: str, provenance: Provenance) -> "Example":
        """Return a new row with this one's label and context (S3, Algorithms 2 and 3)."""
        return replace(self, text=text, provenance=provenance)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: text, label, context where there is one, provenance."""
        row: dict[str, Any] = {"text": self.text, "label": self.label}
        if self.context is not None:
            row["context"] = self.context
        return row | {"provenance": self.provenance.to_dict()}


@dataclass(frozen=True, slots=True)
class Rejected:
    """An output of the LLM that is no row, and why: it is kept and counted, never trained on.

    Attributes:
        reason: A short name: "refusal", "truncated", "empty", ...
        completion: The LLM's text, verbatim.
    """

    reason: str
    completion: str


class Dataset(Sequence[Example]):
    """An immutable, ordered list of rows."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[Example] = ()) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Example | Dataset":
        return Dataset(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Example]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dataset) and self._rows == other._rows

    def __hash__(self) -> int:
        return hash(self._rows)

    def __repr__(self) -> str:
        return f"Dataset({len(self)} rows, {dict(self.label_counts())})"

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return [row.text for row in self._rows]

    @property
    def labels(self) -> list[str]:
        """The labels, in order."""
        return [row.label for row in self._rows]

    def label_counts(self) -> Counter[str]:
        """Return how many rows each label has."""
        return Counter(self.labels)

    def digest(self) -> str:
        """Return a digest of texts, labels and contexts, in order."""
        return digest([row.id for row in self._rows])

    def without_duplicates(self) -> "Dataset":
        """Return the first of each group of rows with the same text, label and context."""
        first: dict[str, Example] = {}
        for row in self._rows:
            first.setdefault(row.id, row)
        return Dataset(first.values())

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as JSON-able dictionaries."""
        return [row.to_dict() for row in self._rows]

    def to_jsonl(self, path: str | Path) -> None:
        """Write the rows as JSON lines."""
        write_jsonl(Path(path), self.to_dicts())

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the rows as a data frame; the provenance is spread over columns.

        Raises:
            StepsynthError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise StepsynthError("pandas is not installed", hint="pip install pandas") from error

        return pandas.DataFrame(
            [
                {key: value for key, value in row.items() if key != "provenance"}
                | row["provenance"]
                for row in self.to_dicts()
            ]
        )


def union(*datasets: Iterable[Example]) -> Dataset:
    """Return all rows in order: the paper's D_seed ∪ D_add, duplicates kept and countable."""
    return Dataset(row for dataset in datasets for row in dataset)
