"""CSV and TSV files: the delimiter is found, and ambiguous quotation marks are settled.

Python's csv module reads the fields. This module finds the delimiter, and examines each record
whose quotation mark does not close in its line: rows are never silently merged into one.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any

from stepsynth._util.words import listed
from stepsynth.data.bad_rows import FEW_TOLD, BadRow
from stepsynth.errors import DataError

DIVIDERS = {".csv": ",", ".tsv": "\t"}
"""Extension of a file's name -> default delimiter."""

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}
_SAMPLE = 50
"""Lines that are examined to find the delimiter."""
_LONGEST = 10_000_000
"""Most characters of a field; the csv module's own limit, 131,072, is for hostile input."""

_SEP = re.compile(r'"?sep=([,;|:^~\t])"?', re.IGNORECASE)
"""A first line that tells Excel the delimiter."""
_OPEN = "end of data"
"""Part of the csv module's message for a quotation mark that is closed nowhere."""
_ESCAPED_MARK = re.compile(r'(?<!\\)((?:\\\\)*)\\"')

Rows = Iterator[tuple[str, Any]]


def rows_of_delimited(
    file: IO[str], name: str, kind: str, warn: Callable[[str], None] | None
) -> Rows:
    """Yield (place, row) of a delimited file, whose first line names the columns.

    Columns without a name are left out, and so are rows without a value.

    Args:
        file: The text, opened with `newline=""`.
        name: The file, for messages.
        kind: ".csv" or ".tsv".
        warn: Called with a delimiter other than the default, and with ambiguous quotation marks.

    Raises:
        DataError: Two columns have the same name.
    """
    csv.field_size_limit(_LONGEST)
    lines = _Lines(file)
    form = _find_form(lines, DIVIDERS[kind])
    if warn is not None and form.divider != DIVIDERS[kind] and not form.is_told:
        told, expected = (_NAMES.get(d, repr(d)) for d in (form.divider, DIVIDERS[kind]))
        warn(f"{name}: its fields are divided by {told}, not by {expected}")
    reader = _Reader(lines, form)
    columns = reader.read_header()
    check_names([column for column in columns if column], f"{name}, line {lines.number}")
    for number, record in reader.records(len(columns)):
        if isinstance(record, BadRow):
            yield f"line {number}", record
            continue
        pairs = zip(columns, record, strict=True)
        yield f"line {number}", {column: value for column, value in pairs if column}
    if warn is not None:
        for said in reader.doubts():
            warn(f"{name}: {said}")


def check_names(names: Sequence[str], place: str) -> None:
    """Make sure that no two columns have the same name."""
    if len(set(names)) < len(names):
        raise DataError(f"{place}: two columns have the same name: {', '.join(names)}")


class _Lines(Iterator[str]):
    """The lines of a file, counted; lines of a record can be put back and read again."""

    def __init__(self, file: Iterable[str]) -> None:
        self._file = iter(file)
        self._back: deque[str] = deque()
        self.number = 0
        self.taken: list[str] = []

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._file)
        self.number += 1
        self.taken.append(line)
        return line

    def begin(self) -> int:
        """Begin a record, and return the number of its first line."""
        self.taken = []
        return self.number + 1

    def keep(self, count: int) -> list[str]:
        """Put back all lines of the record but the first `count`, and return those."""
        back = self.taken[count:]
        self._back.extendleft(reversed(back))
        self.number -= len(back)
        del self.taken[count:]
        return self.taken


