"""Shared parts of the commands: errors without a traceback, the table of rounds, totals."""

import functools
import inspect
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from stepsynth._util.disk import as_disk_trouble
from stepsynth._util.text import visible
from stepsynth._util.words import duration, usd
from stepsynth.cli._completion import complete_set
from stepsynth.errors import ConfigError, StepsynthError

if TYPE_CHECKING:
    from stepsynth.run_records import LLMTotals, Scores, Summary

F = TypeVar("F", bound=Callable[..., Any])

_UNSAFE = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that JSON need not escape but a terminal would obey."""

JSON = typer.Option(False, "--json", help="Print one line of JSON on stdout as the last line.")


def setting(example: str, scope: str = "") -> Any:
    """Return the option that overrides keys of the task file."""
    return typer.Option(
        [],
        "--set",
        metavar="KEY=VALUE",
        help=f"Override a key{scope}, e.g. {example}.",
        autocompletion=complete_set,
    )


def handle_errors(command: F) -> F:
    """Make a command print errors as a message with a hint, and exit with their code.

    With --json the command still prints its line, with the error in it.
    """
    taken = inspect.signature(command).parameters.get("as_json")
    can_json = taken is not None and taken.default is JSON

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            # The reader (`| head`) has gone; what is still buffered has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except (Exception, KeyboardInterrupt) as caught:
            error = as_ours(caught)
            if error.exit_code == 1 and os.environ.get("STEPSYNTH_DEBUG"):
                raise
            print_error(error)
            if can_json and kwargs.get("as_json"):
                print_json(error_line(error))
            raise SystemExit(error.exit_code) from None

    return wrapped  # type: ignore[return-value]


class _StoppedError(StepsynthError):
    exit_code = 130


def as_ours(error: BaseException) -> StepsynthError:
    """Return the error to show to the user; an unforeseen one is a bug of stepsynth."""
    if isinstance(error, StepsynthError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return _StoppedError("stopped by Ctrl-C")
    return as_disk_trouble(error) or StepsynthError(
        f"this is a bug of stepsynth: {type(error).__name__}: {error}",
        hint="STEPSYNTH_DEBUG=1 shows where; please report it with the command",
    )


def error_line(error: StepsynthError) -> dict[str, Any]:
    """Return the fields of an error in the line of --json."""
    return {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}


def print_error(error: StepsynthError) -> None:
    """Print an error to stderr, its hint on a line of its own."""
    say(error.message if error.exit_code == 130 else f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")


def conclude(found: Mapping[str, Any], error: StepsynthError | None, *, as_json: bool) -> None:
    """Print an error, if any, and the line of --json; exit with the error's code."""
    if error is not None:
        print_error(error)
    if as_json:
        print_json({**found, **(error_line(error) if error else {})})
    if error is not None:
        raise SystemExit(error.exit_code)


def say(message: str) -> None:
    """Print a line to stderr."""
    print(printable(message), file=sys.stderr, flush=True)


def check_encoding_option(name: str | None) -> None:
    """Check the value of --encoding; None: it was not given.

    Raises:
        ConfigError: Python knows no such encoding.
    """
    if name is None:
        return
    from stepsynth.data import check_encoding

    try:
        check_encoding(name)
    except ValueError as error:
        raise ConfigError(f"--encoding: {error}") from error


def encoding_by_option(hint: str) -> str:
    """Return a hint about an encoding that names --encoding in place of the task file's key."""
    hint = re.sub(r"data: \{encoding: (\S+)\}", r"--encoding \1", hint)
    return hint.replace("data.encoding", "--encoding")


printable = visible
"""What is printed may be a provider's text, with control characters."""


WIDTH_OF_A_FILE = 160
"""Columns of a table that goes to a file or a pipe: no reader there has a width."""


def open_console() -> Any:
    """Return a console on stdout, wide enough for tables where no terminal sets the width."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, width=max(console.width, WIDTH_OF_A_FILE))


def print_line(console: Any, text: str, style: str | None = None) -> None:
    """Print a text, never as markup; in a file or a pipe it is not wrapped."""
    whole = not console.is_terminal
    console.print(printable(text), markup=False, style=style, soft_wrap=whole)


def make_table(
    title: str,
    columns: Iterable[tuple[str, bool]],
    rows: Iterable[Iterable[object]],
    **options: Any,
) -> Any:
    """Return a table of texts, which are never taken as markup.

    Args:
        title: Its title.
        columns: Name of each column, and whether it holds numbers.
        rows: A cell for each column.
        options: Options of rich's `Table`.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), **options)
    for name, is_number in columns:
        side = "right" if is_number else "left"
        table.add_column(escape(printable(name)), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(str(cell))) for cell in row))
    return table


