"""`stepsynth report`: write a run's report again."""

from pathlib import Path

import typer

from stepsynth.cli._completion import RUN
from stepsynth.cli._shared import handle_errors


@handle_errors
def report(
    run: Path = RUN,
    out: Path | None = typer.Option(
        None, help="Where to write it (default: report.html in the run folder).", show_default=False
    ),
) -> None:
    """Write a run's report, also of a stopped one: one HTML file."""
    from stepsynth.report import write_report

    print(write_report(run, out))
