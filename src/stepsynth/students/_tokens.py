"""Rows of tokens in few bytes."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import pairwise
from typing import Any, TypeVar, overload

Row = Mapping[str, Any]
T = TypeVar("T")

BLOCK = 1000
"""Texts that are tokenised together; a tokenizer's own objects take 10 kB for one of 60 words."""
_SMALL = ("token_type_ids", "attention_mask")


class TokenRows(Sequence[Row]):
    """Rows whose lists of tokens are kept in arrays: 6 bytes a token, where lists take 50.

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
                    self._columns[key] = array("b" if key in _SMALL else "i")
                self._columns[key].extend(value)
            self._ends.append(self._ends[-1] + len(row["input_ids"]))

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        first, end = self._ends[index], self._ends[index + 1]
        return {
            key: column[first:end].tolist() if isinstance(column, array) else column[index]
            for key, column in self._columns.items()
        }

    def __len__(self) -> int:
        return len(self._ends) - 1

    def extended(self, **columns: Sequence[Any]) -> "TokenRows":
        """Return the rows with further columns, a value for each row in each."""
        longer = copy(self)
        longer._columns = self._columns | columns
        return longer

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each row."""
        return [end - first for first, end in pairwise(self._ends)]


def blocks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield items in their order, as many at once as are tokenised together."""
    for start in range(0, len(items), BLOCK):
        yield items[start : start + BLOCK]
