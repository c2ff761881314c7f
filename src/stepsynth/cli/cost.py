"""`stepsynth cost`: what a model's answers cost, an LLM's, and the LLM's behind the model."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stepsynth._util.words import usd, whole
from stepsynth.cli._completion import RUN
from stepsynth.cli._shared import JSON, handle_errors, print_json, printable, say
from stepsynth.errors import ProviderError

if TYPE_CHECKING:
    from stepsynth.deploy import FallBack
    from stepsynth.records import Dataset
    from stepsynth.report import PredictionCost


@handle_errors
def cost(
    run: Path = RUN,
    test: str = typer.Argument(
        help="Labelled rows that the model has not seen: a file as `data.gold` may be.",
        show_default=False,
    ),
    fall_back: Path | None = typer.Option(
        None,
        metavar="TASK",
        help="The task file whose LLM is asked, within its limits; default: the run's own.",
        show_default=False,
    ),
    rows: int = typer.Option(200, min=1, help="Most rows that the LLM is asked about."),
    out: Path | None = typer.Option(
        None, help="The page (default: cost.html in the run folder).", show_default=False
    ),
    as_json: bool = JSON,
) -> None:
    """Score the model, the LLM, and the LLM behind the model.

    Behind it: where the model abstains. Scores, USD and milliseconds are printed. Answers are
    remembered: a second call costs nothing. Rows that the model has seen are left out.
    """
    from stepsynth.data import read_file
    from stepsynth.deploy import FallBack, draw_rows, measure_cost, read_task, unseen_rows
    from stepsynth.report import write_prediction_cost
    from stepsynth.runfolder import open_run
    from stepsynth.students import load_student
    from stepsynth.taskfile import load_config

    opened = open_run(run)
    student = load_student(opened.folder.model)
    config = load_config(opened.folder.config)
    asked = read_task(fall_back or run, student)
    data, told = config.data, lambda message: say(f"note: {message}")
    found = read_file(test, config.task, data.columns, reading=data.reading, warn=told)
    left = draw_rows(unseen_rows(opened, config, found, told), rows, config.random_seed)
    timeout_s = asked.llm.live().timeout_s if asked.llm else 0.0
    llm = FallBack(asked, opened.folder, timeout_s=timeout_s, on_notice=told)
    try:
        _say_estimate(left, llm)
        measured = measure_cost(opened, left, llm)
    except ProviderError:
        llm.ping()  # it says what the trouble is
        raise
    finally:
        llm.close()
    page = out or opened.folder.path / "cost.html"
    write_prediction_cost(measured, page)
    if as_json:
        print_json({**measured.to_dict(), "page": str(page)})
    else:
        _print(measured, page)


def _say_estimate(rows: "Dataset", llm: "FallBack") -> None:
    from stepsynth.deploy import estimate

    most = estimate(rows, llm.task, llm.settings)
    say(
        f"{llm.settings.model} is asked about {len(rows)} rows: at most "
        f"{whole(most.prompt_tokens)} prompt and {whole(most.completion_tokens)} completion "
        f"tokens, {usd(most.usd)}; what {llm.store} remembers costs nothing"
    )


def _print(measured: "PredictionCost", page: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title=escape(printable(f"{measured.run}: {measured.rows} labelled rows")))
    for name in measured.columns:
        table.add_column(name, justify="right" if name else "left", no_wrap=not name)
    for way in measured.ways:
        table.add_row(*(escape(printable(cell)) for cell in way.cells()))
    console.print(table)
    for note in measured.notes:
        console.print(printable(note), markup=False)
    console.print(f"Page: {page}", markup=False, soft_wrap=True)
