"""Rows of data, synthetic and gold, with their provenance."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from stepsynth._util.files import replacing, write_jsonl
from stepsynth._util.frames import to_frame
from stepsynth._util.hashing import digest
from stepsynth._util.text import shared
from stepsynth.errors import StepsynthError

if TYPE_CHECKING:
    import datasets
    import pandas


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a row: enough to trace its text to the prompt and the error behind it.

    Attributes:
        method: Registered name of the method that made the row, or "gold".
        round: The round that added it; 0 for seed data.
        kind: Kind of its prompt: "seed", "extrapolate", "refine", ...; "retrieve" for a passage as
            it is, "given" for a row of another run, "gold".
        parents: Ids of the gold rows that it was written from; empty for seed data.
        draw: Index of the draw in its request's stream.
        request: Id of the LLM request, as in the store and in `rejected.jsonl`; "" for gold.
        model: The name of the LLM that answered, as configured; "" where no LLM wrote it.
        part: Position among the texts of one answer, from 1; 0: the answer holds one text.
    """

    method: str
    round: int = 0
    kind: str = "gold"
    parents: tuple[str, ...] = ()
    draw: int = 0
    request: str = ""
    model: str = ""
    part: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, the same keys in every row; `part` only where there is one."""
        return {
            "method": self.method,
            "round": self.round,
            "kind": self.kind,
            "parents": list(self.parents),
            "draw": self.draw,
            "request": self.request,
            "model": self.model,
            **({"part": self.part} if self.part else {}),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Provenance":
        """Return the provenance from its JSON form; unknown keys are ignored."""
        values: dict[str, Any] = {key: value for key, value in row.items() if key in cls.__slots__}
        # A file gives each row its own copy of texts that many rows share.
        values |= {key: shared(values[key]) for key in ("method", "kind", "model") if key in values}
        values["parents"] = tuple(map(shared, values.get("parents", ())))
        return cls(**values)


GOLD = Provenance(method="gold")
BATCH = 10_000
"""Rows that become columns together."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The label of a question: the answers that count as right, each a part of its passage.

    Attributes:
        texts: One answer or more; the first is trained on and asked for.
        starts: Where each begins in the passage, in characters.
        is_repaired: The offset or the wording of an answer was corrected to fit the passage.
    """

    texts: tuple[str, ...]
    starts: tuple[int, ...]
    is_repaired: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return self.texts[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as in SQuAD."""
        return {"text": list(self.texts), "answer_start": list(self.starts)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Answers":
        """Return the answers from their JSON form."""
        return cls(tuple(row["text"]), tuple(row["answer_start"]))


NO_LABELS = "(none)"
"""How a set without labels is written."""
SEPARATOR = "|"
"""What stands between the labels of a set in a text."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The label of a row that may have several: any number of the task's labels, or none.

    It is a type of its own, as answers are: label names of other tasks may hold a "|", and a
    student sees from its rows that it is to learn a probability for each label.

    Attributes:
        names: The labels, in the task's order.
    """

    names: tuple[str, ...]

    def __str__(self) -> str:
        return SEPARATOR.join(self.names) or NO_LABELS

    @classmethod
    def parse(cls, text: str) -> "LabelSet":
        """Return the set that a text such as "a|b" stands for; "" and "(none)" have no labels."""
        names = map(str.strip, text.split(SEPARATOR))
        return cls(tuple(name for name in names if name not in ("", NO_LABELS)))


Label = str | Answers | LabelSet


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task.

    Attributes:
        text: x, what the LLM writes.
        label: y, a label of the task, or a set of them; for a question its answers.
        context: c, the fixed part of a multi-sentence row (premise, passage), or none.
        provenance: Where the row came from.
    """

    text: str
    label: Label
    context: str | None = None
    provenance: Provenance = GOLD

    @property
    def id(self) -> str:
        """A digest of the content: equal rows have equal ids, in every run."""
        return digest([self.text, label_to_json(self.label), self.context], length=16)

    @property
    def stratum(self) -> str:
        """The label; "" for answers, which do not group rows: almost every row has its own."""
        return "" if isinstance(self.label, Answers) else str(self.label)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: text, label, context where there is one, provenance."""
        row: dict[str, Any] = {"text": self.text, "label": label_to_json(self.label)}
        if self.context is not None:
            row["context"] = self.context
        return row | {"provenance": self.provenance.to_dict()}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Example":
        """Return the row from its JSON form; without a provenance it is a gold row.

        Raises:
            TypeError: Its text or its context is no text.
        """
        text, context = row["text"], row.get("context")
        if not isinstance(text, str) or not isinstance(context, str | None):
            raise TypeError("a text or a context of a row is no text")
        return cls(
            text=text,
            label=label_from_json(row["label"]),
            context=context,
            provenance=Provenance.from_dict(row["provenance"]) if "provenance" in row else GOLD,
        )


@dataclass(frozen=True, slots=True)
class Context:
    """A context that seed data of a multi-sentence task is written for (S3, section 2.4).

    Attributes:
        text: c, the premise or passage.
        label: Label or answers that its rows must have; None: any.
    """

    text: str
    label: Label | None = None


def label_to_json(label: Label) -> Any:
    """Return a label as JSON: a text, a list of texts, or answers as in SQuAD."""
    if isinstance(label, LabelSet):
        return list(label.names)
    return label if isinstance(label, str) else label.to_dict()


def label_from_json(value: Any) -> Label:
    """Return the label that `label_to_json` wrote."""
    if isinstance(value, list):
        return LabelSet(tuple(shared(str(name)) for name in value))
    return shared(value) if isinstance(value, str) else Answers.from_dict(value)


def names_of(label: Label) -> tuple[str, ...]:
    """Return the names in a label: one, or those of a set; answers have none."""
    if isinstance(label, LabelSet):
        return label.names
    return (label,) if isinstance(label, str) else ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An output of the LLM that became no row: kept with a reason, counted, never trained on.

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
        self._rows: Sequence[Example] = tuple(rows)

    @classmethod
    def over(cls, rows: Sequence[Example]) -> "Dataset":
        """Return a data set that reads its rows where they are kept; they must not change."""
        dataset = cls()
        dataset._rows = rows
        return dataset

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
        if not isinstance(other, Dataset) or len(self) != len(other):
            return False
        return self._rows is other._rows or all(map(eq, self, other))

    def __hash__(self) -> int:
        return hash((len(self), *self[:1], *self[-1:]))

    def __repr__(self) -> str:
        return f"Dataset({len(self)} rows, {dict(self.label_counts())})"

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return [row.text for row in self._rows]

    @property
    def labels(self) -> list[str]:
        """The labels as texts, in order ("a|b" for a set); for a question, the first answer."""
        return [str(row.label) for row in self._rows]

    def label_counts(self) -> Counter[str]:
        """Return how many rows each label has, alone or in a set; answers are not counted."""
        return Counter(name for row in self._rows for name in names_of(row.label))

    def by_label(self) -> dict[str, list[Example]]:
        """Return the rows of each label or set; if labels are answers, all under ""."""
        groups: dict[str, list[Example]] = {}
        for row in self._rows:
            groups.setdefault(row.stratum, []).append(row)
        return groups

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
        write_jsonl(Path(path), map(Example.to_dict, self._rows))

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the rows as a data frame; the provenance is spread over columns.

        Raises:
            StepsynthError: pandas is not installed.
        """
        return to_frame(self._to_flat_dicts())

    def to_parquet(self, path: str | Path) -> None:
        """Write the rows as Parquet; the provenance is spread over columns.

        Raises:
            StepsynthError: pyarrow is not installed.
        """
        (table,) = self.to_tables(len(self) or 1)
        from pyarrow import parquet

        with replacing(Path(path)) as file:
            parquet.write_table(table, file)

    def to_datasets(self) -> "datasets.Dataset":
        """Return the rows as a Hugging Face data set; the provenance is spread over columns.

        Raises:
            StepsynthError: datasets is not installed.
        """
        try:
            import datasets
        except ImportError as error:
            raise StepsynthError(
                "datasets is not installed", hint="pip install 'stepsynth[transformers]'"
            ) from error

        (table,) = self.to_tables(len(self) or 1)
        return datasets.Dataset(table)

    def to_tables(self, most: int) -> Iterator[Any]:
        """Yield the rows as Arrow tables of one schema; the provenance is spread over columns.

        Args:
            most: Rows of a table; the last one has what is left.

        Raises:
            StepsynthError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise StepsynthError(
                "pyarrow is not installed", hint="pip install 'stepsynth[parquet]'"
            ) from error

        answers = pa.struct({"text": pa.list_(pa.string()), "answer_start": pa.list_(pa.int64())})
        of_label: dict[type, Any] = {Answers: answers, LabelSet: pa.list_(pa.string())}
        types = {
            "label": next((of_label.get(type(row.label)) for row in self._rows), None),
            "round": pa.int64(),
            "draw": pa.int64(),
            "part": pa.int64(),
            "parents": pa.list_(pa.string()),
        }
        # Inferred types would depend on whether rows have parents, and need at least one row.
        names = list(next(self._to_flat_dicts(), {"text": "", "label": "", **GOLD.to_dict()}))
        schema = pa.schema([(name, types.get(name) or pa.string()) for name in names])
        rows = self._to_flat_dicts()
        for _ in range(0, max(len(self), 1), most):
            part = islice(rows, most)
            # Few at a time, as dictionaries take several times the memory of columns.
            few = iter(lambda part=part: list(islice(part, BATCH)), [])
            batches = [pa.RecordBatch.from_pylist(each, schema=schema) for each in few]
            yield pa.Table.from_batches(batches, schema).combine_chunks()

    def _to_flat_dicts(self) -> Iterator[dict[str, Any]]:
        has_context = any(row.context is not None for row in self._rows)
        has_parts = any(row.provenance.part for row in self._rows)
        for row in self._rows:
            yield (
                {"text": row.text, "label": label_to_json(row.label)}
                | ({"context": row.context} if has_context else {})
                | row.provenance.to_dict()
                | ({"part": row.provenance.part} if has_parts else {})
            )


def union(*datasets: Iterable[Example]) -> Dataset:
    """Return all rows in order: the paper's D_seed ∪ D_add, duplicates kept."""
    return Dataset(row for dataset in datasets for row in dataset)
