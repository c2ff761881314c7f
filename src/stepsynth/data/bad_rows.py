"""Unusable rows: reported together for each file, or left out and counted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from stepsynth._util.text import shorten
from stepsynth.errors import DataError, suggest

MOST_TOLD = 20
FEW_TOLD = 3
"""Rows that an error and a warning name, respectively; the others are counted."""

OnBadRow = Literal["error", "skip"]


@dataclass(frozen=True)
class BadRow:
    """A stand-in for a row that could not be read.

    Attributes:
        message: What is wrong with it.
        hint: What to do about it.
    """

    message: str
    hint: str = ""


@dataclass(frozen=True)
class Reading:
    """Options for reading files.

    Attributes:
        encoding: Encoding of text files that are not UTF-8 and have no byte order mark; None: all
            are UTF-8.
        on_bad_row: What to do about unusable rows; None: rows in memory, where they are an error.
    """

    encoding: str | None = None
    on_bad_row: OnBadRow | None = "error"


PLAIN = Reading()
IN_MEMORY = Reading(on_bad_row=None)


class NoColumnError(ValueError):
    """A row without a required column.

    Args:
        column: The missing column.
        present: The columns that the row has.
        hint: What to do if none of them has a similar name.
    """

    def __init__(self, column: str, present: Iterable[object], hint: str) -> None:
        names = [str(name) for name in present]
        listed = shorten(", ".join(names), 300) or "none"
        super().__init__(f"there is no column {column!r}. Columns: {listed}.")
        self.hint = suggest(column, names) or hint


class MissingColumnError(DataError):
    """A source in which no row has a required column."""


class Defects:
    """The unusable rows of one source.

    Args:
        name: The source, for messages.
        on_bad_row: See `Reading`.

    Attributes:
        count: Number of unusable rows so far.
    """

    def __init__(self, name: str, on_bad_row: OnBadRow | None) -> None:
        self._name = name
        self._on_bad_row = on_bad_row
        self.count = 0
        self._told: list[str] = []
        self._hint = ""
        self._lacking = 0

    def add_lacking(self, place: str, error: NoColumnError) -> None:
        """Add a row that lacks a column; if all rows do, the column has another name."""
        self._lacking += 1
        self.add(place, str(error), error.hint)

    def add(self, place: str, message: str, hint: str = "") -> None:
        """Add an unusable row.

        Args:
            place: Where it stands: "line 3".
            message: What is wrong.
            hint: What to do; that of the first row is shown.
        """
        self.count += 1
        self._hint = self._hint or hint
        if self.count <= MOST_TOLD:
            self._told.append(f"{place}: {shorten(message, 400)}")

    def settle(self, good: int, warn: Callable[[str], None] | None) -> None:
        """Report all unusable rows, once everything is read.

        Args:
            good: Number of usable rows.
            warn: Called with what was left out.

        Raises:
            DataError: There are unusable rows, and they are an error or there are no others.
        """
        if not self.count:
            return
        if not good and self._lacking == self.count:
            raise MissingColumnError(f"{self._name}, {self._told[0]}", hint=self._hint)
        if self._on_bad_row == "skip" and good:
            if warn is not None:
                told = self._list(FEW_TOLD, "; ")
                warn(f"{self._name}: {self._rows('was', 'were')} left out, as unusable: {told}")
            return
        hint = self._hint or "correct the row, or take it out of the file"
        if self._on_bad_row == "error":
            hint += "; data: {on_bad_row: skip} leaves out what cannot be used"
        if self.count == 1:
            raise DataError(f"{self._name}, {self._told[0]}", hint=hint)
        told = self._list(MOST_TOLD, "\n  ")
        raise DataError(f"{self._name}: {self.count} rows cannot be used:\n  {told}", hint=hint)

    def _rows(self, one: str, many: str) -> str:
        return f"1 row {one}" if self.count == 1 else f"{self.count} rows {many}"

    def _list(self, most: int, between: str) -> str:
        told = self._told[:most]
        more = self.count - len(told)
        return between.join([*told, *([f"and {more} more"] if more else [])])
