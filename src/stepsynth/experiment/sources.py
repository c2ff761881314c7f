"""Rows wherever they are: JSONL, CSV, TSV, Parquet, Hugging Face data sets, lists, data frames.

Every source yields (place, row): the place is for error messages, the row has the source's columns.
"""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from stepsynth._util.text import shorten
from stepsynth.errors import DataError

HUB = "hf:"
"""What a Hugging Face data set begins with where a path is expected."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}

Rows = Iterator[tuple[str, Any]]


def rows_of_file(path: str | Path) -> Rows:
    """Yield the rows of a file, or of a data set on the Hugging Face Hub.

    Args:
        path: `.jsonl`, `.csv` or `.tsv`, with or without `.gz`; `.parquet`; or
            `hf:NAME[:CONFIG[:SPLIT]]`, where NAME may be a local folder and SPLIT is else `train`.

    Raises:
        DataError: With the file and line, and what was expected.
    """
    if str(path).startswith(HUB):
        yield from _hub(str(path))
        return
    path = Path(path)
    try:
        yield from _parquet(path) if path.suffix.lower() == ".parquet" else _text_file(path)
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


def rows_of_records(rows: Any, name: str) -> Rows:
    """Yield the rows of a list of dictionaries, a data frame, or a `datasets.Dataset`.

    Raises:
        DataError: It is none of these.
    """
    if hasattr(rows, "with_format"):  # of datasets; it is not imported to ask
        if isinstance(rows, Mapping):
            raise DataError(
                f"{name}: this is a dictionary of data sets: {', '.join(map(str, rows))}",
                hint=f"pick a split: data[{str(next(iter(rows), 'train'))!r}]",
            )
        return _hugging_face_rows(rows, name)
    if hasattr(rows, "to_dicts"):  # Polars
        rows = rows.to_dicts()
    elif hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        rows = rows.to_dict(orient="records")
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise DataError(
            f"{name}: expected a list of dictionaries or a data frame, got {type(rows).__name__}"
        )
    return ((f"row {i}", row) for i, row in enumerate(rows))


def _text_file(path: Path) -> Rows:
    suffixes = [s.lower() for s in path.suffixes]
    is_gzipped = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if is_gzipped else suffixes)[-1:]
    if kind not in ([".jsonl"], [".ndjson"], [".csv"], [".tsv"]):
        raise DataError(
            f"{path}: a file of this kind cannot be read",
            hint="JSON lines (.jsonl), .csv and .tsv can, each also with .gz; .parquet; hf:NAME",
        )
    opener = gzip.open if is_gzipped else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield from (
            _delimited(file, path, _DELIMITERS[kind[0]])
            if (kind[0] in _DELIMITERS)
            else _json_lines(file, path)
        )


def _json_lines(file: IO[str], path: Path) -> Rows:
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


def _delimited(file: IO[str], path: Path, delimiter: str) -> Rows:
    # Texts may be long; the standard limit of 131,072 characters is for hostile input.
    csv.field_size_limit(10_000_000)
    header = file.readline()
    if delimiter == "," and header.count(";") > header.count(","):
        delimiter = ";"  # what spreadsheets write where the comma is the decimal point
    file.seek(0)
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    try:
        _check_names(list(reader.fieldnames or ()), f"{path}, line 1")
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


def _check_names(names: list[str], place: str) -> None:
    if len(set(names)) < len(names):
        raise DataError(f"{place}: two columns have the same name: {', '.join(names)}")


def _parquet(path: Path) -> Rows:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise DataError(
            f"{path}: Parquet is read with pyarrow, which is not installed",
            hint="pip install 'stepsynth[parquet]'",
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            _check_names(file.schema_arrow.names, str(path))
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    yield f"row {number}", row
                    number += 1
    except ArrowException as error:
        raise DataError(
            f"{path}: this is no Parquet, or it is damaged: {_one_line(error)}",
            hint="write or download it anew",
        ) from error


def _hub(address: str) -> Rows:
    name, config, split = (*address.removeprefix(HUB).split(":", 2), "", "")[:3]
    if not name:
        raise DataError(f"{address}: the data set has no name", hint="hf:NAME[:CONFIG[:SPLIT]]")
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{address}: it is read with datasets, which is not installed",
            hint="pip install 'stepsynth[transformers]'",
        ) from error
    try:
        loaded = datasets.load_dataset(name, config or None, split=split or "train")
    except Exception as error:  # whatever a file format, the network or the Hub can raise
        raise DataError(
            f"{address}: cannot be loaded: {_one_line(error)}", hint=_hub_hint(error)
        ) from error
    yield from _hugging_face_rows(loaded, address)


def _hub_hint(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "the form is hf:NAME[:CONFIG[:SPLIT]]; without SPLIT it is train"
    return (
        "is the name right, and is there a network? A private data set needs HF_TOKEN; "
        "without a network it must be in the cache (HF_HOME)"
    )


def _hugging_face_rows(dataset: Any, name: str) -> Rows:
    """Yield the rows of a `datasets.Dataset`, with the names of labels in place of their numbers.

    What has no label (-1) gets None, and its place says so.
    """
    names: dict[str, list[str]] = {
        column: feature.names
        for column, feature in (dataset.features or {}).items()
        if hasattr(feature, "names")
    }
    try:
        # Rows come as NumPy arrays or tensors where the user has set such a format.
        for number, row in enumerate(dataset.with_format(None)):
            place = f"row {number}"
            for column, labels in names.items():
                value = row[column]
                row[column] = labels[value] if value is not None and value >= 0 else None
                if value == -1:
                    place += f" ({column} is -1: unlabelled)"
            yield place, row
    except Exception as error:  # whatever a format or a decoder can raise
        raise DataError(f"{name}: cannot be read: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    cause = error.__cause__
    said = f"{error}: {cause}" if cause and str(cause) not in str(error) else str(error)
    return shorten(said, 300) or type(error).__name__
