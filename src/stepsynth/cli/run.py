"""`stepsynth run`: a task file becomes a data set, a trained student and a report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stepsynth.cli._completion import complete_executors
from stepsynth.cli._display import Display
from stepsynth.cli._dry_run import dry_run
from stepsynth.cli._shared import (
    JSON,
    as_ours,
    command_line,
    error_line,
    handle_errors,
    print_error,
    print_json,
    print_summary,
    setting,
)

if TYPE_CHECKING:
    from stepsynth.results import RunResult
    from stepsynth.run_records import Summary
    from stepsynth.runner import Runner


@handle_errors
def run(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    overrides: list[str] = setting("method.rounds=3"),
    out: Path | None = typer.Option(
        None, help="The run folder (default: runs/TASK-METHOD-SEED).", show_default=False
    ),
    executor: str = typer.Option(
        "local",
        autocompletion=complete_executors,
        help="Where the shards of large phases (llm.shards) are worked on: local, dask, ray or "
        "slurm; the task file's section `executors` has their settings.",
    ),
    is_dry: bool = typer.Option(
        False,
        "--dry-run",
        help="Send nothing and write nothing: print the plan as `plan` does, every defect that "
        "would stop the run, and how to mend it.",
    ),
    as_json: bool = JSON,
) -> None:
    """Synthesise a data set, train the student, write a report.

    The same command again goes on where a stopped run ended: nothing is asked or paid for twice.
    """
    if is_dry:
        dry_run(task, overrides, out, executor, as_json=as_json)
        return
    from stepsynth.runner import Runner
    from stepsynth.taskfile import load_config

    display = Display()
    config = load_config(task, overrides)
    runner = Runner(config, out=out, observer=display, executor=config.executor(executor))
    result = run_to_end(runner, display, as_json=as_json)
    show(result.summary, as_json=as_json)


def run_to_end(runner: "Runner", display: Display, *, as_json: bool) -> "RunResult":
    """Run to the end; on a stop, print the results so far and the cause, and exit with its code."""
    from stepsynth.api import finish
    from stepsynth.runner import stop_reason

    try:
        with display:
            return finish(runner)
    except (Exception, KeyboardInterrupt) as caught:
        error = as_ours(caught)
        if error.exit_code == 1:
            raise
        if isinstance(caught, KeyboardInterrupt):
            error.message += f"; the same command goes on in {runner.folder.path}"
        state = runner.state
        if state.kept is not None and runner.folder.manifest.exists() and not as_json:
            show(state.summary(), as_json=False)
        print_error(error)
        if as_json:
            stopped = state.summary(stopped=stop_reason(caught))
            print_json({**stopped.to_dict(), **error_line(error)})
        raise SystemExit(error.exit_code) from None


def _predict_line(folder: str) -> list[str]:
    """Return the command that asks the trained student; none without one (method `llm`)."""
    file = Path(folder) / "model" / "student.json"
    if not file.exists():
        return []
    about = json.loads(file.read_text(encoding="utf-8"))
    context = ["--context", "its context"] if "context" in about["columns"] else []
    return [f"Predict:  {command_line('predict', folder, 'some text', *context)}"]


def show(
    summary: "Summary", *, as_json: bool, more: Callable[[str], list[str]] = lambda _folder: []
) -> None:
    """Print a finished run: a table, or one line of JSON."""
    if as_json:
        print_json(summary.to_dict())
        return
    from stepsynth.runfolder import RunFolder

    folder = summary.run
    report = RunFolder(Path(folder)).report
    lines = [
        *([f"Report:   {folder}/report.html"] if report.is_file() else []),
        f"Data set: {RunFolder(Path(folder)).dataset}",
        *_predict_line(folder),
        *more(folder),
    ]
    print_summary(summary, lines)
