"""Read the unlabelled passages that methods retrieve from: files, folders of texts, the Hub."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stepsynth._util.hashing import digest
from stepsynth._util.text import clean, normalise, shorten
from stepsynth.errors import ConfigError, DataError, suggest
from stepsynth.experiment.sources import HUB, rows_of_file
from stepsynth.retrieval import Passage

_FIELDS = ("text", "id")
_KEYS = {"text": "passage", "id": "passage_id"}
"""Field of a passage -> its key in `data.columns`, where `text` is that of a labelled row."""


def read_corpus(
    path: str | Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    warn: Callable[[str], None],
) -> list[Passage]:
    """Return the passages of a corpus, in its order, without empty ones and duplicates.

    Args:
        path: One or several of: `.jsonl`, `.csv`, `.tsv`, each also with `.gz`; `.parquet`; a
            folder of `.txt` files, one passage each; `hf:NAME[:CONFIG[:SPLIT]]`.
        columns: `text` and `id` -> column of the files, where they differ. A column of ids is not
            needed: a passage without one gets a digest of its text.
        warn: Told how many passages were left out, and why.

    Raises:
        ConfigError: `columns` names a field that passages do not have.
        DataError: With the file and line, and what was expected; or no passage is left.
    """
    columns = _check_columns(columns or {})
    paths = [path] if isinstance(path, str) else list(path)
    passages: dict[str, Passage] = {}
    ids: dict[str, str] = {}
    empty = duplicates = 0
    for name in paths:
        for place, row in _rows(name):
            passage = _read_passage(row, columns, f"{name}, {place}")
            if passage is None:
                empty += 1
                continue
            # A digest, for the texts of a large corpus should not be held twice.
            key = digest(normalise(passage.text))
            if key in passages:
                duplicates += 1
                continue
            passages[key] = passage
            _check_id(passage, ids, f"{name}, {place}")
    source = ", ".join(paths)
    if empty:
        warn(f"{source}: {_count(empty, 'is empty and was', 'are empty and were')} left out")
    if duplicates:
        said = _count(duplicates, "is a duplicate and was", "are duplicates and were")
        warn(f"{source}: {said} left out")
    if not passages:
        raise DataError(
            f"{source or 'corpus'}: there is no passage in it",
            hint=f"rows with a text in the column {columns['text']!r} are needed",
        )
    return list(passages.values())


def _rows(name: str) -> Iterator[tuple[str, Any]]:
    """Yield (place, row) of one source."""
    if not name.startswith(HUB) and Path(name).is_dir():
        return _text_files(Path(name))
    return rows_of_file(name)


def _text_files(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the `.txt` files below a folder by name: the id is their path, from the folder on."""
    files = sorted(folder.rglob("*.txt"), key=lambda file: file.relative_to(folder).parts)
    if not files:
        raise DataError(
            f"{folder}: there is no .txt file in this folder",
            hint="a folder is read as one passage for each .txt file; else name a file",
        )
    for file in files:
        place = file.relative_to(folder).as_posix()
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file}: this is no UTF-8 text: {error}", hint="save it as UTF-8"
            ) from error
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error}") from error
        yield place, _File(text, f"{folder.resolve().name}/{place}")


class _File(dict[str, Any]):
    """A row of its own: a file has a text and an id whatever `columns` says."""

    def __init__(self, text: str, id_: str) -> None:
        super().__init__(text=text, id=id_)


def _read_passage(row: Any, columns: Mapping[str, str], where: str) -> Passage | None:
    """Return the passage of a row; None: its text is empty."""
    if isinstance(row, _File):
        columns = {field: field for field in _FIELDS}
    text_column, id_column = columns["text"], columns.get("id", "id")
    if not isinstance(row, Mapping):
        raise DataError(
            f"{where}: expected an object with {text_column}",
            hint='a line is one object: {"text": "..."}',
        )
    for field, column in columns.items():
        if column not in row:
            present = list(map(str, row))
            raise DataError(
                f"{where}: there is no column {column!r}. Columns: {', '.join(present) or 'none'}.",
                hint=suggest(column, present)
                or f"data: {{columns: {{{_KEYS[field]}: ...}}}} names the column",
            )
    text, given = row[text_column], row.get(id_column)
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    if not isinstance(text, str):
        raise DataError(
            f"{where}: {text_column} is {shorten(repr(text), 40)}, not a text",
            hint="correct the row, or name another column: data: {columns: {passage: ...}}",
        )
    return Passage.of(clean(text), "" if given is None else clean(str(given)))


def _check_id(passage: Passage, ids: dict[str, str], where: str) -> None:
    if passage.id in ids:
        raise DataError(
            f"{where}: the id {shorten(passage.id, 40)!r} is that of another passage "
            f"({ids[passage.id]})",
            hint="give each passage its own id, or none at all",
        )
    ids[passage.id] = where


def _check_columns(columns: Mapping[str, str]) -> dict[str, str]:
    for field in columns:
        if field not in _FIELDS:
            raise ConfigError(
                f"columns: a passage has no field {field!r}; it has text and id",
                hint=suggest(field, _FIELDS),
            )
    return {"text": "text", **columns}


def _count(number: int, one: str, many: str) -> str:
    return f"1 passage {one}" if number == 1 else f"{number} passages {many}"
