"""Unlabelled passages that methods retrieve from: files, folders of texts, the Hub."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stepsynth._util.hashing import digest
from stepsynth._util.text import clean, is_blank, normalise, shorten
from stepsynth.data.bad_rows import PLAIN, BadRow, Defects, NoColumnError, Reading
from stepsynth.data.decoding import UNREADABLE, open_text
from stepsynth.data.files import HUB, is_saved, rows_of_file
from stepsynth.data.parquet import holds_shards
from stepsynth.errors import DataError
from stepsynth.retrieval import Passage

_FIELDS = ("text", "id")
_KEYS = {"text": "passage", "id": "passage_id"}
"""Field of a passage -> its key in `data.columns`, where `text` is that of a labelled row."""

Warn = Callable[[str], None]


def read_corpus(
    path: str | Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    reading: Reading = PLAIN,
    warn: Warn,
) -> list[Passage]:
    """Return the passages of a corpus, in its order, without empty ones and duplicates.

    Args:
        path: One or several of: what `rows_of_file` reads; a folder of `.txt` files, one passage
            each.
        columns: `text` and `id` -> column of the files, where they differ. A column of ids is not
            needed: a passage without one gets a digest of its text.
        reading: The files' encoding, and what to do about unusable rows.
        warn: Called with the number of passages that were left out, and why.

    Raises:
        DataError: Rows cannot be used, or no passage is left; the message has file, lines and what
            was expected.
    """
    columns = {"text": "text", **(columns or {})}
    paths = [path] if isinstance(path, str) else list(path)
    found = _Found()
    for name in paths:
        defects = Defects(name, reading.on_bad_row)
        good = 0
        rows, own = rows_of_file(name, encoding=reading.encoding, warn=warn), columns
        is_of_texts = Path(name).is_dir() and not is_saved(Path(name)) and not holds_shards(name)
        if is_of_texts and not name.startswith(HUB):
            rows = _text_files(Path(name), reading.encoding)
            own = {field: field for field in _FIELDS}
        for place, row in rows:
            try:
                found.add(row, own, f"{name}, {place}")
                good += 1
            except NoColumnError as error:
                defects.add_lacking(place, error)
            except DataError as error:
                defects.add(place, error.message, error.hint)
        defects.settle(good, warn)
    source = ", ".join(paths)
    if found.empty:
        warn(f"{source}: {_count(found.empty, 'is empty and was', 'are empty and were')} left out")
    if found.duplicates:
        said = _count(found.duplicates, "is a duplicate and was", "are duplicates and were")
        warn(f"{source}: {said} left out")
    if not found.passages:
        raise DataError(
            f"{source or 'corpus'}: there is no passage in it",
            hint=f"rows with a text in the column {columns['text']!r} are needed",
        )
    return list(found.passages.values())


class _Found:
    """The passages of a corpus so far."""

    def __init__(self) -> None:
        self.passages: dict[str, Passage] = {}
        self.empty = self.duplicates = 0
        self._places: dict[str, str] = {}

    def add(self, row: Any, columns: Mapping[str, str], where: str) -> None:
        """Add the passage of a row.

        Raises:
            NoColumnError: It lacks a column.
            DataError: It is no passage, or has the id of another one.
        """
        passage = _read_passage(row, columns)
        if passage is None:
            self.empty += 1
            return
        # A digest: the texts of a large corpus should not be held twice.
        key = digest(normalise(passage.text))
        if key in self.passages:
            self.duplicates += 1
            return
        if passage.id in self._places:
            raise DataError(
                f"the id {shorten(passage.id, 40)!r} is that of another passage "
                f"({self._places[passage.id]})",
                hint="give each passage its own id, or none at all",
            )
        self.passages[key] = passage
        self._places[passage.id] = where


def _text_files(folder: Path, encoding: str | None) -> Iterator[tuple[str, Any]]:
    """Yield the `.txt` files below a folder by name; the id is the path, from the folder on."""
    files = sorted(folder.rglob("*.txt"), key=lambda file: file.relative_to(folder).parts)
    if not files:
        raise DataError(
            f"{folder}: there is no .txt file in this folder",
            hint="a folder is read as one passage for each .txt file; else name a file",
        )
    for file in files:
        place = file.relative_to(folder).as_posix()
        try:
            with open_text(file, encoding) as opened:
                text = opened.read()
        except UNREADABLE as error:
            raise DataError(f"{file}: cannot be read: {error}") from error
        yield place, {"text": text, "id": f"{folder.resolve().name}/{place}"}


def _read_passage(row: Any, columns: Mapping[str, str]) -> Passage | None:
    """Return the passage of a row; None: its text is empty."""
    if isinstance(row, BadRow):
        raise DataError(row.message, hint=row.hint)
    text_column, id_column = columns["text"], columns.get("id", "id")
    if not isinstance(row, Mapping):
        raise DataError(
            f"expected an object with {text_column}", hint='a line is one object: {"text": "..."}'
        )
    for field, column in columns.items():
        if column not in row:
            hint = f"data: {{columns: {{{_KEYS[field]}: ...}}}} names the column"
            raise NoColumnError(column, row, hint)
    text, given = row[text_column], row.get(id_column)
    if text is None or (isinstance(text, str) and is_blank(text)):
        return None
    if not isinstance(text, str):
        raise DataError(
            f"{text_column} is {shorten(repr(text), 40)}, not a text",
            hint="correct the row, or name another column: data: {columns: {passage: ...}}",
        )
    return Passage.of(clean(text), "" if given is None else clean(str(given)))


def _count(number: int, one: str, many: str) -> str:
    return f"1 passage {one}" if number == 1 else f"{number} passages {many}"
