"""Rows beyond memory: in a file of Arrow that is mapped, of which only what is read is loaded."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

from stepsynth.data.parquet import import_parquet
from stepsynth.records import Dataset, Example, label_from_json, label_to_json

BLOCK = 10_000
"""Rows that are written together, and read by one look-up."""


def spool(rows: Iterable[Example], path: Path) -> Dataset:
    """Write rows into a file, and return a data set that reads them there.

    A row keeps its text, label and context. The file may be removed while the data set is in use,
    where the system allows it.

    Raises:
        DataError: pyarrow is not installed.
    """
    import_parquet(str(path))
    import pyarrow as pa

    # A block of long texts exceeds the 2 GB of a column of `pa.string()`.
    schema = pa.schema([(name, pa.large_string()) for name in ("text", "label", "context")])
    left = iter(rows)
    with path.open("wb") as file, pa.ipc.new_file(file, schema) as writer:
        while block := list(islice(left, BLOCK)):
            columns = {
                "text": [row.text for row in block],
                "label": [json.dumps(label_to_json(row.label)) for row in block],
                "context": [row.context for row in block],
            }
            writer.write_batch(pa.record_batch(columns, schema))
    return Dataset.over(_MappedRows(pa.ipc.open_file(pa.memory_map(str(path)))))


class _MappedRows(Sequence[Example]):
    """The rows of an Arrow file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        blocks = file.num_record_batches
        last = file.get_batch(blocks - 1).num_rows if blocks else 0
        self._length = BLOCK * max(blocks - 1, 0) + last

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if not isinstance(index, slice):
            at = range(len(self))[index]
            return next(self._read(at, at + 1))
        start, stop, step = index.indices(len(self))
        if step != 1:
            return [self[i] for i in range(start, stop, step)]
        return list(self._read(start, stop))

    def __iter__(self) -> Iterator[Example]:
        return self._read(0, len(self))

    def _read(self, start: int, stop: int) -> Iterator[Example]:
        while start < stop:
            number, first = divmod(start, BLOCK)
            count = min(stop - start, BLOCK - first)
            for row in self._file.get_batch(number).slice(first, count).to_pylist():
                label = label_from_json(json.loads(row["label"]))
                yield Example(row["text"], label, row["context"])
            start += count
