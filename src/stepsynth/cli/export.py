"""`stepsynth export`: what a run's LLM wrote, as a recording that `replay` answers from."""

from pathlib import Path

import typer

from stepsynth.cli._shared import handle_errors, say


@handle_errors
def export(
    run: Path = typer.Argument(help="A run folder.", show_default=False),
    recording: Path = typer.Option(
        ..., help="The file to write: JSON lines, one completion each.", show_default=False
    ),
) -> None:
    """Write a recording of a run, so that anyone can run it again without an LLM."""
    from stepsynth.experiment.recording import write_recording
    from stepsynth.experiment.rundir import RunFolder

    count = write_recording(RunFolder(run), recording)
    say(f"{recording}: {count} completions")
    say(
        "use it with: --set 'llm={backend: replay, recordings: ["
        + str(recording.absolute())
        + "]}'"
    )
