"""Read labelled rows: JSONL, CSV and TSV, gzipped or not; lists of dictionaries; data frames."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from stepsynth.errors import DataError, suggest
from stepsynth.records import Dataset, Example
from stepsynth.tasks import Task

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_file(path: str | Path, task: Task, columns: Mapping[str, str]) -> Dataset:
    """Return the rows of a file.

    Args:
        path: `.jsonl`, `.csv` or `.tsv`, with or without `.gz`.
        task: Says which fields a row has and makes an example of them.
        columns: Field -> column of the file, where they differ.

    Raises:
        DataError: With the file and line, and what was expected.
    """
    return read_rows(_rows_of_file(Path(path)), task, columns, name=str(path))


def read_records(rows: Any, task: Task, columns: Mapping[str, str], *, name: str) -> Dataset:
    """Return the rows of a list of dictionaries, of a data frame, or of a `Dataset` as it is."""
    if isinstance(rows, Dataset):
        rows, columns = [{"text": r.text, "label": r.label} for r in rows], {}
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        rows = rows.to_dict(orient="records")
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise DataError(
            f"{name}: expected a list of dictionaries or a data frame, got {type(rows).__name__}"
        )
    numbered = ((f"row {i}", row) for i, row in enumerate(rows))
    return read_rows(numbered, task, columns, name=name)


def read_rows(
    rows: Iterable[tuple[str, Any]], task: Task, columns: Mapping[str, str], *, name: str
) -> Dataset:
    """Return examples of (place, row) pairs; see `read_file`."""
    wanted = {**task.columns, **columns}
    examples: list[Example] = []
    for place, row in rows:
        if not isinstance(row, Mapping):
            raise DataError(
                f"{name}, {place}: expected an object with {', '.join(wanted.values())}"
            )
        for field, column in wanted.items():
            if column not in row:
                raise _missing(name, place, field, column, list(map(str, row)))
        try:
            fields = {field: row[column] for field, column in wanted.items()}
            examples.append(task.read_example(fields))
        except ValueError as error:
            raise DataError(
                f"{name}, {place}: {error}", hint="correct the row, or take it out of the file"
            ) from error
    if not examples:
        raise DataError(f"{name}: there is no row in it", hint="labelled rows are needed")
    return Dataset(examples)


def _missing(name: str, place: str, field: str, column: str, present: list[str]) -> DataError:
    return DataError(
        f"{name}, {place}: there is no column {column!r}. Columns: {', '.join(present) or 'none'}.",
        hint=suggest(column, present)
        or f"name it in the task file: data: {{columns: {{{field}: YOUR_COLUMN}}}}",
    )


def _rows_of_file(path: Path) -> Iterator[tuple[str, Any]]:
    suffixes = [s.lower() for s in path.suffixes]
    is_gzipped = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if is_gzipped else suffixes)[-1:]
    if kind not in ([".jsonl"], [".ndjson"], [".csv"], [".tsv"]):
        raise DataError(
            f"{path}: a file of this kind cannot be read",
            hint="JSON lines (.jsonl), .csv and .tsv can, each also with .gz",
        )
    opener = gzip.open if is_gzipped else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from (
                _delimited(file, path, _DELIMITERS[kind[0]])
                if (kind[0] in _DELIMITERS)
                else _json_lines(file, path)
            )
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: there is no such file", hint="paths are relative to the task file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: this is no UTF-8 text: {error}", hint="save it as UTF-8"
        ) from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _json_lines(file: IO[str], path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number}: this line is no JSON: {error}",
                hint='a line is one object: {"text": "...", "label": "..."}',
            ) from error


def _delimited(file: IO[str], path: Path, delimiter: str) -> Iterator[tuple[str, Any]]:
    # Texts may be long; the standard limit of 131,072 characters is for hostile input.
    csv.field_size_limit(10_000_000)
    header = file.readline()
    if delimiter == "," and header.count(";") > header.count(","):
        delimiter = ";"  # what spreadsheets write where the comma is the decimal point
    file.seek(0)
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    try:
        names = list(reader.fieldnames or ())
        if len(set(names)) < len(names):
            raise DataError(f"{path}, line 1: two columns have the same name: {', '.join(names)}")
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                count = len(reader.fieldnames or ())
                raise DataError(
                    f"{path}, {place}: this row does not have the {count} fields of the header",
                    hint="a text with a delimiter or a line break in it must stand in quotes",
                )
            yield place, row
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}", hint="is a quote opened and not closed?"
        ) from error
