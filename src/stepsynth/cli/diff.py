"""`stepsynth diff`: what sets two runs apart: settings, scores, rows, cost."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stepsynth._util.text import shorten
from stepsynth.cli._completion import complete_runs
from stepsynth.cli._shared import (
    JSON,
    handle_errors,
    make_table,
    open_console,
    print_json,
    print_line,
)

if TYPE_CHECKING:
    from stepsynth.comparison import RowChanges, TwoRuns
    from stepsynth.records import Example

SHOWN = 3
"""Rows of each kind that are shown as examples."""
LONGEST = 60
"""Characters of a setting that are printed; the JSON has all of it."""
LONGEST_ROW = 120


@handle_errors
def diff(
    a: Path = typer.Argument(
        metavar="A", help="A run folder.", show_default=False, autocompletion=complete_runs
    ),
    b: Path = typer.Argument(
        metavar="B", help="Another run folder.", show_default=False, autocompletion=complete_runs
    ),
    as_json: bool = JSON,
) -> None:
    """Say what sets two runs apart: settings, scores, rows, cost.

    A difference of scores is B minus A, in points, with a 95 % interval over the test rows. It
    needs the same test rows in both runs. Where it holds 0, the runs may be alike.
    """
    from stepsynth.comparison import compare_two
    from stepsynth.runfolder import open_run

    found = compare_two(open_run(a), open_run(b))
    if as_json:
        print_json({"a": str(a), "b": str(b), **found.to_dict(examples=SHOWN)})
    else:
        _print(a, b, found)


def _print(a: Path, b: Path, found: "TwoRuns") -> None:
    from stepsynth.metrics import SCORE_NAMES

    names = {key: long for key, (long, _) in SCORE_NAMES.items()} | {"auc": "AUC", "usd": "USD"}
    console = open_console()
    print_line(console, f"A: {a}\nB: {b}\n")
    settings = [(key, *map(_setting, values)) for key, values in found.settings.items()]
    if settings:
        _print_table(console, "Settings that differ", ("key", "A", "B"), settings)
    else:
        print_line(console, "All settings are the same.\n")
    scores = [
        (_named(key, names), *map(_percent, values), str(found.gains.get(key, "–")))
        for key, values in found.scores.items()
    ]
    if scores:
        _print_table(console, "Scores on test, %", ("score", "A", "B", "B minus A"), scores)
    if found.why_no_gains:
        print_line(console, f"No difference with an interval: {found.why_no_gains}.\n")
    if found.rows is None:
        print_line(console, f"The training rows cannot be compared: {found.why_no_rows}.\n")
    else:
        _print_rows(console, found.rows)
    costs = [(_named(key, names), *map(_number, each)) for key, each in found.cost.items()]
    if costs:
        _print_table(console, "What it took", ("", "A", "B"), costs)


def _named(key: str, names: Mapping[str, str]) -> str:
    return names.get(key, key.replace("_", " "))


def _print_table(
    console: Any, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    named = [(name, False) for name in columns]
    console.print(make_table(title, named, rows, title_justify="left"))
    console.print()


def _print_rows(console: Any, rows: "RowChanges") -> None:
    counts = (
        f"{len(rows.only_a)} only in A, {len(rows.only_b)} only in B, {len(rows.relabelled)} in "
        f"both with another label, {rows.same} the same"
    )
    print_line(console, f"Training rows: {counts}.")
    for name, several in (("only in A", rows.only_a), ("only in B", rows.only_b)):
        for row in several[:SHOWN]:
            print_line(console, f"  {name}: {_row(row, str(row.label))}")
    for first, second in rows.relabelled[:SHOWN]:
        print_line(console, f"  other label: {_row(first, f'{first.label} -> {second.label}')}")
    console.print()


def _row(row: "Example", label: str) -> str:
    return f"{shorten(label, LONGEST)}: {shorten(row.text, LONGEST_ROW)}"


def _setting(value: Any) -> str:
    if value is None:
        return "–"
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(written, LONGEST)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.6g}"
