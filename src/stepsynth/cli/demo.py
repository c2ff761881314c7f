"""`stepsynth demo`: the whole job, offline, on a task that ships in the package."""

from pathlib import Path

import typer

from stepsynth.cli._display import Display
from stepsynth.cli._shared import JSON, command_line, handle_errors
from stepsynth.cli.run import run_to_end, show

TASK = Path(__file__).parent.parent / "demo" / "support.yaml"


@handle_errors
def demo(
    overrides: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Override a key, e.g. method.rounds=1."
    ),
    out: Path = typer.Option(Path("stepsynth-demo"), help="The run folder."),
    as_json: bool = JSON,
) -> None:
    """Run the whole job offline on a task that ships here: support messages to teams.

    No LLM is called and nothing is measured but this demonstration: its texts were written for it.
    """
    from stepsynth.experiment.config import load_config
    from stepsynth.experiment.runner import Runner

    display = Display()
    runner = Runner(load_config(TASK, overrides), out=out, observer=display)
    result = run_to_end(runner, display, as_json=as_json)
    show(result.summary, as_json=as_json, more=_explain)


def _explain(_folder: str) -> list[str]:
    return [
        "",
        "These messages and the LLM's answers were written for this demo: no LLM was called, and",
        "the scores say nothing of a real one. To run the same task with an LLM of yours:",
        f"  {command_line('run', str(TASK), '--out', 'runs/support-llm')} \\",
        "    --set 'llm={backend: openai_compatible, base_url: http://127.0.0.1:8000/v1, "
        "model: YOUR_MODEL}'",
        "For labels and data of your own: stepsynth init --help",
    ]
