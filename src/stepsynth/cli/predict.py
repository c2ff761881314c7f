"""`stepsynth predict`: labels or answers from a run's student, in a pipe or file to file."""

import csv
import json
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer

from stepsynth._util.files import parse_json
from stepsynth._util.text import clean, is_blank
from stepsynth.cli._completion import MODEL
from stepsynth.cli._falling_back import FALL_BACK, PRECISION, Unsure, open_unsure
from stepsynth.cli._shared import check_encoding_option, encoding_by_option, handle_errors, say
from stepsynth.errors import ConfigError, DataError, suggest

if TYPE_CHECKING:
    from stepsynth.metrics import Calibration
    from stepsynth.students import Student

BATCH = 256
Row = dict[str, Any]


@handle_errors
def predict(
    run: Path = MODEL,
    text: list[str] = typer.Argument(None, help="Texts or questions; default: lines of stdin."),
    context: str | None = typer.Option(
        None, help="The premise or passage of the texts, for pairs and questions."
    ),
    source: str | None = typer.Option(
        None,
        "--input",
        "-i",
        help="Rows to predict: a file as `data.gold` may be, or - for JSON lines on stdin.",
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Write a file, .jsonl or .csv; default: stdout."
    ),
    encoding: str | None = typer.Option(
        None, help="What text files of --input are encoded in, if not UTF-8: cp1252, ..."
    ),
    precision: float | None = PRECISION,
    fall_back: Path | None = FALL_BACK,
    as_json: bool = typer.Option(False, "--json", help="One JSON object a text."),
) -> None:
    """Print a label or answer, and its probability, for each text.

    Without texts and --input it reads lines of stdin: a text each, or, where a context is needed, a
    JSON object with the columns of the training data. Lines are answered as they come.
    """
    from stepsynth.metrics import Calibration
    from stepsynth.students import load_student

    folder = run / "model" if (run / "model").is_dir() else run
    model = load_student(folder)
    calibration = Calibration.read(folder)
    unsure = open_unsure(run, model, calibration, precision, fall_back)
    columns = model.columns or {"text": "text"}
    needs_context = "context" in columns
    check_encoding_option(encoding)
    _check_files(source, output, has_others=bool(text) or context is not None)
    if context is not None and model.columns and not needs_context:
        raise ConfigError("this model was trained without contexts", hint="leave --context out")
    if text and context is None:
        _check_needs_no_context(columns)
    keeps_row = source is not None or (needs_context and context is None)
    if keeps_row:
        rows = _with_columns(_rows(source, encoding, columns), columns)
    else:
        rows = _texts(text, context)
        columns = {field: field for field in columns}
        if context is not None:
            columns["context"] = "context"
    batches = _batches(rows)
    first = next(batches, [])  # before --output is opened: bad input costs no earlier file
    done = 0
    is_csv = output is not None and output.suffix == ".csv"
    with unsure or nullcontext(), _open(output) if output else nullcontext(sys.stdout) as file:
        table = _Csv(file, keeps_row=keeps_row, has_by=unsure is not None) if is_csv else None
        for batch in chain([first] if first else [], batches):
            answers = _answer(model, calibration, unsure, batch, columns, done)
            done += len(batch)
            if table is not None:
                table.write(batch, answers)
            else:
                is_json = keeps_row or as_json or output is not None
                _print(file, batch, answers, is_json=is_json, keeps_row=keeps_row)
        if table is not None and not done:
            table.write_head([columns[key] for key in columns if key in ("text", "context")])
    if output:
        say(f"{output} is written" + ("" if done else ", without a row: there was none to predict"))


def _check_needs_no_context(columns: Mapping[str, str]) -> None:
    if "context" in columns:
        raise ConfigError(
            "this model needs a context for each text",
            hint=f'--context "...", or JSON lines with {columns["text"]!r} and '
            f"{columns['context']!r} on stdin",
        )


def _check_files(source: str | None, output: Path | None, *, has_others: bool) -> None:
    if source is not None and has_others:
        raise ConfigError("--input brings its own texts and contexts; give no others with it")
    if output and output.suffix not in (".jsonl", ".ndjson", ".json", ".csv", ""):
        raise ConfigError(
            f"--output: {output} is neither JSON lines nor CSV", hint="name it .jsonl or .csv"
        )
    if source and output and output.exists() and Path(source).exists() and output.samefile(source):
        raise ConfigError("--output is the file that --input reads", hint="give another name")


