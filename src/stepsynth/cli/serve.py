"""`stepsynth serve`: a run's model behind HTTP."""

from pathlib import Path

import typer

from stepsynth.cli._shared import handle_errors, say
from stepsynth.errors import ConfigError


@handle_errors
def serve(
    run: Path = typer.Argument(help="A run folder, or its model/ folder.", show_default=False),
    host: str = typer.Option("127.0.0.1", help="Address to listen at; 0.0.0.0: all of them."),
    port: int = typer.Option(8000, min=0, max=65535, help="Port; 0: any that is free."),
    precision: float | None = typer.Option(
        None,
        min=0,
        max=1,
        help="Abstain (a label of null) where the model is less sure than it has to be for this "
        "share of right labels; default: never.",
        show_default=False,
    ),
) -> None:
    """Serve a run's model: POST /predict with {"texts": ["..."]}, GET /health, GET /metrics.

    Probabilities are calibrated on the run's select rows. Ctrl-C lets requests in progress finish.
    """
    from aiohttp import web

    from stepsynth.deploy import GRACE_S, ModelServer
    from stepsynth.metrics import Abstention, Calibration
    from stepsynth.records import Example
    from stepsynth.students import load_student

    folder = run / "model" if (run / "model").is_dir() else run
    student, calibration = load_student(folder), Calibration.read(folder)
    abstention: Abstention | None = None
    if precision is not None:
        if calibration is None:
            raise ConfigError(
                f"{folder}: nothing is known of how right this model is when it is sure",
                hint="runs of this version keep that with classification models, from 20 select "
                "rows on; leave --precision out",
            )
        abstention = calibration.abstain_for(precision)
        if abstention is None:
            raise ConfigError(
                f"--precision {precision:g}: on the select rows the model reaches it at no "
                "threshold",
                hint="a lower precision, or a better model",
            )
        say(
            f"labels are given from a probability of {abstention.threshold:.3f} on: to "
            f"{abstention.coverage:.0%} of the select rows, {abstention.precision:.1%} of them "
            f"right [{abstention.low:.1%}, {abstention.high:.1%}]"
        )
    # Models load what they need when first asked: nobody should wait for that.
    student.predict_examples([Example("a first text", "", "its context")])
    app = ModelServer(student, run.resolve().name, calibration, abstention).make_app()

    def told(message: str) -> None:
        place = next((word for word in message.split() if word.startswith("http")), "")
        if place:
            say(f'{place}/predict takes {{"texts": ["..."]}}; Ctrl-C stops')

    try:
        web.run_app(app, host=host, port=port, print=told, shutdown_timeout=GRACE_S)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened at: {error.strerror}", hint="another --port"
        ) from error
