"""Atomic writes of files, and reading of JSON lines."""

import contextlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from stepsynth.errors import RunFolderError

_PART = ".part-"
"""Part of the name of a file that is being written."""
_SQLITE = b"SQLite format 3\0"
"""Beginning of a file of SQLite; none of those that we replace is one."""


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8 with plain newlines; make its folder if needed."""
    with replacing(path) as file:
        file.write(_encode(text))


@contextlib.contextmanager
def replacing(path: Path) -> Generator[IO[bytes], None, None]:
    """Open a file that replaces `path` once the block is done; make its folder if needed.

    Raises:
        RunFolderError: The path is a folder or a database, or cannot be written to.
    """
    if path.is_dir():
        raise RunFolderError(f"{path}: this is a folder", hint="give the name of a file")
    if _is_database(path):
        raise RunFolderError(
            f"{path}: this is a database, perhaps a store of answers that were paid for",
            hint="give the name of another file",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_PART}")
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        make_readable(Path(temporary))  # mkstemp makes private files
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:  # there is none, or writing says what the trouble is
        return False


def sweep(folder: Path) -> None:
    """Remove partial files that a killed process left behind."""
    for left in folder.glob(f".*{_PART}*"):
        left.unlink(missing_ok=True)


def make_readable(file: Path) -> None:
    """Give a file the default permissions, since some libraries make it private."""
    if file.is_file():
        os.chmod(file, 0o666 & ~_umask())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line."""
    with replacing(path) as file:
        for row in rows:
            file.write(_encode(to_line(row) + "\n"))


def to_line(row: Any) -> str:
    """Return a value as one line of JSON that `str.splitlines` cannot break in two."""
    line = json.dumps(row, ensure_ascii=False)
    for mark in ("\u2028", "\u2029", "\u0085"):
        line = line.replace(mark, f"\\u{ord(mark):04x}")
    return line


def read_jsonl(path: Path) -> Iterator[Any]:
    """Yield the values of a JSON-lines file that we wrote ourselves."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def parse_json(text: bytes | str) -> Any:
    """Return the JSON value of a row from elsewhere.

    Raises:
        ValueError: It is no JSON, or an object has a key twice, so that one value would be lost.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, many in Counter(key for key, _ in pairs).items() if many > 1)
        raise ValueError(f"{twice!r} is there twice in one object")
    return found


def read_object(text: bytes | str) -> dict[str, Any] | None:
    """Return the JSON object that a text from elsewhere holds; None if it holds none."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _encode(text: str) -> bytes:
    """Return a text as UTF-8; escaped bytes of a path are restored where they are UTF-8."""
    try:
        data = text.encode("utf-8", "surrogateescape")
        data.decode()
    except UnicodeError:  # escaped bytes that are not UTF-8, or lone surrogates
        return text.encode("utf-8", "replace")
    return data


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
