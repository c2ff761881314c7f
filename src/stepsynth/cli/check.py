"""`stepsynth check`: is this task file ready to run? Asks no LLM and spends nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stepsynth.cli._shared import JSON, handle_errors, print_json

if TYPE_CHECKING:
    from stepsynth.experiment.config import Config
    from stepsynth.experiment.split import Gold


@handle_errors
def check(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    overrides: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Override a key, e.g. data.gold=other.csv."
    ),
    as_json: bool = JSON,
) -> None:
    """Check a task file: keys, files, columns, labels, balance, overlap between splits."""
    from stepsynth.experiment.checks import check_curation
    from stepsynth.experiment.config import load_config
    from stepsynth.experiment.inputs import (
        find_contexts,
        read_given,
        read_gold,
        read_passages,
        split,
    )
    from stepsynth.llm import llm_backends

    config = load_config(task, overrides)
    warnings: list[str] = []
    data = read_gold(config, warnings.append)
    gold = split(config, data, warnings.append)
    contexts = find_contexts(config, data, gold, warnings.append)
    config.student.check()
    if config.retriever is not None:
        config.retriever.check()
    check_curation(config.curation, config.method, config.task, warnings.append)
    passages = read_passages(config, warnings.append)
    given = read_given(config, warnings.append)
    if config.llm is not None:
        # Reads recordings and the key's place; nothing is sent.
        llm_backends().get(config.llm.backend)(config.llm, config.random_seed)
    found = {
        "task": config.name,
        "method": config.method.name,
        "student": config.student.name,
        "llm": config.llm.backend if config.llm else None,
        "splits": {
            name: {"rows": len(rows), "labels": dict(sorted(rows.label_counts().items()))}
            for name, rows in (("mine", gold.mine), ("select", gold.select), ("test", gold.test))
        },
        **({"contexts": len(contexts)} if config.task.has_context else {}),
        **({"passages": len(passages)} if passages else {}),
        **{key: len(rows) for key, rows in given.items()},
        "dropped": dict(gold.dropped),
        "warnings": warnings,
        "ok": True,
    }
    if as_json:
        print_json(found)
    else:
        _print(config, gold, found)


def _print(config: "Config", gold: "Gold", found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    parts = (("mine", gold.mine), ("select", gold.select), ("test", gold.test))
    table = Table(title=escape(f"{config.name}: {config.method.name}, {config.student.name}"))
    table.add_column("label")
    for name, _ in parts:
        table.add_column(name, justify="right")
    for label in config.task.label_names:
        table.add_row(escape(label), *(str(rows.label_counts()[label]) for _, rows in parts))
    if config.task.label_names:
        table.add_section()
    table.add_row("rows", *(str(len(rows)) for _, rows in parts))
    console = Console(highlight=False)
    console.print(table)
    if config.task.has_context and config.llm is not None:
        count = found["contexts"]
        said = f"{count} contexts" if count else "contexts that the LLM writes"
        console.print(f"Seed data is written for {said}.")
    if "passages" in found:
        console.print(f"{found['passages']} passages can be retrieved from.")
    for message in found["warnings"]:
        console.print(f"warning: {message}", markup=False)
    console.print("The task file is in order. No LLM was asked.")
