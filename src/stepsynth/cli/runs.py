"""`stepsynth runs`: the runs under a folder, with their scores and costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from stepsynth._util.words import amount, whole
from stepsynth.cli._completion import find_runs
from stepsynth.cli._shared import (
    JSON,
    handle_errors,
    open_console,
    print_json,
    print_line,
    printable,
    say,
)
from stepsynth.errors import DataError, StepsynthError

if TYPE_CHECKING:
    from stepsynth.runfolder import Run

DEEPEST = 6
"""Levels of folders that are looked into; those of `compare` take three."""

_STOPS = ("KeyboardInterrupt", "LimitReachedError")
"""Ends of a run that the same command goes on from, as the event log names them."""


class Order(StrEnum):
    """What runs are sorted by."""

    date = "date"
    score = "score"


@dataclass(frozen=True)
class RunLine:
    """A run in the list.

    Attributes:
        run: The folder.
        state: damaged: a file of it cannot be read.
        score: Name of the main score; "": the run has none.
        value: The score of the kept round on test, 0-1, with its 95 % interval.
        rounds: Rounds that are done.
        usd: Cost of all answers; None: not known.
        requests: Requests of the run, whoever answered.
        when: When it ended, or was last written to: UTC, ISO 8601.
        why: Why it is not done.
    """

    run: str
    state: Literal["done", "stopped", "failed", "damaged"]
    task: str = ""
    method: str = ""
    student: str = ""
    random_seed: int | None = None
    score: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int | None = None
    usd: float | None = None
    requests: int | None = None
    when: str = ""
    why: str = ""


@handle_errors
def runs(
    folder: Path = typer.Argument(
        Path("runs"), help="A folder that runs are in, also several levels down."
    ),
    sort: Order = typer.Option(Order.date, help="The newest first, or the best first."),
    as_json: bool = JSON,
) -> None:
    """List runs: method, score, cost, and whether each is done.

    The score is that of the kept round on the test rows, in %, with a 95 % interval. Scores of
    different tasks, or of different test rows, do not compare. A run that cannot be read has a
    line that says why.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder", hint="stepsynth runs FOLDER")
    found = sorted(map(_read, find_runs(folder, DEEPEST)), key=_by_date, reverse=True)
    if sort is Order.score:
        found.sort(key=lambda line: -1.0 if line.value is None else line.value, reverse=True)
    if as_json:
        print_json({"folder": str(folder), "runs": [asdict(line) for line in found]})
    elif found:
        _print(folder, found)
    else:
        say(f"{folder}: no run is here")


def _read(folder: Path) -> RunLine:
    """Return the line of a run; one that cannot be read has the reason in it."""
    from stepsynth.runfolder import Run

    run = Run(folder)
    try:
        return _done(run) if run.is_done else _not_done(run)
    except StepsynthError as error:
        return RunLine(str(folder), "damaged", why=error.message)
    except (OSError, ValueError, TypeError, ArithmeticError) as error:
        return RunLine(str(folder), "damaged", why=f"{folder}: {error}")


def _done(run: "Run") -> RunLine:
    from stepsynth.runfolder import open_run

    run = open_run(run.folder.path)
    summary = run.summary
    return RunLine(
        str(run.folder.path),
        "done",
        task=summary.task,
        method=summary.method,
        student=summary.student,
        random_seed=summary.random_seed,
        rounds=len(summary.rounds),
        usd=summary.llm.usd,
        requests=summary.llm.calls,
        when=run.manifest.ended,
        **_score(run),
    )


def _score(run: "Run") -> dict[str, Any]:
    from stepsynth.metrics import SCORE_NAMES
    from stepsynth.report import score_interval

    test = run.summary.test
    name = next((key for key in SCORE_NAMES if test is not None and key in test), None)
    if test is None or name is None or not test.n:
        return {}
    low, high = score_interval(run, name)
    return {"score": SCORE_NAMES[name][0], "value": test[name], "low": low, "high": high}


def _not_done(run: "Run") -> RunLine:
    """Return the line of a run without a result: what its settings and its log say."""
    from stepsynth.runfolder import open_run
    from stepsynth.taskfile import read_yaml

    events = run.events
    last = events[-1] if events else {}
    used = [each for each in events if each["event"] == "usage"]
    why, state = str(last.get("message") or last.get("reason") or ""), "failed"
    if last.get("event") != "stop":
        why, state = "no end of it is recorded: it is going on, or was killed", "stopped"
    elif last.get("reason") in _STOPS:
        why, state = why or "Ctrl-C", "stopped"
    try:
        rounds = len(open_run(run.folder.path).rounds)
    except StepsynthError:
        rounds = 0
    values = read_yaml(run.folder.config).values
    method, student = (dict(values.get(key) or {}) for key in ("method", "student"))
    return RunLine(
        str(run.folder.path),
        state,
        method=str(method.get("name", "")),
        student=str(student.get("name", "")),
        random_seed=run.identity.random_seed,
        rounds=rounds,
        usd=_number(used[-1].get("usd")) if used else None,
        requests=_number(used[-1].get("requests")) if used else None,
        when=str(last.get("time", "")),
        why=why,
    )


def _number(value: Any) -> Any:
    """Return a number of the event log, which may hold anything; None: it is none."""
    return value if isinstance(value, (int, float)) else None


def _by_date(line: RunLine) -> datetime:
    """Return when a run ended, by this machine's clock; the earliest time: it is not known."""
    try:
        when = datetime.fromisoformat(line.when)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone()
    except (ValueError, OverflowError, OSError):  # the last: before 1970, on Windows
        return datetime.min.replace(tzinfo=UTC)


def _print(folder: Path, found: Sequence[RunLine]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(f"{len(found)} run{'s' * (len(found) != 1)} in {folder}")))
    for name in ("run", "task", "method", "student"):
        table.add_column(name, overflow="fold")
    table.add_column("score, %", no_wrap=True)
    for name in ("rounds", "USD", "requests"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("when", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for line in found:
        path = Path(line.run)
        name = path.relative_to(folder) if path != folder else path.resolve().name
        cells = (str(name), line.task, line.method, line.student, _score_in_words(line))
        cost = "–" if line.usd is None else amount(line.usd)
        rounds, requests = ("–" if n is None else whole(n) for n in (line.rounds, line.requests))
        when = _by_date(line)
        date = when.strftime("%Y-%m-%d %H:%M") if when.year > 1 else "–"
        row = (*cells, rounds, cost, requests, date, line.state)
        table.add_row(*(escape(printable(cell)) for cell in row))
    console = open_console()
    console.print(table)
    for line in found:
        if line.why:
            print_line(console, f"{line.run}: {line.state}: {line.why}")


def _score_in_words(line: RunLine) -> str:
    if line.value is None or line.low is None or line.high is None:
        return "–"
    value, low, high = (100 * each for each in (line.value, line.low, line.high))
    return f"{line.score} {value:.1f} [{low:.1f}, {high:.1f}]"
