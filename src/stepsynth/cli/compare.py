"""`stepsynth compare`: methods on one task at equal budget, with paired intervals."""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stepsynth.cli._completion import complete_executors, complete_methods
from stepsynth.cli._display import Display
from stepsynth.cli._shared import (
    JSON,
    handle_errors,
    make_table,
    open_console,
    print_error,
    print_json,
    print_line,
    say,
    setting,
)
from stepsynth.errors import StepsynthError
from stepsynth.observer import NamedObserver, Observer

if TYPE_CHECKING:
    from stepsynth.comparison import Comparison, Ended, Outcome, Plan, PlannedRun


class Equal(StrEnum):
    """The budget that is equal for all methods."""

    rows = "rows"
    calls = "calls"
    usd = "usd"


@handle_errors
def compare(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    methods: str = typer.Option(
        ...,
        metavar="A,B,...",
        autocompletion=complete_methods,
        help="Methods, in the order in which they run; a variant is NAME:KEY=VALUE;KEY=VALUE.",
        show_default=False,
    ),
    seeds: int = typer.Option(5, help="How many random seeds."),
    equal: Equal = typer.Option(Equal.rows, help="What is the same for all methods."),
    budget: float | None = typer.Option(
        None,
        help="How many rows, calls or USD a run may use (default: 1.5 x method.seed_size, else "
        "1500).",
        show_default=False,
    ),
    against: str | None = typer.Option(
        None,
        metavar="NAME",
        help="Compare the others with this one (default: zerogen, else the first).",
        show_default=False,
    ),
    overrides: list[str] = setting("student=embedding", " for all methods"),
    out: Path | None = typer.Option(
        None, help="The folder (default: runs/TASK-compare).", show_default=False
    ),
    jobs: int | None = typer.Option(
        None,
        min=1,
        help="Random seeds that are worked on at once (default: as many as there are cores here; "
        "elsewhere all).",
        show_default=False,
    ),
    executor: str = typer.Option(
        "local",
        autocompletion=complete_executors,
        help="Where the runs are done: local, dask, ray or slurm; the task file's section "
        "`executors` has their settings.",
    ),
    as_json: bool = JSON,
) -> None:
    """Compare methods on the same gold, LLM, student and budget.

    Intervals are paired, over random seeds and test rows. The same command again goes on where a
    stopped one ended. Limits are of the whole comparison.
    """
    from stepsynth.api import run_comparison
    from stepsynth.comparison import make_plan, split_names

    plan = make_plan(
        task,
        split_names(methods),
        seeds=seeds,
        equal=equal.value,
        budget=budget,
        against=against,
        overrides=overrides,
        out=out,
    )
    with Display(says_ends=False) as display:
        here = (os.cpu_count() or 1) if executor == "local" else seeds
        comparison, ended = run_comparison(
            plan, jobs=jobs or here, watcher=_Lines(display), executor=executor
        )
    _show(comparison, plan.warnings, as_json=as_json)
    _exit(comparison, ended)


class _Lines:
    """Progress of a comparison: a live bar on a terminal, and a line for each finished run."""

    def __init__(self, display: Display) -> None:
        self.display = display

    def observer_of(self, run: "PlannedRun") -> Observer:
        """Return the observer that shows the progress of one run."""
        return NamedObserver(self.display, f"{run.entry.name}, seed {run.random_seed}")

    def planned(self, plan: "Plan", done: int, total: int) -> None:
        """Print the number of runs, their budget, and methods that cannot run."""
        known = f", {done} of them done before" if done else ""
        self.display.tell(f"{total} runs{known}; the budget of each is {plan.budget}")
        for name, failure in plan.failures.items():
            self.warn(f"{name} cannot run: {failure.message}")
        for message in plan.warnings:
            self.warn(message)
        self._show(done, total)

    def progressed(self, run: "PlannedRun", phase: str, done: int, total: int) -> None:
        """Show how far a run is that goes on in another process."""
        self.display.progress(f"{run.entry.name}, seed {run.random_seed}: {phase}", done, total)

    def run_ended(self, outcome: "Outcome", done: int, total: int) -> None:
        """Print how a run ended."""
        run, failure = outcome.run, outcome.failure
        how = f"failed: {failure.message}" if failure else f"done in {outcome.seconds:.1f} s"
        self.display.forget()
        self.display.tell(f"[{done}/{total}] {run.name}: {how}")
        self._show(done, total)

    def warn(self, message: str) -> None:
        """Show a warning."""
        self.display.warn(message)

    def _show(self, done: int, total: int) -> None:
        if self.display.console.is_terminal:
            self.display.progress("runs", done, total)


def _show(comparison: "Comparison", told: Sequence[str], *, as_json: bool) -> None:
    """Print the tables, the verdict and the path of the page; or one line of JSON.

    Args:
        comparison: The comparison.
        told: Its warnings that were printed before.
        as_json: Whether to print JSON.
    """
    folder = comparison.folder
    if as_json:
        value = comparison.to_dict()
        stopped = value.pop("stopped")
        page = {"page": f"{folder}/compare.html"}
        print_json(value | page | ({"stopped": stopped} if stopped else {}))
        return
    from stepsynth.report import cost_table, problems, score_table

    console = open_console()
    for text in (score_table(comparison), cost_table(comparison, with_gold=False)):
        console.print(make_table(f"{comparison.task}: {text.title}", text.columns, text.rows))
    for row in comparison.methods:
        print_line(console, f"Gold that {row.name} sees: {row.sees or '?'}.")
    for line in (*comparison.verdict, *problems(comparison)):
        print_line(console, line)
    for message in comparison.warnings:
        if message not in told:
            say(f"warning: {message}")
    print_line(console, f"Page: {folder}/compare.html")


def _exit(comparison: "Comparison", ended: "Ended") -> None:
    """Exit with the code of the error that stopped the comparison, or of the first failed run."""
    if ended.error is not None:
        print_error(StepsynthError(ended.error.message, hint=ended.error.hint))
        raise SystemExit(ended.error.exit_code)
    if ended.stopped is not None:
        say(f"stopped by Ctrl-C; the same command goes on in {comparison.folder}")
        raise SystemExit(130)
    for row in comparison.methods:
        for message, hint in row.errors.items():
            print_error(StepsynthError(f"{row.name}: {message}", hint=hint))
    if comparison.exit_code:
        raise SystemExit(comparison.exit_code)
