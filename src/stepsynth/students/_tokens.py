"""Rows of tokens in few bytes, and beyond a size on disk."""

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

Row = Mapping[str, Any]
T = TypeVar("T")

BLOCK = 1000
"""Texts that are tokenised together; a tokenizer's own objects take 10 kB for one of 60 words."""
_SMALL = ("token_type_ids", "attention_mask")


IN_MEMORY = 16_000_000
"""Numbers of a column that are held in memory; where there are more, all are in a file."""


class _Numbers:
    """Whole numbers of a column, in the order in which they came.

    Args:
        code: Their type, as of `array`.
    """

    def __init__(self, code: str) -> None:
        self._held: Any = array(code)
        self._file: Any = None

    def extend(self, numbers: Iterable[int]) -> None:
        """Add numbers."""
        self._held.extend(numbers)
        if len(self._held) >= IN_MEMORY:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="stepsynth-tokens-")  # noqa: SIM115
            self._held.tofile(self._file)
            del self._held[:]

    def end(self) -> None:
        """Make them readable: what is in a file is mapped into memory."""
        if self._file is not None:
            code = self._held.typecode
            self._held.tofile(self._file)
            self._file.flush()
            self._held = np.memmap(self._file, dtype=code, mode="r")
            self._file.close()

    def __getitem__(self, part: slice) -> list[int]:
        return self._held[part].tolist()


class TokenRows(Sequence[Row]):
    """Rows whose lists of tokens are kept as numbers: 6 bytes a token, where lists take 50.

    Args:
        rows: Dictionaries with the same keys.
        token_keys: Keys with a number for each token; what is under others is kept as it is.
    """

    def __init__(self, rows: Iterable[Row], token_keys: Iterable[str]) -> None:
        tokens = frozenset(token_keys)
        self._ends = array("q", [0])
        self._columns: dict[str, Any] = {}
        for row in rows:
            for key, value in row.items():
                if key not in tokens:
                    self._columns.setdefault(key, []).append(value)
                    continue
                if key not in self._columns:
                    self._columns[key] = _Numbers("b" if key in _SMALL else "i")
                self._columns[key].extend(value)
            self._ends.append(self._ends[-1] + len(row["input_ids"]))
        for column in self._columns.values():
            if isinstance(column, _Numbers):
                column.end()

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        first, end = self._ends[index], self._ends[index + 1]
        row: dict[str, Any] = {}
        for key, column in self._columns.items():
            found = column[first:end] if isinstance(column, _Numbers) else column[index]
            row[key] = found.tolist() if isinstance(found, np.ndarray | np.generic) else found
        return row

    def __len__(self) -> int:
        return len(self._ends) - 1

    def extended(self, **columns: npt.NDArray[Any]) -> "TokenRows":
        """Return the rows with further columns: (n_rows,), or (n_rows, n) for n values a row."""
        longer = copy(self)
        longer._columns = self._columns | columns
        return longer

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(n_rows,) number of tokens of each row."""
        return np.diff(np.asarray(self._ends))


def blocks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield items in their order, as many at once as are tokenised together."""
    for start in range(0, len(items), BLOCK):
        yield items[start : start + BLOCK]
