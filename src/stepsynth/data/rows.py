"""Examples and contexts made from rows: columns become fields, and errors name their place."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from stepsynth._util.text import normalise, shorten
from stepsynth.data.bad_rows import (
    IN_MEMORY,
    PLAIN,
    BadRow,
    Defects,
    NoColumnError,
    Reading,
)
from stepsynth.data.files import rows_of_file, rows_of_records
from stepsynth.errors import DataError
from stepsynth.records import Answers, Context, Dataset, Example, label_to_json
from stepsynth.tasks import Task
from stepsynth.tasks.classification import read_text

_Made = TypeVar("_Made", Example, Context)


def read_file(
    path: str | Path,
    task: Task,
    columns: Mapping[str, str],
    *,
    reading: Reading = PLAIN,
    warn: Callable[[str], None] | None = None,
) -> Dataset:
    """Return the rows of a file, or of a data set on the Hugging Face Hub.

    Args:
        path: See `rows_of_file`.
        task: Defines the fields of a row, and makes an example of them.
        columns: Field -> column of the file, where they differ.
        reading: The file's encoding, and what to do about unusable rows.
        warn: Called with what was corrected or left out.

    Raises:
        DataError: Rows cannot be used; the message has file, lines and what was expected.
    """
    rows = rows_of_file(path, encoding=reading.encoding, warn=warn)
    return read_rows(rows, task, columns, name=str(path), reading=reading, warn=warn)


def stream_file(
    path: str,
    task: Task,
    columns: Mapping[str, str],
    *,
    reading: Reading = PLAIN,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Example]:
    """Yield the rows of a file or a data set in shards, few of which are in memory at a time.

    A row that lacks one of the columns may have those of a run's data set. See `read_file` for the
    arguments; its errors come when all rows are read.
    """
    columns = {**task.columns, **task.optional_columns, **columns}
    own = {field: field for field in columns} | run_columns(task)

    def named(row: Any) -> Any:
        if not isinstance(row, Mapping) or all(columns[field] in row for field in task.columns):
            return row
        if any(own[field] not in row for field in task.columns):
            return row
        return {column: row[own[field]] for field, column in columns.items() if own[field] in row}

    rows = rows_of_file(path, encoding=reading.encoding, warn=warn)
    named_rows = ((place, named(row)) for place, row in rows)
    return _read(named_rows, task.read_example, columns, task.columns, path, reading, warn)


def run_columns(task: Task) -> dict[str, str]:
    """Return field -> column in the data set of a run, for the fields that a row must have."""
    return {field: "label" if field == "answers" else field for field in task.columns}


def read_records(
    rows: Any,
    task: Task,
    columns: Mapping[str, str],
    *,
    name: str,
    warn: Callable[[str], None] | None = None,
) -> Dataset:
    """Return the rows of dictionaries, a data frame, a `datasets.Dataset`, or our own `Dataset`.

    The fields of a `Dataset` have their own names, whatever `columns` says.
    """
    if isinstance(rows, Dataset):
        rows, columns = [_to_fields(row) for row in rows], {field: field for field in task.columns}
    return read_rows(rows_of_records(rows, name), task, columns, name=name, warn=warn)


def read_rows(
    rows: Iterable[tuple[str, Any]],
    task: Task,
    columns: Mapping[str, str],
    *,
    name: str,
    reading: Reading = IN_MEMORY,
    warn: Callable[[str], None] | None = None,
) -> Dataset:
    """Return examples of (place, row) pairs; see `read_file`."""
    columns = {**task.columns, **task.optional_columns, **columns}
    return Dataset(_read(rows, task.read_example, columns, task.columns, name, reading, warn))


def read_unlabelled(
    path: str,
    task: Task,
    columns: Mapping[str, str],
    *,
    reading: Reading = PLAIN,
    warn: Callable[[str], None] | None = None,
) -> Dataset:
    """Return the texts of a file, with contexts where rows of the task have them, and no labels.

    Each text is returned once. See `read_file` for the arguments and errors.
    """
    fields = [field for field in ("text", "context") if field in task.columns]
    named = {field: {**task.columns, **columns}[field] for field in fields}

    def make(row: Mapping[str, Any]) -> Example:
        context = read_text(row, "context") if "context" in named else None
        return Example(read_text(row, "text"), "", context)

    rows = rows_of_file(path, encoding=reading.encoding, warn=warn)
    made = list(_read(rows, make, named, fields, path, reading, warn))
    once: dict[object, Example] = {}
    for row in made:
        once.setdefault((normalise(row.text), row.context), row)
    if len(once) < len(made) and warn is not None:
        warn(f"{path}: {len(made) - len(once)} texts were there already and were left out")
    return Dataset(once.values())


def read_contexts(
    source: Any,
    task: Task,
    columns: Mapping[str, str],
    *,
    reading: Reading = PLAIN,
    warn: Callable[[str], None] | None = None,
) -> list[Context]:
    """Return the contexts of a file or of records; only their own column is required.

    A column may have its name in gold, or the name of its field (`context`, `label`, `answer`).

    Args:
        source: As for `read_file` or `read_records`.
        task: Makes a context of a row's fields; a row may fix a label or an answer.
        columns: Field -> column of the file, where they differ.
        reading: As for `read_file`.
        warn: Called with what was corrected or left out.

    Raises:
        DataError: Rows cannot be used; the message has file, lines and what was expected.
    """
    is_file = isinstance(source, (str, Path))
    name = str(source) if is_file else "contexts"
    if not task.has_context:
        raise DataError(
            f"{name}: a {task.name} task has no contexts",
            hint="take `contexts` out of the task file's `data` section",
        )
    if is_file:
        rows = rows_of_file(source, encoding=reading.encoding, warn=warn)
    else:
        rows, reading = rows_of_records(source, name), IN_MEMORY
    columns = {**task.columns, **task.optional_columns, **columns}
    rows = ((place, _by_column(row, columns)) for place, row in rows)
    return list(_read(rows, task.read_context, columns, ("context",), name, reading, warn))


def _by_column(row: Any, columns: Mapping[str, str]) -> Any:
    """Return a row of contexts under the columns of gold; it may use our field names too."""
    if not isinstance(row, Mapping):
        return row
    return {column: row[field] for field, column in columns.items() if field in row} | dict(row)


def _to_fields(row: Example) -> dict[str, Any]:
    label = label_to_json(row.label)
    return {"text": row.text, "context": row.context, "label": label, "answers": label}


def _read(
    rows: Iterable[tuple[str, Any]],
    make: Callable[[Mapping[str, Any]], _Made],
    columns: Mapping[str, str],
    required: Collection[str],
    name: str,
    reading: Reading,
    warn: Callable[[str], None] | None,
) -> Iterator[_Made]:
    """Yield what `make` makes of each row's fields; optional fields may be missing."""
    defects = Defects(name, reading.on_bad_row)
    expected = ", ".join(columns[field] for field in required)
    good = repaired = 0
    for place, row in rows:
        if isinstance(row, BadRow):
            defects.add(place, row.message, row.hint)
            continue
        if not isinstance(row, Mapping):
            defects.add(place, f"expected an object with {expected}")
            continue
        where = f"{place}{_id_of(row, columns)}"
        try:
            made = make(_fields(row, columns, required))
        except NoColumnError as error:
            defects.add_lacking(where, error)
            continue
        except ValueError as error:
            defects.add(where, str(error))
            continue
        good += 1
        repaired += isinstance(made.label, Answers) and made.label.is_repaired
        yield made
    if not good and not defects.count:
        raise DataError(f"{name}: there is no row in it", hint=f"rows with {expected} are needed")
    defects.settle(good, warn)
    _tell_repaired(repaired, name, warn)


def _fields(
    row: Mapping[Any, Any], columns: Mapping[str, str], required: Collection[str]
) -> dict[str, Any]:
    """Return the fields that a row has."""
    for field in required:
        if columns[field] not in row:
            hint = (
                f"name it in the task file: data: {{columns: {{{field}: YOUR_COLUMN}}}}; all files "
                "of a task have the same columns"
            )
            raise NoColumnError(columns[field], row, hint)
    return {field: row[column] for field, column in columns.items() if column in row}


def _id_of(row: Mapping[Any, Any], columns: Mapping[str, str]) -> str:
    given = row.get(columns.get("id", "id"))
    return f" (id {shorten(str(given), 40)})" if given not in (None, "") else ""


def _tell_repaired(count: int, name: str, warn: Callable[[str], None] | None) -> None:
    if not count or warn is None:
        return
    said = (
        "1 answer stood elsewhere in its passage than its offset said"
        if count == 1
        else f"{count} answers stood elsewhere in their passages than their offsets said"
    )
    warn(f"{name}: {said}, or slightly otherwise; the nearest place where they stand was taken")