def _open(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise ConfigError(f"--output: {path} cannot be written: {error.strerror}") from error


def _answer(
    model: "Student",
    calibration: "Calibration | None",
    unsure: Unsure | None,
    rows: list[Row],
    columns: Mapping[str, str],
    done: int,
) -> list[Row]:
    """Return the model's predictions; a row that lacks a text or context gets no label."""
    from stepsynth.metrics import Predictions, Spans
    from stepsynth.records import Example

    examples = [
        Example(_text(row, columns, "text"), "", _text(row, columns, "context") or None)
        for row in rows
    ]
    predictions = model.predict_examples(examples)
    if calibration is not None and isinstance(predictions, Predictions):
        predictions = calibration.apply(predictions)
    answers: list[Row] = []
    for i, (example, label) in enumerate(zip(examples, predictions.labels, strict=True)):
        lacks_context = "context" in columns and is_blank(example.context or "")
        if lacks_context or is_blank(example.text):
            what = "text" if is_blank(example.text) else "the context of text"
            say(f"warning: {what} {done + i + 1} is empty and gets no label")
            answers.append({"label": None, "sure": 0.0, "more": {}})
        elif isinstance(predictions, Spans):
            sure = predictions.probabilities[i]
            more = {"answer_start": predictions.starts[i], "probability": round(sure, 6)}
            answers.append({"label": label, "sure": sure, "more": more})
        else:
            shares = predictions.probabilities[i].tolist()
            given = dict(zip(predictions.label_names, shares, strict=True))
            more = {"probabilities": {name: round(share, 6) for name, share in given.items()}}
            if isinstance(predictions, Predictions):
                answers.append({"label": label, "sure": given[label], "more": more})
            else:
                names = list(predictions.sets[i].names)
                sure = [given[name] for name in names]
                answers.append({"label": names, "sure": sure, "more": more})
    if unsure is not None:
        unsure.fill(examples, answers)
    return answers


def _text(row: Row, columns: Mapping[str, str], field: str) -> str:
    value = row.get(columns.get(field, ""), "")
    return clean(value) if isinstance(value, str) else ""


def _line(said: Row) -> str:
    """Return the line of an answer: label, probability and, where it may abstain, whose it is."""
    by = said["more"].get("by")
    return "\t".join((*_in_words(said, 4), *([by] if by else [])))


def _in_words(said: Row, digits: int) -> tuple[str, ...]:
    """Return a label and its probability, or a set's ("a|b") and those of its labels; () if none.

    Args:
        said: The answer about a row.
        digits: Digits of a probability.
    """
    from stepsynth.records import SEPARATOR, LabelSet

    label, sure = said["label"], said["sure"]
    if label is None:
        return ()
    if isinstance(label, list):
        text, shares = str(LabelSet(tuple(label))), sure
    else:
        text, shares = label, [sure]
    return " ".join(text.split()), SEPARATOR.join(f"{share:.{digits}f}" for share in shares)


def _print(
    file: IO[str], rows: list[Row], answers: list[Row], *, is_json: bool, keeps_row: bool
) -> None:
    for row, said in zip(rows, answers, strict=True):
        if is_json:
            _write_json(file, row, said, keeps_row=keeps_row)
        else:
            print(_line(said), file=file, flush=True)


def _write_json(file: IO[str], row: Row, said: Row, *, keeps_row: bool) -> None:
    # A row of data may have its gold label under `label`.
    key = "predicted" if keeps_row else "label"
    told = {k: v for k, v in row.items() if v is not None or keeps_row}
    line = json.dumps({**told, key: said["label"], **said["more"]}, ensure_ascii=False, default=str)
    print(line, file=file, flush=True)


class _Csv:
    """A CSV file of rows and predictions, with the columns of the first batch.

    Args:
        file: Where it is written to.
        keeps_row: A row of data may have its gold label under `label`.
        has_by: There is a column that says whose a label is.
    """

    def __init__(self, file: IO[str], *, keeps_row: bool, has_by: bool) -> None:
        self._has_by = has_by
        self._keeps_row = keeps_row
        self._names: list[str] = []
        self._writer = csv.writer(file, lineterminator="\n")
        self._has_warned = False

    def write_head(self, names: list[str]) -> None:
        """Write the names of the columns, those of the rows first."""
        own = ["predicted" if self._keeps_row else "label", "probability"]
        own += ["by"] if self._has_by else []
        self._names = names
        self._writer.writerow([*names, *(_free(name, names) for name in own)])

    def write(self, rows: list[Row], answers: list[Row]) -> None:
        """Write a batch; a column that the first one did not have is left out, and that is said."""
        if not self._keeps_row:
            rows = [{k: v for k, v in row.items() if k != "context" or v} for row in rows]
        if not self._names:
            self.write_head(list(dict.fromkeys(name for row in rows for name in row)))
        known = set(self._names)
        if not self._has_warned and (more := {name for row in rows for name in row} - known):
            self._has_warned = True
            say(
                f"warning: columns that the first rows lack are left out: {', '.join(sorted(more))}"
            )
        for row, said in zip(rows, answers, strict=True):
            values = [row.get(name) for name in self._names]
            is_set = isinstance(said["label"], list)
            own = _in_words(said, 6) if is_set else (said["label"], round(said["sure"], 6))
            by = [said["more"].get("by")] if self._has_by else []
            self._writer.writerow([*values, *own, *by])


def _free(name: str, taken: list[str]) -> str:
    """Return the name of a column, changed if the data have one of that name."""
    return _free(f"{name}_by_model", taken) if name in taken else name


def _texts(given: list[str] | None, context: str | None) -> Iterator[Row]:
    if not given and sys.stdin.isatty():
        raise ConfigError("there is no text to predict", hint='stepsynth predict RUN "some text"')
    has_warned = False
    for line in given or (line.rstrip("\r\n") for line in _stdin()):
        if line.startswith("{") and line.endswith("}") and not (given or has_warned):
            has_warned = True
            say("warning: a line looks like JSON and is read as a text; --input - reads JSON lines")
        yield {"text": line, "context": context}


def _with_columns(rows: Iterable[tuple[str, Row]], columns: Mapping[str, str]) -> Iterator[Row]:
    """Yield rows, after a check that the first has the columns that the model reads."""
    wanted = [columns[field] for field in ("text", "context") if field in columns]
    for number, (place, row) in enumerate(rows):
        for column in wanted:
            if number == 0 and column not in row:
                raise DataError(
                    f"{place}: there is no column {column!r}. Columns: {', '.join(row) or 'none'}.",
                    hint=suggest(column, row) or f"this model reads {' and '.join(wanted)}",
                )
        yield row


def _rows(
    source: str | None, encoding: str | None, columns: Mapping[str, str]
) -> Iterator[tuple[str, Row]]:
    if source is not None and source != "-":
        yield from _rows_of_file(source, encoding)
        return
    wanted = {columns[field]: "..." for field in ("text", "context") if field in columns}
    for number, line in enumerate(_stdin(), start=1):
        if not line.strip():
            continue
        try:
            row, why = parse_json(line), ""
        except (ValueError, RecursionError) as error:
            row, why = None, f": {error}"
        if not isinstance(row, dict):
            raise DataError(
                f"stdin, line {number}: this is no JSON object{why}",
                hint=f"a line is {json.dumps(wanted)}",
            )
        yield f"stdin, line {number}", row


def _rows_of_file(source: str, encoding: str | None) -> Iterator[tuple[str, Row]]:
    from stepsynth.data import BadRow, rows_of_file

    try:
        for place, row in rows_of_file(
            source, encoding=encoding, warn=lambda said: say(f"warning: {said}")
        ):
            if isinstance(row, BadRow):
                raise DataError(f"{source}, {place}: {row.message}", hint=row.hint)
            if not isinstance(row, Mapping):
                raise DataError(f"{source}, {place}: expected an object, got {row!r}")
            yield f"{source}, {place}", dict(row)
    except DataError as error:
        error.hint = encoding_by_option(error.hint)
        raise


def _stdin() -> Iterator[str]:
    """Yield the lines of stdin as UTF-8, whatever the locale; `splitlines` would cut at U+2028."""
    # Not sys.stdin: Python aborts if it ends (Ctrl-C, `| head`) while a thread waits in that.
    with open(sys.stdin.fileno(), "rb", closefd=False) as lines:
        for raw in lines:
            yield raw.decode("utf-8-sig", "replace")


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Yield the rows that have arrived, so that a slow writer gets each answer at once."""
    waiting: queue.Queue[Row | BaseException | None] = queue.Queue(maxsize=4 * BATCH)

    def read() -> None:
        try:
            for row in rows:
                waiting.put(row)
        except BaseException as error:
            waiting.put(error)
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        batch: list[Row] = []
        item = waiting.get()
        while isinstance(item, dict):
            batch.append(item)
            if len(batch) == BATCH or waiting.empty():
                break
            item = waiting.get()
        if batch:
            yield batch
        if isinstance(item, BaseException):
            raise item
        if item is None:
            return