@dataclass(frozen=True)
class _Form:
    """The format of a delimited file.

    Attributes:
        divider: The delimiter.
        is_spaced: A space follows each delimiter, and is not part of the field.
        is_told: The file itself states its delimiter.
    """

    divider: str
    is_spaced: bool = False
    is_told: bool = False

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Return a reader of records that honours quotation marks."""
        spaced = self.is_spaced
        return csv.reader(lines, delimiter=self.divider, skipinitialspace=spaced, strict=True)

    def literally(self, line: str) -> list[str]:
        """Return the fields of a line in which quotation marks are part of the text."""
        fields = line.rstrip("\r\n").split(self.divider)
        return [each.lstrip(" ") for each in fields] if self.is_spaced else fields

    def is_row(self, line: str, count: int) -> bool:
        """Say whether a line looks like a row.

        In prose, a comma or the like precedes a space or the end of the line; tabs do not occur.
        """
        if line.count(self.divider) < count - 1:
            return False
        fields = _trim(self.literally(line), count)
        is_prose = fields[-1:] == [""] or any(each.startswith(" ") for each in fields[1:])
        return len(fields) == count > 1 and (self.divider == "\t" or not is_prose)

    def share(self, sample: Sequence[str]) -> float:
        """Return the share of lines that have as many fields as the first; -1: it has one."""
        count = len(_trim(_fields(self.reader(sample[:1])) or [], 1))
        if count < 2:
            return -1.0
        fit = [self._fit(line, count) for line in sample[1:]]
        return sum(fit) / len(fit) if fit else 1.0

    def _fit(self, line: str, count: int) -> float:
        fields = _fields(self.reader([line]))
        if fields is not None and len(_trim(fields, count)) == count:
            # If spaces are part of the fields, a quotation mark after a space opens nothing.
            return 0.5 if any(each.startswith(' "') for each in fields) else 1.0
        return 0.25 if len(_trim(self.literally(line), count)) == count else 0.0


def _fields(reader: Iterator[list[str]]) -> list[str] | None:
    """Return the next record, or None if its quotation marks cannot be read."""
    try:
        return next(reader, [])
    except csv.Error:
        return None


def _trim(fields: list[str], count: int) -> list[str]:
    """Return the fields without empty ones beyond the expected number."""
    end = len(fields)
    while end > count and not fields[end - 1].strip():
        end -= 1
    return fields[:end]


def _find_form(lines: _Lines, usual: str) -> _Form:
    """Return the format of a file, from its first lines."""
    lines.begin()
    if found := _SEP.fullmatch(next(lines, "").rstrip("\r\n")):
        return _Form(found[1], is_told=True)
    lines.keep(0)
    sample = [line for line in islice(lines, _SAMPLE) if line.strip()]
    lines.keep(0)
    header = sample[0] if sample else ""

    def rank(form: _Form) -> tuple[float, bool, bool, bool]:
        # A delimiter with a space after it may be a comma of prose.
        is_tight = f"{form.divider} " not in header
        return form.share(sample), is_tight, form.divider == usual, form.is_spaced != is_tight

    forms = [
        _Form(each, is_spaced) for each in _NAMES if each in header for is_spaced in (False, True)
    ]
    best = max(forms, key=rank, default=_Form(usual))
    return best if best.share(sample) >= 0 else _Form(usual)


@dataclass
class _Reader:
    """A reader of the records of a file that settles ambiguous quotation marks."""

    lines: _Lines
    form: _Form
    literal: list[int] = field(default_factory=list)
    merged: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._quoted = self.form.reader(self.lines)
        self._escaped = self.form.reader(map(_double, self.lines))

    def read_header(self) -> list[str]:
        """Return the names of the columns; "" for one that has none."""
        fields: list[str] = []
        while not any(fields):
            self.lines.begin()
            try:
                fields = next(self._quoted)
            except StopIteration:
                return []
            except csv.Error:
                fields = self.form.literally(self.lines.keep(1)[0])
        return [name.strip() for name in _trim(fields, 1)]

    def records(self, count: int) -> Iterator[tuple[int, list[str] | BadRow]]:
        """Yield the line in which each record begins, and its fields, as many as the header has."""
        while True:
            number = self.lines.begin()
            try:
                fields = next(self._quoted)
            except StopIteration:
                return
            except csv.Error as error:
                yield number, self._settle(number, count, None, str(error))
                continue
            if not any(map(str.strip, fields)):
                continue
            fields = _trim(fields, count)
            if len(self.lines.taken) > 1 or len(fields) != count:
                yield number, self._settle(number, count, fields, "")
            else:
                yield number, fields

    def _settle(
        self, number: int, count: int, fields: list[str] | None, error: str
    ) -> list[str] | BadRow:
        """Return the fields of a record that has several lines, or cannot be read as it stands.

        Args:
            number: The line in which it begins.
            count: Expected number of fields.
            fields: The fields as read; None: they could not be read.
            error: The csv module's message, if they could not be read.
        """
        are_rows = self._are_rows(count)
        is_whole = fields is not None and len(fields) == count
        # With a space after each delimiter, prose looks like rows.
        if is_whole and (self.form.is_spaced or not all(are_rows)):
            if sum(are_rows) > 1:
                self.merged.append((number, self.lines.number))
            return fields or []
        if not is_whole and (escaped := self._read_escaped(count)) is not None:
            return escaped
        literal = _trim(self.form.literally(self.lines.taken[0]), count)
        is_alone = len(are_rows) == 1 and '"' in self.lines.taken[0]
        if len(literal) == count and (are_rows[0] or is_alone or count == 1):
            self.lines.keep(1)
            self.literal.append(number)
            return literal
        # Rows that an unclosed mark has swallowed are put back.
        has_rows = any(are_rows[1:] if _OPEN in error else are_rows[1:-1])
        self.lines.keep(1 if has_rows else len(self.lines.taken))
        return _bad(count, fields, error)

    def _are_rows(self, count: int) -> list[bool]:
        return [self.form.is_row(line, count) for line in self.lines.taken]

    def _read_escaped(self, count: int) -> list[str] | None:
        """Return the fields of a record with backslashes before its quotation marks, or None."""
        taken = len(self.lines.taken)
        if not any('\\"' in line for line in self.lines.taken):
            return None
        self.lines.keep(0)
        fields = _trim(_fields(self._escaped) or [], count)
        if len(fields) == count and (len(self.lines.taken) == 1 or not all(self._are_rows(count))):
            return fields
        self.lines.keep(0)
        for _ in range(taken):
            next(self.lines)
        return None

    def doubts(self) -> Iterator[str]:
        """Yield warnings of records that could be read in two ways."""
        if self.literal:
            told = listed(list(map(str, self.literal)), FEW_TOLD)
            yield (
                "a quotation mark opens and is not closed at the end of its field "
                f"({_of(self.literal, 'line')} {told}); it was read as part of the text"
            )
        if self.merged:
            told = listed([f"{first} to {last}" for first, last in self.merged], FEW_TOLD)
            yield (
                f"lines {told} were each read as one row, since they stand between two quotation "
                "marks; some of them could be rows of their own"
            )


def _double(line: str) -> str:
    """Return a line with quotation marks doubled that had a backslash before them."""
    return _ESCAPED_MARK.sub(r'\1""', line)


def _bad(count: int, fields: list[str] | None, error: str) -> BadRow:
    if fields is not None:
        return BadRow(
            f"this row has {len(fields)} {_of(fields, 'field')}, and the header {count}",
            "a text with a delimiter or a line break in it must stand in quotes",
        )
    is_open = _OPEN in error
    said = "opens here and is closed nowhere" if is_open else "closes before the end of its field"
    return BadRow(f"a quotation mark {said}", 'within quotes a quotation mark is doubled: ""')


def _of(values: Sequence[Any], one: str) -> str:
    return one if len(values) == 1 else f"{one}s"
