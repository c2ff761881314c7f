"""Parquet files, and data sets of many (shards): a folder or a pattern, here or at an address.

An address (s3://BUCKET/FOLDER, gs://, hf://datasets/NAME, memory://, ...) is one that fsspec knows,
by the library of its kind (s3fs, gcsfs, huggingface_hub).
"""

import glob
import json
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from stepsynth._util.files import replacing, write_json
from stepsynth._util.locks import acquire
from stepsynth._util.text import shorten
from stepsynth.data.bad_rows import BadRow
from stepsynth.data.delimited import check_names
from stepsynth.errors import DataError, StepsynthError

MANIFEST = "manifest.json"
"""File in a folder of shards that lists them, in order, with their numbers of rows."""

BATCH_ROWS = 500
"""Rows that are in memory at a time; some have a megabyte."""

FORMAT = {"compression": "zstd"}
"""How Parquet is written."""

_INSTALL = "pip install 'stepsynth[parquet]'"

Rows = Iterator[tuple[str, Any]]


def is_address(path: str | Path) -> bool:
    """Return whether a path is an address, as s3://BUCKET/NAME."""
    return "://" in str(path)


def holds_shards(path: str | Path) -> bool:
    """Return whether a path is an address, a pattern, or a folder with Parquet files in it."""
    place = Path(path)
    if is_address(path) or (glob.has_magic(str(path)) and not place.exists()):
        return True
    return place.is_dir() and any(place.glob("*.parquet"))


def find_shards(path: str, suffixes: Sequence[str] = (".parquet",)) -> list[str]:
    """Return the files of a data set, in the order of its manifest, or else by name.

    Args:
        path: A folder, a pattern (data/*.parquet), or a file; or the address of one.
        suffixes: How names of its files end.

    Raises:
        DataError: There is no such file, or one that the manifest lists is missing.
    """
    names = _list(path)
    found = sorted(name for name in names if name.endswith(tuple(suffixes)))
    manifest = next((n for n in names if PurePosixPath(n).name == MANIFEST), None)
    # It says nothing of other folders, whose files have the same names.
    if manifest is not None and len({PurePosixPath(name).parent for name in names}) == 1:
        by_name = {PurePosixPath(name).name: name for name in found}
        listed = _read_manifest(manifest)
        if lost := [name for name in listed if name not in by_name]:
            raise DataError(
                f"{path}: {MANIFEST} lists {lost[0]}, which is missing",
                hint="copy the folder anew, all of it",
            )
        found = [by_name[name] for name in listed]
    if not found:
        raise DataError(
            f"{path}: there is no {' or '.join(suffixes)} file",
            hint="name a file, a folder, or a pattern such as data/*.parquet; "
            + beginning_of(path),
        )
    return found


def _list(path: str) -> list[str]:
    """Return the files of a folder, those that fit a pattern, or the file itself."""
    if not is_address(path):
        place = Path(path)
        if place.is_dir():
            return [str(each) for each in place.iterdir()]
        return [path] if place.exists() else glob.glob(path, recursive=True)
    with explained(path):
        system, inner = _fsspec(path).core.url_to_fs(path)
        if system.isdir(inner):
            found = system.ls(inner, detail=False)
        else:
            found = [inner] if system.exists(inner) else system.glob(inner)
        return [system.unstrip_protocol(each) for each in found]


