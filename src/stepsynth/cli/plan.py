"""`stepsynth plan`: the expected requests, tokens, cost and time of a run. Sends nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stepsynth._util.words import amount, short, whole
from stepsynth.cli._shared import (
    JSON,
    handle_errors,
    open_console,
    print_json,
    print_line,
    printable,
    setting,
)

if TYPE_CHECKING:
    from stepsynth.dryrun import Phase, Plan, Range


@handle_errors
def plan(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    overrides: list[str] = setting("method.seed_size=5000"),
    as_json: bool = JSON,
) -> None:
    """Say what a run would cost: requests, tokens, USD and minutes.

    By phase. Needs no key and sends nothing: the method is rehearsed with made-up answers.
    """
    from stepsynth.dryrun import make_plan, small_bounds
    from stepsynth.inputs import prepare
    from stepsynth.taskfile import load_config

    config = load_config(task, overrides)
    warnings: list[str] = []
    prepared = prepare(config, warnings.append)
    made = make_plan(prepared)
    if config.llm is not None:
        warnings += small_bounds(config, config.llm, prepared.gold.mine)
    if as_json:
        print_json({**made.to_dict(), "warnings": warnings})
    else:
        print_plan(made, warnings)


def print_plan(made: "Plan", warnings: Sequence[str]) -> None:
    """Print a plan as a table, with its assumptions, and warnings."""
    from rich.markup import escape
    from rich.table import Table

    console = open_console()
    if made.phases:
        table = Table(title=escape(printable(f"{made.task}: {made.method}, before it is run")))
        # Model names may be long: they wrap, numbers do not.
        longest = max(len(phase.kind) for phase in (*made.phases, made.total))
        table.add_column("phase", overflow="fold", min_width=longest, max_width=max(longest, 16))
        for name in ("requests", "prompt\ntokens", "completion\ntokens", "USD", "minutes"):
            table.add_column(name, justify="right", overflow="fold")
        several = len(made.total.models) > 1
        for phase in made.phases:
            table.add_row(*map(escape, _cells(phase, ", ".join(phase.models) if several else "")))
        table.add_section()
        table.add_row(*map(escape, _cells(made.total, "")))
        table.caption = "expected, and below it the least - the most"
        console.print(table)
    for line in made.limits:
        print_line(console, line, "bold")
    for line in made.assumptions:
        print_line(console, f"- {line}")
    for message in warnings:
        print_line(console, f"warning: {message}")
    console.print("Nothing was sent.")


def _cells(phase: "Phase", models: str) -> list[str]:
    return [
        printable(f"{phase.kind}\n{models}"),
        _shown(phase.requests, _count),
        _shown(phase.prompt_tokens, _count),
        _shown(phase.completion_tokens, _count),
        "price\nnot known" if phase.usd is None else _shown(phase.usd, amount),
        "not known" if phase.minutes is None else _shown(phase.minutes, amount),
    ]


def _shown(given: "Range", write: Any) -> str:
    low, expected, high = write(given.low), write(given.expected), write(given.high)
    return expected if low == high else f"{expected}\n{low} - {high}"


def _count(value: float) -> str:
    return whole(value) if value < 10_000 else short(value)
