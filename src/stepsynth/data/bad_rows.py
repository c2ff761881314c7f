"""Rows that cannot be used: all of a file are told at once, or they are left out and counted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from stepsynth._util.text import shorten
from stepsynth.errors import DataError, suggest

MOST_TOLD = 20
FEW_TOLD = 3
"""Rows that an error and a warning name; the others are counted."""

OnBadRow = Literal["error", "skip"]


@dataclass(frozen=True)
class BadRow:
    """Stands in the place of a row that could not be read.

    Attributes:
        message: What is wrong with it.
        hint: What to do about it.
    """

    message: str
    hint: str = ""


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        encoding: What text files are encoded in, where they do not begin with a mark that says so;
            None: UTF-8.
        on_bad_row: What to do about rows that cannot be used; None: rows in memory, an error.
    """

    encoding: str | None = None
    on_bad_row: OnBadRow | None = "error"


PLAIN = Reading()
IN_MEMORY = Reading(on_bad_row=None)


class NoColumnError(ValueError):
    """A row lacks a column.

    Args:
        column: The column.
        present: Those that it has.
        hint: What to do where none of those is alike.
    """

    def __init__(self, column: str, present: Iterable[object], hint: str) -> None:
        names = [str(name) for name in present]
        listed = shorten(", ".join(names), 300) or "none"
        super().__init__(f"there is no column {column!r}. Columns: {listed}.")
        self.hint = suggest(column, names) or hint


class Defects:
    """What is wrong with the rows of one source.

    Args:
        name: The source, for messages.
        on_bad_row: See `Reading`.

    Attributes:
        count: How many cannot be used so far.
    """

    def __init__(self, name: str, on_bad_row: OnBadRow | None) -> None:
        self._name = name
        self._on_bad_row = on_bad_row
        self.count = 0
        self._told: list[str] = []
        self._hint = ""
        self._lacking = 0

    def add_lacking(self, place: str, error: NoColumnError) -> None:
        """Take a row that lacks a column; where all do, the column has another name."""
        self._lacking += 1
        self.add(place, str(error), error.hint)

    def add(self, place: str, message: str, hint: str = "") -> None:
        """Take a row that cannot be used.

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
        """Tell of all of them, once everything is read.

        Args:
            good: How many rows can be used.
            warn: Told what was left out.

        Raises:
            DataError: There are bad rows and they are not to be left out, or no other is there.
        """
        if not self.count:
            return
        if not good and self._lacking == self.count:
            raise DataError(f"{self._name}, {self._told[0]}", hint=self._hint)
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
