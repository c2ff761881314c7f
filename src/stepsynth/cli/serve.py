"""`stepsynth serve`: a run's model behind HTTP."""

from contextlib import nullcontext
from pathlib import Path

import typer

from stepsynth.cli._completion import MODEL
from stepsynth.cli._falling_back import FALL_BACK, PRECISION, open_unsure
from stepsynth.cli._shared import handle_errors, say
from stepsynth.errors import ConfigError


@handle_errors
def serve(
    run: Path = MODEL,
    host: str = typer.Option("127.0.0.1", help="Address to listen at; 0.0.0.0: all of them."),
    port: int = typer.Option(8000, min=0, max=65535, help="Port; 0: any that is free."),
    precision: float | None = PRECISION,
    fall_back: Path | None = FALL_BACK,
    timeout: float = typer.Option(
        30, min=0.1, help="Seconds that the LLM has; then the label is null."
    ),
) -> None:
    """Serve a run's model over HTTP.

    POST /predict takes {"texts": ["..."]}; there are GET /health and GET /metrics, too.
    Probabilities are calibrated on the run's select rows. Ctrl-C lets requests in progress finish.
    """
    from aiohttp import web

    from stepsynth.deploy import GRACE_S, ModelServer
    from stepsynth.metrics import Calibration
    from stepsynth.records import Example
    from stepsynth.students import load_student

    folder = run / "model" if (run / "model").is_dir() else run
    student, calibration = load_student(folder), Calibration.read(folder)
    unsure = open_unsure(run, student, calibration, precision, fall_back, timeout)
    abstention, llm = (unsure.abstention, unsure.llm) if unsure else (None, None)
    # Models load what they need when first asked: nobody should wait for that.
    student.predict_examples([Example("a first text", "", "its context")])
    name = run.resolve().name
    app = ModelServer(student, name, calibration, abstention, llm, timeout).make_app()

    def told(message: str) -> None:
        place = next((word for word in message.split() if word.startswith("http")), "")
        if place:
            say(f'{place}/predict takes {{"texts": ["..."]}}; Ctrl-C stops')

    try:
        with unsure or nullcontext():
            web.run_app(app, host=host, port=port, print=told, shutdown_timeout=GRACE_S)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened at: {error.strerror}", hint="another --port"
        ) from error
