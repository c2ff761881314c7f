"""`stepsynth run`: a task file becomes a data set, a trained student and a report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stepsynth.cli._shared import (
    JSON,
    Display,
    command_line,
    handle_errors,
    print_error,
    print_json,
    print_summary,
    say,
)
from stepsynth.errors import LimitReachedError

if TYPE_CHECKING:
    from stepsynth.api import RunResult
    from stepsynth.experiment.runner import Runner


@handle_errors
def run(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    overrides: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Override a key, e.g. method.rounds=3."
    ),
    out: Path | None = typer.Option(
        None, help="The run folder (default: runs/TASK-METHOD-SEED).", show_default=False
    ),
    as_json: bool = JSON,
) -> None:
    """Synthesise a data set, train the student, write a report.

    The same command again goes on where a stopped run ended: nothing is asked or paid for twice.
    """
    from stepsynth.experiment.config import load_config

    config = load_config(task, overrides)
    with Display() as display:
        from stepsynth.experiment.runner import Runner

        result = run_to_end(Runner(config, out=out, observer=display), as_json=as_json)
    show(result.summary, as_json=as_json)


def run_to_end(runner: "Runner", *, as_json: bool) -> "RunResult":
    """Run; when it is stopped by a limit or Ctrl-C, print what there is and exit with its code."""
    from stepsynth.api import finish
    from stepsynth.experiment.runner import stop_reason

    try:
        return finish(runner)
    except (LimitReachedError, KeyboardInterrupt) as error:
        if isinstance(error, LimitReachedError):
            print_error(error)
        else:
            say(f"stopped by Ctrl-C; the same command goes on in {runner.folder.path}")
        if as_json:
            print_json(runner.summary(stopped=stop_reason(error)))
        code = error.exit_code if isinstance(error, LimitReachedError) else 130
        raise SystemExit(code) from None


def _context(folder: str) -> list[str]:
    """Return the option that a model of pairs or questions needs."""
    about = json.loads((Path(folder) / "model" / "student.json").read_text(encoding="utf-8"))
    return ["--context", "its context"] if "context" in about["columns"] else []


def show(
    summary: Any, *, as_json: bool, more: Callable[[str], list[str]] = lambda _folder: []
) -> None:
    """Print a finished run: a table, or one line of JSON."""
    if as_json:
        print_json(summary)
        return
    folder = summary["run"]
    lines = [
        f"Report:   {folder}/report.html",
        f"Data set: {folder}/dataset.jsonl",
        f"Predict:  {command_line('predict', folder, 'some text', *_context(folder))}",
        *more(folder),
    ]
    print_summary(summary, lines)
