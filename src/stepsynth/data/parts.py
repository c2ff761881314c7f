"""Parts of big data sets of JSON lines or Parquet, read and filtered by processes side by side."""

import gzip
import os
import shutil
from codecs import BOM_UTF8
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepsynth._util.files import parse_json, replacing
from stepsynth._util.text import is_blank, shorten
from stepsynth.data.bad_rows import NoColumnError
from stepsynth.data.decoding import UNREADABLE
from stepsynth.data.parquet import (
    BATCH_ROWS,
    FORMAT,
    file_state,
    find_shards,
    import_parquet,
    open_binary,
    replacing_folder,
    undamaged,
    write_manifest,
)
from stepsynth.errors import DataError
from stepsynth.metrics import Flags

PART_BYTES, PART_ROWS = 64_000_000, 250_000
"""About the size of a part: of JSON lines, and of Parquet."""

KINDS = {".jsonl": ".jsonl", ".jsonl.gz": ".jsonl", ".parquet": ".parquet"}
"""How names of files end -> how those of their parts do."""


@dataclass(frozen=True)
class Columns:
    """The columns of texts and, if there is one, of contexts."""

    text: str = "text"
    context: str | None = None

    def read(self, row: Any, place: str) -> tuple[str, str] | None:
        """Return context and text of a row; None: its text is missing or blank.

        Raises:
            DataError: It is no object, or its text is something else.
        """
        if not isinstance(row, Mapping):
            raise DataError(f"{place}: expected an object", hint='{"text": "..."}')
        text = self._value(row, self.text, place)
        context = self._value(row, self.context, place) if self.context else ""
        return None if is_blank(text) else (context, text)

    def check(self, present: Iterable[str], path: str) -> None:
        """Check that a file has the columns.

        Raises:
            DataError: It lacks one.
        """
        present = list(present)
        for column in filter(None, (self.text, self.context)):
            if column not in present:
                error = NoColumnError(column, present, "--text and --context name the columns")
                raise DataError(f"{path}: {error}", hint=error.hint)

    def _value(self, row: Mapping[Any, Any], column: str, place: str) -> str:
        value = row.get(column)
        if not isinstance(value, str | None):
            raise DataError(
                f"{place}: {column} is {shorten(repr(value), 40)}, not a text",
                hint="correct the row, or name another column by --text",
            )
        return value or ""


