"""`stepsynth review`: a page on this machine where a person decides on a run's rows."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stepsynth.cli._completion import RUN
from stepsynth.cli._shared import command_line, handle_errors, say
from stepsynth.errors import ConfigError

if TYPE_CHECKING:
    from stepsynth.runfolder import Run

HOST = "127.0.0.1"


class Tool(StrEnum):
    """An annotation tool that takes the rows as a file."""

    label_studio = "label-studio"
    argilla = "argilla"


@handle_errors
def review(
    run: Path = RUN,
    port: int = typer.Option(8010, min=0, max=65535, help="Port; 0: any that is free."),
    export: Tool | None = typer.Option(
        None, help="Write the rows for an annotation tool, and end.", show_default=False
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="The file that --export writes.", show_default=False
    ),
    import_: Path | None = typer.Option(
        None,
        "--import",
        help="Take the decisions of a file that such a tool exported, and end.",
        show_default=False,
    ),
) -> None:
    """Review a run's rows in a browser: edit, relabel, reject.

    Gold rows with wrong labels are marked there, too. The page is on this machine alone. Decisions
    go to review.jsonl in the run folder; `stepsynth run` with the same task trains a further round
    on them, without asking the LLM.
    """
    if (export is None) != (out is None):
        raise ConfigError("--export needs --out FILE, and --out needs --export")
    from stepsynth.runfolder import open_run

    opened = open_run(run)
    if export is not None and out is not None:
        _export(opened, export, out)
    elif import_ is not None:
        _import(opened, import_)
    else:
        _serve(opened, port)


def _export(opened: "Run", tool: Tool, out: Path) -> None:
    from stepsynth.review import Table, export_rows, labelling_interface, read_review

    table = Table.read(opened)
    number = export_rows(table, read_review(opened.folder.review), tool.value, out)
    say(f"{number} rows written to {out}")
    if tool is Tool.label_studio:
        say("The labelling interface of the project (Settings > Labeling Interface > Code):")
        print(labelling_interface(table), end="")


def _import(opened: "Run", path: Path) -> None:
    from stepsynth.review import ReviewLog, Table, import_rows

    log = ReviewLog(opened.folder.review)
    made = import_rows(path, Table.read(opened), log.history)
    new = [each for each in made if not log.history.has(each)]
    log.append(new)
    say(f"{len(new)} decisions taken, {len(made) - len(new)} of {path} were there already")


def _serve(opened: "Run", port: int) -> None:
    from aiohttp import web

    from stepsynth.report import read_style
    from stepsynth.review import ReviewServer

    server = ReviewServer(opened, read_style())

    def told(message: str) -> None:
        place = next((word for word in message.split() if word.startswith("http")), "")
        if place:
            say(f"{place}/{server.token}/")
            say(f"Ctrl-C stops; then {command_line('run', 'TASK.yaml')} trains on the decisions")

    try:
        web.run_app(server.make_app(), host=HOST, port=port, print=told, shutdown_timeout=1.0)
    except OSError as error:
        raise ConfigError(
            f"{HOST}:{port} cannot be listened at: {error.strerror}", hint="another --port"
        ) from error
