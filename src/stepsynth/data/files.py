"""Rows of files of every kind, Hugging Face data sets, lists and data frames.

Every source yields (place, row). The place is for error messages. The row has the source's columns,
or is a `BadRow` that says why it could not be read.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO, StringIO
from json import JSONDecodeError
from pathlib import Path
from typing import IO, Any

from stepsynth._util.files import parse_json
from stepsynth.data.annotated import flatten
from stepsynth.data.bad_rows import BadRow
from stepsynth.data.decoding import UNREADABLE, is_gzipped, kind_of, open_text
from stepsynth.data.delimited import DIVIDERS, check_names, rows_of_delimited
from stepsynth.data.parquet import (
    beginning_of,
    holds_shards,
    is_address,
    one_line,
    rows_of_parquet,
    rows_of_shards,
    with_classes,
)
from stepsynth.data.sheets import rows_of_sheet
from stepsynth.errors import DataError

HUB = "hf:"
"""Prefix of a Hugging Face data set in place of a path."""

READ = (
    ".jsonl, .json, .csv and .tsv, each also with .gz; .parquet; .xlsx; a folder of .parquet "
    "files or of save_to_disk"
)
"""Formats that can be read, for messages."""

_SAVED = ("state.json", "dataset_dict.json")
"""Files that `save_to_disk` of datasets writes, for a data set and for a dictionary of them."""

Rows = Iterator[tuple[str, Any]]
Warn = Callable[[str], None]


def rows_of_file(
    path: str | Path, *, encoding: str | None = None, warn: Warn | None = None
) -> Rows:
    """Yield the rows of a file, or of a data set on the Hugging Face Hub.

    Exports of Label Studio and Argilla are made flat: each question is a column.

    Args:
        path: `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet` or `.xlsx`, with or without `.gz`; a
            folder or a pattern of `.parquet` files, also at an address (see `find_shards`); a
            folder that `save_to_disk` of datasets wrote; or `hf:NAME[:CONFIG[:SPLIT]]`, where NAME
            may be a local folder and SPLIT is `train` by default.
        encoding: Encoding of text files that are not UTF-8 and have no mark; None: all are UTF-8.
        warn: Called with what was inferred about the file and may be wrong.

    Raises:
        DataError: The file cannot be read; the message has its line and what was expected.
    """
    yield from _flat(_rows(path, encoding, warn))


def _flat(rows: Rows) -> Rows:
    for place, row in rows:
        yield place, flatten(row) if isinstance(row, Mapping) else row


def _rows(path: str | Path, encoding: str | None, warn: Warn | None) -> Rows:
    if str(path).startswith(HUB) and not is_address(path):
        yield from _hub(str(path))
        return
    if holds_shards(path) and not is_saved(Path(path)):
        yield from rows_of_shards(str(path))
        return
    path = Path(path)
    try:
        yield from _file(path, encoding, warn)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file", hint=beginning_of(path)) from error
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _file(path: Path, encoding: str | None, warn: Warn | None) -> Rows:
    kind = kind_of(path)
    if path.is_dir():
        yield from _folder(path, "", str(path))
    elif kind == ".parquet":
        yield from rows_of_parquet(_bytes(path), str(path))
    elif kind == ".xlsx":
        yield from rows_of_sheet(_bytes(path), str(path), warn)
    elif kind in DIVIDERS:
        with open_text(path, encoding) as file:
            yield from rows_of_delimited(file, str(path), kind, warn)
    elif kind in (".jsonl", ".ndjson"):
        with open_text(path, encoding) as file:
            yield from _json_lines(file)
    elif kind == ".json":
        with open_text(path, encoding) as file:
            yield from _json(file.read(), path)
    else:
        sheets = ("; save it as .xlsx or .csv") if kind in (".xls", ".ods", ".numbers") else ""
        raise DataError(f"{path}: a file of this kind cannot be read", hint=f"{READ}{sheets}")


def _bytes(path: Path) -> Path | BytesIO:
    """Return a binary file, decompressed if it is gzipped."""
    return BytesIO(gzip.decompress(path.read_bytes())) if is_gzipped(path) else path


def rows_of_records(rows: Any, name: str) -> Rows:
    """Yield the rows of a list of dictionaries, a data frame, or a `datasets.Dataset`.

    Raises:
        DataError: It is none of these, or two columns have the same name.
    """
    if hasattr(rows, "with_format"):  # of datasets, which is not imported to ask
        if isinstance(rows, Mapping):
            raise DataError(
                f"{name}: this is a dictionary of data sets: {', '.join(map(str, rows))}",
                hint=f"pick a split: data[{str(next(iter(rows), 'train'))!r}]",
            )
        return _flat(_hugging_face_rows(rows, name))
    if hasattr(rows, "to_dicts"):  # Polars
        rows = rows.to_dicts()
    elif hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        check_names(list(map(str, rows.columns)), name)
        rows = rows.to_dict(orient="records")
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise DataError(
            f"{name}: expected a list of dictionaries or a data frame, got {type(rows).__name__}"
        )
    return _flat((f"row {i}", row) for i, row in enumerate(rows))


def _json_lines(file: IO[str]) -> Rows:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except (ValueError, RecursionError) as error:
            hint = 'a line is one object: {"text": "...", "label": "..."}'
            row = BadRow(f"this line is no JSON that can be read: {error}", hint)
        yield f"line {number}", row


def _json(text: str, path: Path) -> Rows:
    """Yield the rows of an array, of an object with one under `data`, or of JSON lines."""
    try:
        value = parse_json(text)
    except JSONDecodeError as error:
        if error.msg == "Extra data":
            yield from _json_lines(StringIO(text, newline=""))
            return
        raise DataError(f"{path}, line {error.lineno}: this is no JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: this is no JSON that can be read: {error}") from error
    rows = value.get("data") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise DataError(
            f"{path}: expected an array of objects, or an object with one under `data`",
            hint='[{"text": "...", "label": "..."}, ...]',
        )
    yield from ((f"row {number}", row) for number, row in enumerate(rows))


def _folder(path: Path, split: str, name: str) -> Rows:
    """Yield the rows of a folder that `save_to_disk` of datasets wrote."""
    if not is_saved(path):
        raise DataError(
            f"{name}: this is a folder, and none with .parquet files or of save_to_disk of "
            "datasets",
            hint="name a file in it, or hf:FOLDER for what datasets.load_dataset reads",
        )
    datasets = _import_datasets(name)
    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:  # whatever a file format can raise
        raise DataError(f"{name}: cannot be loaded: {one_line(error)}") from error
    if isinstance(loaded, Mapping):
        wanted = split or "train"
        if wanted not in loaded:
            raise DataError(
                f"{name}: there is no split {wanted!r} in it, but {', '.join(map(str, loaded))}",
                hint=f"{HUB}{path}::{next(iter(loaded), 'train')}",
            )
        loaded = loaded[wanted]
    yield from _hugging_face_rows(loaded, name)


def is_saved(path: Path) -> bool:
    """Say whether `save_to_disk` of datasets wrote a folder."""
    return any((path / each).is_file() for each in _SAVED)


def _import_datasets(name: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name}: it is read with datasets, which is not installed",
            hint="pip install 'stepsynth[transformers]'",
        ) from error
    return datasets


def _hub(address: str) -> Rows:
    name, config, split = (*address.removeprefix(HUB).split(":", 2), "", "")[:3]
    if not name:
        raise DataError(f"{address}: the data set has no name", hint="hf:NAME[:CONFIG[:SPLIT]]")
    if is_saved(Path(name)):
        yield from _folder(Path(name), split, address)
        return
    datasets = _import_datasets(address)
    try:
        loaded = datasets.load_dataset(name, config or None, split=split or "train")
    except Exception as error:  # whatever a file format, the network or the Hub can raise
        raise DataError(
            f"{address}: cannot be loaded: {one_line(error)}", hint=_hub_hint(error)
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
    """Yield the rows of a `datasets.Dataset`."""
    classes: dict[str, list[str]] = {}
    for column, feature in (dataset.features or {}).items():
        inner = getattr(feature, "feature", feature)
        if hasattr(inner, "names"):
            classes[column] = inner.names
    try:
        # Rows come as NumPy arrays or tensors where the user has set such a format.
        for number, row in enumerate(dataset.with_format(None)):
            yield with_classes(f"row {number}", row, classes)
    except Exception as error:  # whatever a format or a decoder can raise
        raise DataError(f"{name}: cannot be read: {one_line(error)}") from error