def command_line(*args: str) -> str:
    """Return a stepsynth command that can be pasted into the calling shell."""
    program = sys.argv[0] if "/" in sys.argv[0] and not shutil.which("stepsynth") else "stepsynth"
    if program.endswith("__main__.py"):
        program = f"{sys.executable} -m stepsynth"
    return " ".join([program, *map(shlex.quote, args)])


def print_json(value: Mapping[str, Any]) -> None:
    """Print a value as one line on stdout, escaped if the encoding lacks a character."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeError:
        line = json.dumps(value)
    print(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line), flush=True)


def shown(scores: "Scores") -> list[tuple[str, str]]:
    """Return the keys and names of the scores to show, of which two fit beside the counts."""
    from stepsynth.metrics import SCORE_NAMES

    return [(key, short) for key, (_, short) in SCORE_NAMES.items() if key in scores][:2]


MOST_LABELS = 12
"""Labels up to which their scores are printed."""
_ABBREVIATED = ("micro_f1", "macro_f1", "exact_match")
"""Scores whose short name is explained under a table."""


def round_table(summary: "Summary") -> Any:
    """Return the table of a run's rounds."""
    from stepsynth.metrics import SCORE_NAMES

    keys = shown(summary.rounds[0].select) if summary.rounds else []
    heads = ["round", "added", "train\nrows", "mining\nrows wrong"]
    heads += [f"{split}\n{name}" for split in ("select", "test") for _, name in keys]
    rows: list[list[object]] = []
    for row in summary.rounds:
        scores = [
            f"{split[key]:.3f}" if split else "-"
            for split in (row.select, row.test)
            for key, _ in keys
        ]
        kept = "kept" if row.round == summary.kept_round else ""
        rows.append([row.round, row.added, row.train_size, row.misclassified, *scores, kept])
    title = f"{summary.task}: {summary.method} with {summary.student}"
    table = make_table(title, [*((head, True) for head in heads), ("", False)], rows)
    names = (f"{short}: {SCORE_NAMES[key][0]}" for key, short in keys if key in _ABBREVIATED)
    table.caption = "; ".join(["mining rows: gold that errors are taken from", *names])
    return table


def print_summary(summary: "Summary", extra: Sequence[str] = ()) -> None:
    """Print what the run is worth, the table of rounds, the LLM's counts and the given lines."""
    from stepsynth.runner import against_references

    console = open_console()
    for line in filter(None, (summary.verdict, *against_references(summary))):
        print_line(console, line)
    console.print(round_table(summary))
    _print_labels(console, summary)
    for row in summary.rounds:
        if row.review is not None:
            told = f"Round {row.round}: round {row.review.base} with {row.review.in_words}."
            print_line(console, told)
    for line in llm_in_words(summary.llm, summary.seconds):
        print_line(console, line)
    for line in extra:
        print_line(console, line)


def _print_labels(console: Any, summary: "Summary") -> None:
    """Print the scores of each label beside the references; of many labels, where they are."""
    from stepsynth.runner import label_table

    columns, rows = label_table(summary)
    if len(rows) > MOST_LABELS:
        print_line(console, f"The report has the scores of each of {len(rows)} labels.")
    elif rows:
        heads = [(name.replace(" ", "\n", 1), is_number) for name, is_number in columns]
        console.print(make_table("F1 by label on test, %", heads, rows))


def llm_in_words(llm: "LLMTotals", seconds: float) -> Iterator[str]:
    """Yield the requests of this invocation with their outcome, and the cost of the whole run."""
    from stepsynth.runner import by_cause, retried_by_cause

    time = duration(seconds)
    counted = (
        by_cause(retried_by_cause(llm.setbacks, llm.failures), "retried"),
        by_cause(llm.failures, "failed") or "0 failed",
        by_cause(llm.rejected, "rejected") or "0 rejected",
    )
    troubles = "; ".join(part for part in counted if part)
    if llm.replayed:
        yield f"LLM: none was called, {llm.replayed} recorded answers; {troubles}. {time}."
        return
    sent = f"{llm.requests} requests sent now, {llm.from_store} from the store"
    yield f"LLM: {sent}; {troubles}. {time}."
    prompt, completion = f"{llm.prompt_tokens} prompt", f"{llm.completion_tokens} completion"
    cached = f" ({llm.cached_tokens} of them cached)" if llm.cached_tokens else ""
    thought = f" ({llm.reasoning_tokens} of them reasoning)" if llm.reasoning_tokens else ""
    each = llm.tokens_per_kept_row
    a_row = f", {each:.0f} tokens a kept row" if each else ""
    cost = usd(llm.usd)
    yield f"The whole run: {prompt}{cached} + {completion}{thought} tokens, {cost}{a_row}."
