"""Opening of text files: gzipped or not, in UTF-8, UTF-16, or the encoding of `data.encoding`."""

import codecs
import gzip
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stepsynth._util.text import shorten
from stepsynth.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # The mark of UTF-32 begins with that of UTF-16, so it comes first.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNREADABLE = (OSError, EOFError, zlib.error)
"""Exceptions of a file that cannot be read, or whose compressed data is damaged."""

_WESTERN = "cp1252"
"""The usual encoding of Windows in Western Europe and America, apart from UTF-8."""
_HINT = "save it as UTF-8, or name its encoding: data: {encoding: cp1252}"


def check_encoding(name: str) -> str:
    """Return the name of a text encoding.

    Raises:
        ValueError: Python knows no such encoding.
    """
    try:
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"no encoding of texts is named {name!r}; utf-8, cp1252, latin-1, utf-16, cp1251, "
            "shift_jis, gb18030 are some"
        ) from error
    return name


def is_gzipped(path: Path) -> bool:
    """Say whether a file is gzipped, by its name."""
    return path.suffix.lower() == ".gz"


def kind_of(path: Path) -> str:
    """Return the extension that names a file's format: ".csv" of x.CSV.gz."""
    return (path.with_suffix("") if is_gzipped(path) else path).suffix.lower()


@contextmanager
def open_text(path: Path, encoding: str | None) -> Generator[IO[str], None, None]:
    """Open a text file; line ends stay as they are.

    Args:
        path: The file, gzipped where its name ends so.
        encoding: Encoding of a file that is not UTF-8 and has no byte order mark; None: all are
            UTF-8. One that is UTF-8 is read as such: its other reading would be gibberish.

    Raises:
        DataError: The file is in another encoding; the message has line, byte and a guess.
    """
    opener = gzip.open if is_gzipped(path) else open
    with opener(path, "rb") as raw:
        found = _find_encoding(path, raw.read(200), encoding)
        raw.seek(0)
        if found == encoding and _is_utf8(raw):
            found = "utf-8"
    try:
        with opener(path, "rt", encoding=found, newline="") as file:
            yield file
    except UnicodeError as error:
        with opener(path, "rb") as raw:
            raise _explain(path, raw, found, error) from error


def _find_encoding(path: Path, head: bytes, given: str | None) -> str:
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked is None and given is None and 4 * head.count(0) > len(head):
        name = "utf-16-be" if head.startswith(b"\0") else "utf-16-le"
        raise DataError(
            f"{path}: this is no UTF-8 text: many of its bytes are zero, as in UTF-16",
            hint=f"data: {{encoding: {name}}}, or save it as UTF-8",
        )
    return marked or given or "utf-8"


def _is_utf8(raw: Iterable[bytes]) -> bool:
    """Say whether lines are UTF-8 and more than ASCII, as those of hardly any other file are."""
    is_ascii = True
    try:
        for line in raw:
            is_ascii = line.decode("utf-8").isascii() and is_ascii
    except UnicodeDecodeError:
        return False
    return not is_ascii


def _explain(path: Path, raw: Iterable[bytes], encoding: str, error: UnicodeError) -> DataError:
    """Return the error for a file that is not in the encoding that it was read in."""
    said = "UTF-8" if encoding.startswith("utf-8") else encoding
    number, line, wrong = _first_wrong(raw, encoding)
    if wrong is None:
        return DataError(f"{path}: this is no {said} text: {error}", hint=_HINT)
    where = f"{path}, line {number}: the byte 0x{line[wrong.start]:02X} is no {said}"
    if said != "UTF-8":
        return DataError(where, hint="data.encoding names another encoding than the file is in")
    try:
        shown = shorten(line.decode(_WESTERN), 60)
        for other in raw:  # the lines after it
            other.decode(_WESTERN)
    except UnicodeDecodeError:
        return DataError(where, hint=_HINT)
    return DataError(
        f"{where}; read as {_WESTERN} the line is {shown!r}",
        hint=f"if that is right: data: {{encoding: {_WESTERN}}}; else name another, or save it as "
        "UTF-8",
    )


def _first_wrong(
    raw: Iterable[bytes], encoding: str
) -> tuple[int, bytes, UnicodeDecodeError | None]:
    """Return number, bytes and error of the first undecodable line; no error: none was found."""
    if "\n".encode(encoding).removeprefix(codecs.BOM_UTF8) == b"\n":
        for number, line in enumerate(raw, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return number, line, error
    return 0, b"", None
