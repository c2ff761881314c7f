"""The rows of a run that a reviewer decides on, and the errors that they were written for."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepsynth.records import Example, LabelSet
from stepsynth.review.apply import name_change
from stepsynth.review.decisions import Data, History
from stepsynth.run_records import REVIEWED
from stepsynth.runfolder import MissedRow, Run, RunRound, UnusedRow, read_rows
from stepsynth.taskfile import parse_yaml


@dataclass(frozen=True, slots=True)
class Row:
    """Synthetic row.

    Attributes:
        place: Its number among the rows of the run.
        id: Of its content.
        example: The row as it was written.
        round: The round that added it.
    """

    place: int
    id: str
    example: Example
    round: int


@dataclass(frozen=True, slots=True)
class Unused:
    """Answer that became no row: the reason and what the LLM wrote."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Error:
    """Mining row that a round's model misclassifies.

    Attributes:
        place: Its number among the errors of the run.
        id: Of the gold row.
        missed: The gold row, and what it was taken for.
        round: The round.
        is_fixed: Whether the next round's model gets it right; None: there is none.
        rows: Rows that the next round added for it.
        unused: Answers for it that became no row.
    """

    place: int
    id: str
    missed: MissedRow
    round: int
    is_fixed: bool | None
    rows: tuple[Row, ...]
    unused: tuple[Unused, ...]


@dataclass(frozen=True)
class Table:
    """The rows of a run, read once.

    Attributes:
        labels: The labels of the task; empty: rows have answers or sets, which nobody changes.
        rows: Synthetic rows by their ids, in order; equal ones once.
        copies: Id of a row -> how often the run has it.
        errors: The errors of each round, in order.
        written: Id of a gold row -> the rows that were written for it, in any round.
        gold: Misclassified gold rows by their ids.
    """

    labels: tuple[str, ...]
    rows: Mapping[str, Row]
    copies: Mapping[str, int]
    errors: tuple[Error, ...]
    written: Mapping[str, tuple[Row, ...]]
    gold: Mapping[str, Example]

    @classmethod
    def read(cls, run: Run) -> "Table":
        """Return the table of a run.

        Raises:
            RunFolderError: A file of it is damaged.
        """
        rows: dict[str, Row] = {}
        copies, written = Counter[str](), dict[str, dict[str, Row]]()
        of_round: dict[tuple[int, str], dict[str, Row]] = {}
        unused: dict[tuple[int, str], list[Unused]] = {}
        for done in run.rounds:
            for name, example in _rows_of(done):
                row = rows.setdefault(name, Row(len(rows), name, example, done.index))
                copies[name] += 1
                for parent in example.provenance.parents:
                    written.setdefault(parent, {})[name] = row
                    of_round.setdefault((done.index, parent), {})[name] = row
            for parent, item in _unused_of(done):
                unused.setdefault((done.index, parent), []).append(item)
        errors = [
            Error(
                place,
                name,
                missed,
                done.index,
                is_fixed,
                tuple(of_round.get((done.index + 1, name), {}).values()),
                tuple(unused.get((done.index + 1, name), ())),
            )
            for place, (done, name, missed, is_fixed) in enumerate(_errors_of(run))
        ]
        task = parse_yaml(run.config, str(run.folder.config)).values["task"]
        has_sets = any(isinstance(row.example.label, LabelSet) for row in rows.values())
        return cls(
            () if has_sets else tuple(task.get("labels") or ()),
            rows,
            copies,
            tuple(errors),
            {name: tuple(found.values()) for name, found in written.items()},
            {each.id: each.missed.example for each in errors},
        )

    def example(self, data: Data, row: str) -> Example | None:
        """Return a row that can be decided on; None: there is none of this id."""
        found = self.rows.get(row)
        return self.gold.get(row) if data == "gold" else found and found.example

    def siblings(self, row: str) -> list[Row]:
        """Return the rows that were written for an error of a row, that row among them."""
        parents = self.rows[row].example.provenance.parents
        found = {each.id: each for parent in parents for each in self.written[parent]}
        return list(found.values())

    def rounds(self) -> list[int]:
        """Return the rounds that have rows or errors."""
        return sorted({row.round for row in self.rows.values()} | {e.round for e in self.errors})

    def count(self, history: History) -> dict[str, int]:
        """Return how many synthetic rows are in each state, and how many gold rows are decided."""
        counts = Counter(
            name_change(row.example, each.after)
            for each in history.all("synthetic")
            if (row := self.rows.get(each.row))
        )
        undecided = len(self.rows) - sum(counts.values())
        gold = sum(each.row in self.gold for each in history.all("gold"))
        return {**{name: counts[name] for name in REVIEWED}, "undecided": undecided, "gold": gold}


def _rows_of(done: RunRound) -> Iterator[tuple[str, Example]]:
    """Yield id and content of a round's synthetic rows, without prompts: they fill the memory."""
    for row in read_rows(done.folder / "examples.jsonl", Example.from_dict):
        if row.provenance.kind != "gold":
            yield row.id, row


def _unused_of(done: RunRound) -> Iterator[tuple[str, Unused]]:
    """Yield parent and content of each answer of a round that became no row."""

    def read(row: Mapping[str, Any]) -> tuple[Sequence[str], Unused]:
        found = UnusedRow.from_dict(row)
        parents = found.provenance.parents if found.provenance else ()
        return parents, Unused(found.reason, found.completion)

    for parents, item in read_rows(done.folder / "rejected.jsonl", read):
        for parent in parents:
            yield parent, item


def _errors_of(run: Run) -> Iterator[tuple[RunRound, str, MissedRow, bool | None]]:
    """Yield round, id, error, and whether the round after it gets it right."""
    for done in run.rounds:
        after = run.after(done)
        wrong = None if after is None else {each.example.id for each in after.missed}
        for missed in done.missed:
            name = missed.example.id
            yield done, name, missed, None if wrong is None else name not in wrong