def _read_manifest(path: str) -> list[str]:
    """Return the names of the shards."""
    try:
        with open_binary(path) as file:
            return [str(shard["file"]) for shard in json.load(file)["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: this lists no shards: {error}", hint="remove it to read all files, by name"
        ) from error


@contextmanager
def open_binary(path: str) -> Generator[IO[bytes]]:
    """Open a file, or what is at an address, for reading.

    Raises:
        DataError: It cannot be opened or read.
    """
    if not is_address(path):
        with Path(path).open("rb") as file:
            yield file
        return
    with explained(path), _fsspec(path).open(path, "rb") as file:
        yield file


@contextmanager
def explained(path: str) -> Generator[None]:
    """Make an error of the place of a file one that names it.

    Raises:
        DataError: The file, its network, or a library of its kind of address is wrong.
    """
    try:
        yield
    except StepsynthError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except ImportError as error:
        raise DataError(
            f"{path}: addresses of this kind need a package: {one_line(error)}",
            hint="s3fs for s3://, gcsfs for gs://, huggingface_hub for hf://",
        ) from error
    except Exception as error:  # whatever a file system, its network or its library can raise
        raise DataError(
            f"{path}: cannot be reached: {one_line(error)}",
            hint="are the address and your key right?",
        ) from error


def file_state(path: str) -> tuple[str, int | str]:
    """Return the whole name of a file, and what is another once it has changed.

    Raises:
        DataError: It is gone, or its address cannot be reached.
    """
    with explained(path):
        if not is_address(path):
            return str(Path(path).absolute()), Path(path).stat().st_mtime_ns
        system, inner = _fsspec(path).core.url_to_fs(path)
        return path, system.ukey(inner)


def check_free(address: str) -> None:
    """Check that there is nothing at an address yet.

    Raises:
        DataError: There is, or it cannot be reached.
    """
    with explained(address):
        system, inner = _fsspec(address).core.url_to_fs(address)
        is_taken = system.isfile(inner) or (system.isdir(inner) and system.ls(inner, detail=False))
    if is_taken:
        raise DataError(f"{address}: there is something", hint="give another address")


def send(local: Path, address: str) -> None:
    """Copy a file, or the files of a folder, to an address; the manifest comes last.

    Raises:
        DataError: The address cannot be written to.
    """
    files = sorted(local.iterdir()) if local.is_dir() else [local]
    with explained(address):
        system, inner = _fsspec(address).core.url_to_fs(address)
        folder = inner if local.is_dir() else inner.rpartition("/")[0]
        system.makedirs(folder, exist_ok=True)
        for file in sorted(files, key=lambda file: file.name == MANIFEST):
            system.put_file(str(file), f"{inner}/{file.name}" if local.is_dir() else inner)


def _fsspec(path: str) -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise DataError(
            f"{path}: addresses need fsspec, which is not installed", hint=_INSTALL
        ) from error
    return fsspec


def import_parquet(path: str) -> Any:
    """Return `pyarrow.parquet`.

    Args:
        path: The file, for the message.

    Raises:
        DataError: It is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path}: it needs pyarrow, which is not installed", hint=_INSTALL
        ) from error
    return parquet


def rows_of_shards(path: str) -> Rows:
    """Yield the rows of all files of a data set; the place of a row has its file's name."""
    for name in find_shards(path):
        short = PurePosixPath(name).name
        with open_binary(name) as file:
            for place, row in rows_of_parquet(file, name):
                yield f"{short}, {place}", row


def rows_of_parquet(file: IO[bytes] | Path, name: str) -> Rows:
    """Yield the rows of a Parquet file, a batch in memory at a time.

    Raises:
        DataError: It is damaged, or no Parquet.
    """
    parquet = import_parquet(name)
    with undamaged(name), parquet.ParquetFile(file) as opened:
        check_names(opened.schema_arrow.names, name)
        classes = _classes_of(opened.schema_arrow)
        number = 0
        for batch in opened.iter_batches(batch_size=BATCH_ROWS):
            for row in batch.to_pylist():
                yield with_classes(f"row {number}", row, classes)
                number += 1


def write_shards(folder: Path, tables: Iterable[Any]) -> None:
    """Write Arrow tables as the shards of a folder, a file each, and a manifest.

    A folder that is there is replaced once all files are whole.

    Raises:
        DataError: pyarrow is not installed.
    """
    parquet = import_parquet(str(folder))
    with replacing_folder(folder) as partial:
        sizes: dict[str, int] = {}
        for number, table in enumerate(tables):
            name = f"part-{number:05d}.parquet"
            with replacing(partial / name) as file:
                parquet.write_table(table, file, **FORMAT)
            sizes[name] = table.num_rows
        write_manifest(partial, sizes)


def beginning_of(path: str | Path) -> str:
    """Return what a path that was not found is relative to; those of a task file are absolute."""
    if is_address(path):
        return "an address is whole, with its bucket and folders"
    if Path(path).is_absolute():
        return "paths in a task file are relative to it"
    return f"paths are relative to {Path.cwd()}"


@contextmanager
def replacing_folder(folder: Path) -> Generator[Path]:
    """Make an empty folder that replaces `folder` once the block is done.

    Raises:
        FolderInUseError: Another process is making it.
    """
    work = folder.parent / f".{folder.name}.part"
    work.mkdir(parents=True, exist_ok=True)
    with closing(acquire(work / "lock.sqlite", "folder")):
        partial, before = work / folder.name, work / f"{folder.name}.before"
        _put_back(before, folder)  # by a process that was killed, as the next line
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            if folder.exists():
                os.replace(folder, before)
            os.replace(partial, folder)
        finally:
            _put_back(before, folder)
            shutil.rmtree(work, ignore_errors=True)


def _put_back(before: Path, folder: Path) -> None:
    """Undo the first half of a replacement whose second half did not happen."""
    if before.exists() and not folder.exists():
        os.replace(before, folder)
    shutil.rmtree(before, ignore_errors=True)


def write_manifest(folder: Path, sizes: Mapping[str, int]) -> None:
    """Write which files are the shards of a folder, in order; last, once they are whole.

    Args:
        folder: The folder.
        sizes: Name of a file -> its rows.
    """
    shards = [{"file": name, "rows": rows} for name, rows in sizes.items()]
    write_json(folder / MANIFEST, {"rows": sum(sizes.values()), "shards": shards})


@contextmanager
def undamaged(name: str) -> Generator[None]:
    """Make an error of reading a Parquet file one that names it.

    Raises:
        DataError: The file is damaged, or no Parquet.
    """
    try:
        yield
    except (FileNotFoundError, StepsynthError):
        raise
    except Exception as error:  # whatever a damaged file can raise
        raise DataError(
            f"{name}: this is no Parquet, or it is damaged: {one_line(error)}",
            hint="write or download it anew",
        ) from error


def _classes_of(schema: Any) -> dict[str, list[str]]:
    """Return column -> names of its classes, as datasets writes them into a file.

    Other tools keep what it wrote, even where they leave a column out or put the names into it.
    """
    from pyarrow import types

    written = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(written)["info"]["features"]
        columns = [(field, features[field.name]) for field in schema if field.name in features]
        # A list of classes nests them one level deeper.
        inner = {
            field.name: feature[0] if isinstance(feature, list) else feature.get("feature", feature)
            for field, feature in columns
            if types.is_integer(getattr(field.type, "value_type", field.type))
        }
        return {c: each["names"] for c, each in inner.items() if each.get("_type") == "ClassLabel"}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}  # others may write there, too


def with_classes(place: str, row: Any, classes: Mapping[str, list[str]]) -> tuple[str, Any]:
    """Return place and row, with the names of classes in place of their numbers.

    A value without a class (-1) becomes None, and the place says so.
    """
    for column, names in classes.items():
        value = row[column]
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(n, int) and n >= len(names) for n in numbers):
            return place, BadRow(f"{column} is {value}, and has names for 0 to {len(names) - 1}")
        found = [names[n] if n is not None and n >= 0 else None for n in numbers]
        row[column] = found if isinstance(value, list) else found[0]
        if value == -1:
            place += f" ({column} is -1: unlabelled)"
    return place, row


def one_line(error: Exception) -> str:
    """Return an error's words on one line, with those of its cause."""
    cause = error.__cause__
    said = f"{error}: {cause}" if cause and str(cause) not in str(error) else str(error)
    return shorten(said, 300) or type(error).__name__
