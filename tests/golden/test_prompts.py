"""The prompts as an LLM gets them; `UPDATE_GOLDEN=1 make test` writes them anew, to be reviewed."""

import os
from pathlib import Path

import pytest

from stepsynth.experiment.config import RECIPES
from stepsynth.experiment.locate import read_yaml
from stepsynth.records import Example
from stepsynth.tasks.classification import Classification

HERE = Path(__file__).parent / "prompts"
REASONS = ["the card was charged twice", "a refund is late"]
TASKS = {
    "default": {
        "instruction": "Decide which team should answer.",
        "text_name": "message",
        "labels": {"billing": "money and invoices", "delivery": "parcels"},
    },
    "french": {
        "instruction": "Décide quelle équipe doit répondre.",
        "text_name": "message",
        "labels": ["facturation", "livraison"],
        "language": "French",
    },
}


def task_of(name: str) -> Classification:
    values = TASKS.get(name) or read_yaml(RECIPES / f"{name}.yaml").values["task"]
    return Classification.model_validate({k: v for k, v in values.items() if k != "kind"})


@pytest.mark.parametrize("name", [*TASKS, "imdb"])
def test_prompts_are_as_reviewed(name):
    task = task_of(name)
    label = task.label_names[0]
    prompts = [
        task.rationale_prompt(label, 20),
        task.seed_prompt(label, REASONS),
        task.seed_prompt(label),
        task.extrapolation_prompt(Example("Twice! {{ why }}", label)),
    ]
    text = "\n\n----\n\n".join(prompts) + "\n"
    path = HERE / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
