"""Tables of rows in a page, which its script searches, filters, sorts and turns over."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stepsynth._util.text import visible

PAGE = 25
"""Rows that are shown at a time."""

MOST_TEXT = 20_000
"""Characters of a text."""

MOST_PARTS = 20
"""Texts of a cell."""

MOST_CHARACTERS = 16_000_000
"""Characters of all rows of a table, as JSON."""

MOST_CHOICES = 500
"""Values of a column that a reader can choose from."""

Part = tuple[str, str] | tuple[str, str, Literal["folded"]]
"""Note and text; "folded": it is shown when it is asked for."""

Cell = str | int | list[list[str]]
"""Number, short text, chip or link; or the parts of a cell of texts."""


@dataclass(frozen=True)
class Column:
    """Column of a table of rows.

    Attributes:
        name: Its heading.
        kind: What its cells are.
        is_choice: Whether the reader can choose one of its values.
        tones: Chip -> "right" or "wrong", which colours it.
    """

    name: str
    kind: Literal["number", "text", "chip", "texts", "link"] = "chip"
    is_choice: bool = False
    tones: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class RowTable:
    """Rows, as many as fit into a page.

    Attributes:
        name: Id in the page.
        columns: Its k columns.
        rows: k cells each.
        total: Rows that there are.
        source: Where all of them are.
        marked: First cell of the rows that stand out.
    """

    name: str
    columns: tuple[Column, ...]
    rows: list[Sequence[Cell]]
    total: int
    source: str
    marked: str

    @property
    def first(self) -> list[Sequence[Cell]]:
        """The rows that are there without the script."""
        return self.rows[:PAGE]

    @property
    def choices(self) -> dict[int, list[str]]:
        """Place of a column -> the values to choose from."""
        found = {
            place: sorted(
                {str(row[place]) for row in self.rows},
                key=lambda value: (len(value) if column.kind == "number" else 0, value),
            )
            for place, column in enumerate(self.columns)
            if column.is_choice
        }
        return {place: values[:MOST_CHOICES] for place, values in found.items() if len(values) > 1}

    @property
    def facts(self) -> dict[str, Any]:
        """What the script is given."""
        columns = [{"name": c.name, "kind": c.kind, "tones": c.tones} for c in self.columns]
        return {"page": PAGE, "columns": columns, "rows": self.rows, "marked": self.marked}


def make_rows(
    name: str,
    columns: tuple[Column, ...],
    rows: Iterable[Sequence[Cell]],
    *,
    source: str = "",
    marked: str = "",
    most: int = MOST_CHARACTERS,
) -> RowTable:
    """Return a table of rows that are safe to show, from the first to the last one that fits.

    Args:
        name: Id in the page.
        columns: Its k columns.
        rows: k cells each.
        source: Where all rows are.
        marked: First cell of the rows that stand out.
        most: Characters of all rows, as JSON.
    """
    kept: list[Sequence[Cell]] = []
    total = used = 0
    for row in rows:
        total += 1
        used += len(json.dumps(row, ensure_ascii=False))
        if used <= most:  # it only grows: what follows a row that is too large is left out too
            kept.append([visible(cell) if isinstance(cell, str) else cell for cell in row])
    return RowTable(name, columns, kept, total, source, marked)


def texts(*parts: Part) -> list[list[str]]:
    """Return a cell of texts, without those that are empty."""
    found = [[visible(note), cut(text), *more] for note, text, *more in parts if text.strip()]
    rest = len(found) - MOST_PARTS
    return [*found[:MOST_PARTS], *([["", f"… ({rest:,} more)"]] if rest > 0 else [])]


def cut(value: object) -> str:
    """Return a text that is safe to show, and no longer than a page takes."""
    text = str(value)
    rest = len(text) - MOST_TEXT
    return visible(text[:MOST_TEXT]) + (f"… ({rest:,} more characters)" if rest > 0 else "")
