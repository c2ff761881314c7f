"""Rows of an .xlsx file: its first sheet, whose first row that is not empty names the columns."""

import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from stepsynth.data.delimited import check_names
from stepsynth.errors import DataError
from stepsynth.tasks.classification import label_text


def rows_of_sheet(
    source: Path | BytesIO, name: str, warn: Callable[[str], None] | None
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (place, row); every value is text, as in a CSV file; a formula has its last value.

    Args:
        source: The file, or its content.
        name: The file, for messages.
        warn: Called with the sheet that was read, if there are several.

    Raises:
        DataError: openpyxl is not installed, or the file is damaged.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(
            f"{name}: .xlsx is read with openpyxl, which is not installed",
            hint="pip install 'stepsynth[xlsx]', or save the sheet as CSV (UTF-8)",
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of drop-down lists and the like, which are not read
            book = openpyxl.load_workbook(source, read_only=True, data_only=True)
            sheet: Any = book.worksheets[0]
            # The size that a program wrote for a sheet may be wrong.
            sheet.reset_dimensions()
            lines = [tuple(map(_text, line)) for line in sheet.iter_rows(values_only=True)]
            titles = [each.title for each in book.worksheets]
            book.close()
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a file format can raise
        raise DataError(
            f"{name}: this is no .xlsx, or it is damaged: {error or type(error).__name__}",
            hint="save it anew, or as CSV (UTF-8)",
        ) from error
    if len(titles) > 1 and warn is not None:
        warn(f"{name}: of its {len(titles)} sheets the first, {titles[0]!r}, was read")
    yield from _rows(lines, name)


def _rows(lines: list[tuple[str, ...]], name: str) -> Iterator[tuple[str, dict[str, str]]]:
    columns: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not any(map(str.strip, line)):
            continue
        if not columns:
            columns = [each.strip() for each in line]
            check_names([column for column in columns if column], f"{name}, row {number}")
            continue
        cells = (*line, *[""] * (len(columns) - len(line)))
        yield (
            f"row {number}",
            {column: cell for column, cell in zip(columns, cells, strict=False) if column},
        )


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else label_text(cell)