@dataclass(frozen=True)
class JsonLines:
    """A part of a file of JSON lines: those that begin in a range of its bytes.

    Attributes:
        path: The file or its address.
        start: First byte of the range.
        end: End of the range; None: of the file.
        columns: The columns to read.
    """

    path: str
    start: int
    end: int | None
    columns: Columns

    def texts(self) -> Iterator[tuple[str, str] | None]:
        """Yield context and text of each row; None: it has no text."""
        for at, line in self._lines():
            place = f"{self.path}, the line at byte {at:,}"
            yield self.columns.read(_parse(line, place), place)

    def write(self, kept: Flags, target: Path) -> None:
        """Write the lines that are kept, as they are; see `curation.Part`."""
        which = iter(kept.tolist())
        with replacing(target) as file:
            for (_, line), row in zip(self._lines(), self.texts(), strict=True):
                if row is not None and _next(which, self.path):
                    file.write(line.rstrip(b"\r\n") + b"\n")

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines of the part that are not blank, with the byte where each begins."""
        try:
            with _opened(self.path) as file:
                at = self.start
                if at:  # a line that begins before it is of the part before
                    file.seek(at - 1)
                    at += len(file.readline()) - 1
                while (self.end is None or at < self.end) and (line := file.readline()):
                    if line.strip():
                        # Within a file that is made of several, a mark would be no JSON.
                        yield at, line if at else line.removeprefix(BOM_UTF8)
                    at += len(line)
        except UNREADABLE as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error

    def check(self) -> None:
        """Check that the first row has the columns.

        Raises:
            DataError: It lacks one, or is no object.
        """
        for at, line in self._lines():
            place = f"{self.path}, the line at byte {at:,}"
            row = _parse(line, place)
            self.columns.read(row, place)
            self.columns.check(row, self.path)
            return


def _next(which: Iterator[bool], path: str) -> bool:
    for flag in which:
        return flag
    raise DataError(
        f"{path}: it has changed since it was first read", hint="the same command begins anew"
    )


def _parse(line: bytes, place: str) -> Any:
    try:
        return parse_json(line)
    except (ValueError, RecursionError) as error:
        hint = 'a line is one object, in UTF-8: {"text": "..."}'
        raise DataError(f"{place}: this is no JSON that can be read: {error}", hint=hint) from error


@contextmanager
def _opened(path: str) -> Generator[Any]:
    with open_binary(path) as file:
        if path.endswith(".gz"):
            with gzip.open(file) as opened:
                yield opened
        else:
            yield file


@dataclass(frozen=True)
class RowGroups:
    """A part of a Parquet file: some of its row groups.

    Attributes:
        path: The file or its address.
        groups: Numbers of the row groups.
        columns: The columns to read.
    """

    path: str
    groups: tuple[int, ...]
    columns: Columns

    def texts(self) -> Iterator[tuple[str, str] | None]:
        """Yield context and text of each row; None: it has no text."""
        names = [name for name in (self.columns.text, self.columns.context) if name]
        number = 0
        for batch in self._batches(names):
            for row in batch.to_pylist():
                place = f"{self.path}, row {number} of row group {self.groups[0]}"
                yield self.columns.read(row, place)
                number += 1

    def write(self, kept: Flags, target: Path) -> None:
        """Write the rows that are kept, with all columns; see `curation.Part`."""
        import pyarrow as pa

        parquet = import_parquet(self.path)
        with open_binary(self.path) as file, undamaged(self.path):
            schema = parquet.read_schema(file)
        which, texts = iter(kept.tolist()), self.texts()
        with replacing(target) as file, parquet.ParquetWriter(file, schema, **FORMAT) as writer:
            for batch in self._batches(None):
                rows = (next(texts) for _ in range(len(batch)))
                mask = [row is not None and _next(which, self.path) for row in rows]
                writer.write_batch(batch.filter(pa.array(mask, pa.bool_())))

    def _batches(self, names: list[str] | None) -> Iterator[Any]:
        """Yield the rows of some columns; None: of all."""
        parquet = import_parquet(self.path)
        groups = list(self.groups)
        with (
            open_binary(self.path) as file,
            undamaged(self.path),
            parquet.ParquetFile(file) as opened,
        ):
            yield from opened.iter_batches(BATCH_ROWS, row_groups=groups, columns=names)


def find_parts(paths: list[str], columns: Columns) -> tuple[str, list[JsonLines | RowGroups]]:
    """Return the kind of data sets (".jsonl" or ".parquet"), and all their parts in order.

    Args:
        paths: Each a file, a folder of them, a pattern, or the address of one.
        columns: The columns to read.

    Raises:
        DataError: A file is missing or damaged, lacks a column, or is of another kind.
    """
    names = [name for path in paths for name in find_shards(path, tuple(KINDS))]
    kinds = {KINDS[suffix]: name for name in names for suffix in KINDS if name.endswith(suffix)}
    if len(kinds) > 1:
        raise DataError(
            f"{' and '.join(kinds.values())} are of two kinds", hint="give files of one kind"
        )
    kind = next(iter(kinds))
    cut = _cut_lines if kind == ".jsonl" else _cut_parquet
    return kind, [part for name in names for part in cut(name, columns)]


def _cut_lines(path: str, columns: Columns) -> Iterator[JsonLines]:
    whole = JsonLines(path, 0, None, columns)
    whole.check()
    if path.endswith(".gz"):  # it can be read from its beginning only
        yield whole
        return
    with open_binary(path) as file:
        size = file.seek(0, 2)
    for start in range(0, size, PART_BYTES):
        yield JsonLines(path, start, min(start + PART_BYTES, size), columns)


def _cut_parquet(path: str, columns: Columns) -> Iterator[RowGroups]:
    parquet = import_parquet(path)
    with open_binary(path) as file, undamaged(path), parquet.ParquetFile(file) as opened:
        metadata, present = opened.metadata, opened.schema_arrow.names
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    columns.check(present, path)
    groups: list[int] = []
    for i, _ in enumerate(sizes):
        groups.append(i)
        if sum(sizes[g] for g in groups) >= PART_ROWS:
            yield RowGroups(path, tuple(groups), columns)
            groups = []
    if groups or not sizes:  # a file without rows has columns all the same
        yield RowGroups(path, tuple(groups), columns)


def states(parts: Iterable[JsonLines | RowGroups]) -> list[Any]:
    """Return what tells parts from those of other files, or of a later state of theirs, as JSON.

    Raises:
        DataError: A file is gone.
    """
    parts = list(parts)
    of_files = {path: file_state(path) for path in dict.fromkeys(part.path for part in parts)}
    return [[*of_files[part.path], *_cut(part)] for part in parts]


def _cut(part: JsonLines | RowGroups) -> list[Any]:
    return [part.start, part.end] if isinstance(part, JsonLines) else list(part.groups)


def gather(files: Iterable[Path], output: Path, kind: str) -> None:
    """Write the files of all parts into one, or move them into a folder.

    Args:
        files: What the parts have written.
        output: The file, or the folder if its name has no suffix.
        kind: ".jsonl" or ".parquet".

    Raises:
        DataError: Parquet files of different columns are to become one.
    """
    if not output.suffix:
        _gather_in_folder(files, output, kind)
    elif kind == ".jsonl":
        with replacing(output) as out:
            for path in files:
                with path.open("rb") as file:
                    shutil.copyfileobj(file, out)
    else:
        _gather_parquet(list(files), output)


def _gather_parquet(files: Sequence[Path], output: Path) -> None:
    parquet = import_parquet(str(output))
    schemas = [parquet.read_schema(path) for path in files]
    if other := next((s for s in schemas if not s.equals(schemas[0])), None):
        raise DataError(
            f"{output}: the Parquet files have different columns, as {schemas[0].names} and "
            f"{other.names}, or columns of different types",
            hint="give a folder as --output: each file then keeps its own",
        )
    with replacing(output) as out, parquet.ParquetWriter(out, schemas[0], **FORMAT) as writer:
        for path in files:
            with parquet.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))


def _gather_in_folder(files: Iterable[Path], output: Path, kind: str) -> None:
    with replacing_folder(output) as partial:
        sizes: dict[str, int] = {}
        for number, path in enumerate(files):
            name = f"part-{number:05d}{kind}"
            sizes[name] = _count(path, kind)
            os.replace(path, partial / name)
        write_manifest(partial, sizes)


def _count(path: Path, kind: str) -> int:
    if kind == ".parquet":
        return import_parquet(str(path)).read_metadata(path).num_rows
    with path.open("rb") as file:
        return sum(1 for _ in file)
