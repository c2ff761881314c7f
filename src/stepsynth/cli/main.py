"""The command-line application, made of its commands."""

import codecs
import io
import sys

import typer

from stepsynth._util.gc_tuning import collect_rarely
from stepsynth.cli.audit import audit
from stepsynth.cli.check import check
from stepsynth.cli.compare import compare
from stepsynth.cli.cost import cost
from stepsynth.cli.dedup import dedup
from stepsynth.cli.demo import demo
from stepsynth.cli.diff import diff
from stepsynth.cli.export import export
from stepsynth.cli.init import init
from stepsynth.cli.plan import plan
from stepsynth.cli.predict import predict
from stepsynth.cli.preview import preview
from stepsynth.cli.report import report
from stepsynth.cli.review import review
from stepsynth.cli.run import run
from stepsynth.cli.runs import runs
from stepsynth.cli.schema import schema
from stepsynth.cli.serve import serve
from stepsynth.cli.store import store_app
from stepsynth.cli.study import StudyCommand, study
from stepsynth.cli.train import train

app = typer.Typer(
    name="stepsynth",
    help="Turn an LLM and a few labelled rows into a good small model. "
    "Start with [bold]stepsynth demo[/bold], then [bold]stepsynth init[/bold].",
    epilog="Exit codes: 0 done, 1 a bug of ours, 2 usage or configuration or data, 3 a limit was "
    "reached, 4 the LLM's provider, 5 too few rows, 130 Ctrl-C.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PANELS = {
    "Start": (demo, init),
    "Before you spend": (check, audit, plan, preview),
    "Run": (run, compare, train),
    "Look": (runs, report, review, diff),
    "Use the model": (predict, serve, cost, export),
    "Files": (dedup, schema),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command(cls=StudyCommand, rich_help_panel="Look")(study)
app.add_typer(store_app, rich_help_panel="Files")


def _print_version(wanted: bool) -> None:
    if wanted:
        from stepsynth import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options before the command."""


def escape_unknown(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return the replacement of characters that an encoding lacks: raw path bytes or escapes."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def main() -> None:
    """Run the command line."""
    collect_rarely()
    codecs.register_error("escape_unknown", escape_unknown)
    if isinstance(sys.stdout, io.TextIOWrapper):  # stderr escapes by itself
        sys.stdout.reconfigure(errors="escape_unknown")
    app()
