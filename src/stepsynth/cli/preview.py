"""`stepsynth preview`: a few real requests of each kind, with their answers and rows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stepsynth._util.words import usd
from stepsynth.cli._shared import (
    JSON,
    as_ours,
    conclude,
    handle_errors,
    open_console,
    print_line,
    printable,
    say,
    setting,
)
from stepsynth.observer import Observer

if TYPE_CHECKING:
    from stepsynth.preview import Preview, Shown

MOST = 100


@handle_errors
def preview(
    task: Path = typer.Argument(help="The task file (YAML).", show_default=False),
    number: int = typer.Option(
        5,
        "-n",
        min=1,
        max=MOST,
        help="Requests of each kind of prompt; more only where other prompts need the answers.",
    ),
    overrides: list[str] = setting("llm.temperature=0.7"),
    out: Path | None = typer.Option(
        None,
        help="The run folder that keeps the answers (default: as for `run`).",
        show_default=False,
    ),
    as_json: bool = JSON,
) -> None:
    """Send a few requests of each kind: prompts, answers, rows.

    What is rejected is shown, too. No student is trained. The answers are kept in the run folder: a
    run that sends the same requests does not pay for them again.
    """
    from stepsynth.errors import ProviderError
    from stepsynth.preview import Previewer
    from stepsynth.taskfile import load_config

    config = load_config(task, overrides)
    previewer = Previewer(config, number, out, _Warnings())
    planned = previewer.count()
    if config.llm is None:
        say("This method asks no LLM.")
    elif not planned:
        say("No prompt would be sent: a text of test or select stands in each (curation.copies).")
    else:
        listed = ", ".join(f"{n} {kind}" for kind, n in planned.items())
        say(f"This asks for about {sum(planned.values())} answers: {listed}.")
    found = previewer.run()
    error = as_ours(found.error) if found.error is not None else None
    if error is None and found.is_all_failed:
        error = ProviderError("no request was answered", hint="see above for the causes")
    if not as_json:
        _print(found)
    conclude(found.to_dict(), error, as_json=as_json)


class _Warnings(Observer):
    def warn(self, message: str) -> None:
        say(f"warning: {message}")


def _print(found: "Preview") -> None:
    from rich.markup import escape

    console = open_console()
    for kind, several in found.kinds.items():
        console.rule(f"[bold]{escape(printable(kind))}[/bold]", align="left")
        for number, shown in enumerate(several, start=1):
            _print_one(console, f"{kind} {number} of {len(several)}", shown)
    for kind in found.unshown if found.error is None else ():
        print_line(
            console,
            f"{kind}: not shown: every prompt of that kind needs more answers than were asked for "
            "here; a larger -n shows some.",
        )
    usage = found.usage
    if not usage:
        return
    if usage["replayed"]:
        print_line(console, f"{usage['replayed']} recorded answers; no LLM was called.")
        return
    tokens = f"{usage['prompt_tokens']} prompt + {usage['completion_tokens']} completion tokens"
    print_line(
        console,
        f"{usage['requests']} requests sent, {usage['from_store']} answers from the store, "
        f"{usage['failed']} failed; {tokens}, {usd(usage['usd'])}.",
    )
    if found.store is not None:
        print_line(console, f"Kept in {found.store}")


def _print_one(console: Any, title: str, shown: "Shown") -> None:
    _print_part(console, f"{title}: prompt", shown.prompt)
    for turn, said in zip(("first answer", "correction"), shown.turns, strict=False):
        _print_part(console, turn, said)
    if shown.failed:
        _print_part(console, "failed", shown.failed)
        return
    _print_part(console, "answer", shown.answer)
    if shown.row is not None:
        _print_part(console, "read as", json.dumps(shown.row, ensure_ascii=False))
    if shown.rejected:
        _print_part(console, "not used", shown.rejected)


def _print_part(console: Any, name: str, text: str) -> None:
    """Print text of the LLM or the data, never as markup or terminal control sequences."""
    print_line(console, f"{name}:", "bold")
    print_line(console, text.strip() + "\n")
