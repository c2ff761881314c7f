"""`stepsynth predict`: labels for texts, from a run's student alone."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import typer

from stepsynth.cli._shared import handle_errors, print_json, say
from stepsynth.errors import ConfigError

BATCH = 256


@handle_errors
def predict(
    run: Path = typer.Argument(help="A run folder, or its model/ folder.", show_default=False),
    text: list[str] = typer.Argument(None, help="Texts; default: lines of stdin."),
    as_json: bool = typer.Option(
        False, "--json", help="One JSON object a text: text, label, probabilities."
    ),
) -> None:
    """Print a label and its probability for each text, in order, with a tab between.

    Where no text is given it reads lines of stdin, so it can stand in a pipe; an empty line there
    gives an empty line.
    """
    from stepsynth.students import load_student

    model = load_student(run / "model" if (run / "model").is_dir() else run)
    if not text and sys.stdin.isatty():
        raise ConfigError("there is no text to predict", hint='stepsynth predict RUN "some text"')
    lines = iter(text) if text else (line.rstrip("\r\n") for line in _stdin())
    for number, batch in enumerate(_batches(lines)):
        predictions = model.predict_probabilities(batch)
        for i, (line, label) in enumerate(zip(batch, predictions.labels, strict=True)):
            if not line.strip():
                say(f"warning: text {number * BATCH + i + 1} is empty and gets no label")
                print_json({"text": line, "label": None}) if as_json else print()
                continue
            shares = dict(
                zip(predictions.label_names, predictions.probabilities[i].tolist(), strict=True)
            )
            if as_json:
                rounded = {name: round(share, 6) for name, share in shares.items()}
                print_json({"text": line, "label": label, "probabilities": rounded})
            else:
                print(f"{label}\t{shares[label]:.4f}")


def _stdin() -> Iterator[str]:
    """Yield the lines of stdin as UTF-8, whatever the locale; `splitlines` would cut at U+2028."""
    for raw in sys.stdin.buffer:
        yield raw.decode("utf-8", "replace")


def _batches(lines: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(lines, BATCH)):
        yield batch
