"""The interface of a study, and its findings: tables and charts.

A study describes finished data. It runs no method, asks no LLM and decides nothing, so it may look
at every split.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, TypeAdapter

from stepsynth._util.words import markdown, markdown_row
from stepsynth.executors import Pool, do_tasks
from stepsynth.registry import Registry
from stepsynth.runfolder import read_record
from stepsynth.studies._studied_run import StudiedRun

T = TypeVar("T")

Cell = str | int | float | None
"""A cell of a table; None: not measured, shown as a dash."""

OnProgress = Callable[[str, int, int], None]
"""Receives what is being done, the steps done, and their total."""


def _ignore(*_: Any) -> None: ...


@dataclass(frozen=True)
class Table:
    """A table of findings.

    Attributes:
        title: What it shows, in a few words.
        columns: The names of its k columns.
        rows: k cells each; ratios are 0-1, and percentages are named in their column.
        note: How to read it: sizes, sampling, units.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.title}: {len(self.columns)} columns, but a row is {wrong[0]}")

    def to_markdown(self) -> str:
        """Return the table as Markdown: a bold title, right-aligned numbers, then the note."""
        numeric = [
            any(isinstance(row[i], (int, float)) for row in self.rows)
            and not any(isinstance(row[i], str) for row in self.rows)
            for i in range(len(self.columns))
        ]
        lines = [
            f"**{self.title}**",
            "",
            markdown_row(self.columns),
            "| " + " | ".join("---:" if right else "---" for right in numeric) + " |",
            *(markdown_row(map(format_cell, row)) for row in self.rows),
        ]
        return "\n".join([*lines, "", self.note] if self.note else lines)


@dataclass(frozen=True)
class Chart:
    """A chart of findings.

    Attributes:
        title: What it shows, in a few words.
        spec: A Vega-Lite specification with inline data, as from `altair.Chart(...).to_dict()`;
            size, font and axis colours are the report's.
    """

    title: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Findings:
    """The findings of a study.

    Attributes:
        study: Name of the study.
        tables: Printed tables, the main one first.
        charts: Charts for the report.
        warnings: What the reader must know: what was left out, and why.
    """

    study: str
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Return all tables and warnings as Markdown."""
        parts = [table.to_markdown() for table in self.tables]
        return "\n\n".join([*parts, *(f"> {markdown(warning)}" for warning in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as in `RUN/studies/<study>.json`; NaN and infinities are null."""
        # pydantic's own JSON knows no escaped bytes, which the name of a folder may hold.
        line = json.dumps(TypeAdapter(Findings).dump_python(self, mode="json"))
        return json.loads(line, parse_constant=lambda _: None)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Findings":
        """Return the findings from their JSON form.

        Raises:
            ValueError: The value has another form.
        """
        return TypeAdapter(cls).validate_python(value)


def read_findings(folder: Path) -> list[Findings]:
    """Return the findings that studies wrote into a folder.

    Raises:
        RunFolderError: One of their files is damaged.
    """
    return [read_record(path, Findings.from_dict) for path in sorted(folder.glob("studies/*.json"))]


class Study(BaseModel, ABC):
    """A study: its fields are its options (`--set KEY=VALUE` of `stepsynth study`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    needs_subjects: ClassVar[bool] = True
    """False for a simulation, which needs no run."""

    is_shared_out: ClassVar[bool] = False
    """Whether several workers can do it together: it trains many models, in tasks."""

    random_seed: int = Field(default=0, ge=0, description="Decides what is sampled.")

    _on_progress: OnProgress = PrivateAttr(default=_ignore)
    _pool: Pool = PrivateAttr(default_factory=Pool)
    _jobs: int = PrivateAttr(default=1)

    def watched_by(self, on_progress: OnProgress) -> Self:
        """Report progress to a callback from now on, and return the study."""
        self._on_progress = on_progress
        return self

    def done_by(self, pool: Pool, jobs: int) -> Self:
        """Have a pool do the tasks from now on, so many at a time, and return the study."""
        self._pool, self._jobs = pool, jobs
        return self

    def _do(self, what: str, task: Callable[..., T], given: Sequence[tuple[Any, ...]]) -> list[T]:
        """Return what a function of a module returns for each tuple of arguments, in order."""

        def tell(done: int) -> None:
            self._on_progress(what, done, len(given))

        return do_tasks(self._pool, task, given, jobs=self._jobs, on_done=tell)

    @abstractmethod
    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return the findings; several subjects stand side by side in the tables.

        Raises:
            StepsynthError: These subjects cannot be studied; the message says why.
        """


def studies() -> Registry[Study]:
    """Return the registry of studies."""
    return Registry("stepsynth.studies", "study", Study)


def format_cell(cell: Cell) -> str:
    """Return a cell as text: three decimals, thousands with commas, a dash for None."""
    if isinstance(cell, (bool, str)):
        return str(cell)
    if cell is None or not math.isfinite(cell):
        return "–"
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.3f}"
