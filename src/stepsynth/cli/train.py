"""`stepsynth train`: a student for rows that are there."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stepsynth.cli._display import Display
from stepsynth.cli._shared import (
    JSON,
    command_line,
    handle_errors,
    open_console,
    print_json,
    print_line,
    setting,
    shown,
)

if TYPE_CHECKING:
    from stepsynth.run_records import Trained


@handle_errors
def train(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    rows: list[str] = typer.Argument(
        metavar="ROWS...",
        help="Runs, whose data sets are taken, and labelled rows: files as data.gold may be, "
        "folders and patterns of Parquet files, or addresses (s3://...).",
        show_default=False,
    ),
    out: Path = typer.Option(
        ..., help="The folder of the model, which is written.", show_default=False
    ),
    overrides: list[str] = setting("student=transformer"),
    as_json: bool = JSON,
) -> None:
    """Train the student on rows that are there.

    They may be those of several runs, or of other tools. Copies of test and select rows are left
    out, and the model is scored on both. No LLM is asked. The `transformer` student learns from
    more rows than fit into memory.
    """
    from stepsynth.taskfile import load_config
    from stepsynth.train import train as train_student

    config = load_config(task, overrides, asks_llm=False)
    with Display() as display:
        trained = train_student(config, rows, out, display)
    if as_json:
        print_json({"out": str(out), **trained.to_dict()})
    else:
        _show(trained, out)


def _show(trained: "Trained", out: Path) -> None:
    console = open_console()
    labels = ", ".join(f"{count:,} {label}" for label, count in trained.rows_by_label.items())
    told = f" ({labels})" if labels else ""
    print_line(console, f"{trained.student} trained on {trained.rows:,} rows{told}")
    for split, scores in (("select", trained.select), ("test", trained.test)):
        each = ", ".join(f"{name} {scores[key]:.3f}" for key, name in shown(scores))
        print_line(console, f"{split}: {each} ({scores.n} rows)")
    print_line(console, f"Predict:  {command_line('predict', str(out), 'some text')}")
