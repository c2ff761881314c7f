"""`stepsynth audit`: doubtful gold rows, before money is spent on them."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stepsynth.cli._shared import (
    JSON,
    handle_errors,
    make_table,
    open_console,
    print_json,
    print_line,
    setting,
)

if TYPE_CHECKING:
    from stepsynth.dryrun import Doubt

SHOWN = 10
"""Doubts of each kind that are printed; the file has all."""


@handle_errors
def audit(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    overrides: list[str] = setting("student=embedding"),
    out: Path | None = typer.Option(
        None, help="The file of decisions (default: TASK.audit.jsonl).", show_default=False
    ),
    as_json: bool = JSON,
) -> None:
    """Find gold rows with doubtful labels.

    These are wrong labels, contradictions and ambiguous rows. Rows of mine and select are audited,
    those of test are not. Write the doubts to a file; fill in each "decision" (keep, drop or a
    label), and name the file in the task file as data.decisions. No LLM is asked.
    """
    from stepsynth._util.files import write_jsonl
    from stepsynth.data import check_label_names
    from stepsynth.dryrun import audit as find_doubts
    from stepsynth.errors import ConfigError, RunFolderError
    from stepsynth.inputs import read_gold, split
    from stepsynth.records import union
    from stepsynth.students import StudentFactory
    from stepsynth.taskfile import load_config

    config = load_config(task, overrides, asks_llm=False)
    path = out or task.with_suffix(".audit.jsonl")
    if path.exists():
        raise RunFolderError(
            f"{path} exists, and may hold decisions of yours",
            hint="give another --out, or remove it",
        )
    if config.task.has_label_sets:
        raise ConfigError(
            f"{task}: an audit compares a row's label with a student's, and rows of a "
            f"{config.task.name} task have sets of labels",
            hint="the report of a run with method: gold shows where sets are mistaken",
        )
    warnings: list[str] = []
    config.student.check()
    check_label_names(config.task.label_names)
    gold = split(config, read_gold(config, warnings.append), warnings.append)
    # As in the paper's own splits, both may be the same rows.
    rows = union(gold.mine, () if gold.select == gold.mine else gold.select)
    factory = StudentFactory(config.student, config.task.label_names, config.random_seed)
    doubts = find_doubts(rows, factory, warnings.append)
    write_jsonl(path, (doubt.to_dict() for doubt in doubts))
    counts = Counter(doubt.kind for doubt in doubts)
    if as_json:
        found = {"rows": len(rows), "doubts": dict(counts), "file": str(path), "warnings": warnings}
        print_json(found)
        return
    _print(len(rows), doubts, path, warnings)


def _print(number: int, doubts: "list[Doubt]", path: Path, warnings: list[str]) -> None:
    console = open_console()
    for message in warnings:
        print_line(console, f"warning: {message}")
    shown: Counter[str] = Counter()
    rows: list[tuple[object, ...]] = []
    for doubt in doubts:
        shown[doubt.kind] += 1
        if shown[doubt.kind] <= SHOWN:
            kind = doubt.kind.replace("_", " ")
            rows.append((kind, doubt.row.label, doubt.row.text, doubt.reason))
    if doubts:
        title = f"{len(doubts)} of {number} gold rows are doubtful"
        columns = [(name, False) for name in ("kind", "label", "text", "why")]
        console.print(make_table(title, columns, rows, show_lines=True))
    more = sum(max(0, count - SHOWN) for count in shown.values())
    listed = f", {more} more in the file" if more else ""
    print_line(console, f"{len(doubts)} of {number} gold rows are doubtful{listed}.")
    print_line(console, f"Decisions: {path}")
    if doubts:
        print_line(
            console,
            "Read each of them: many a doubtful label is right, the more so the fewer the rows.\n"
            "Fill in the decisions, and set data.decisions to this file.",
        )
