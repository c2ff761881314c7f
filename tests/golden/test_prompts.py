"""The prompts as an LLM gets them; `UPDATE_GOLDEN=1 make test` writes them anew, to be reviewed."""

import os
from pathlib import Path

import pytest

from stepsynth.records import Answers, Example, Label, LabelSet
from stepsynth.taskfile.config import RECIPES, recipe_names
from stepsynth.taskfile.yaml_lines import read_yaml
from stepsynth.tasks import Task, task_kinds

HERE = Path(__file__).parent / "prompts"
REASONS = ["the card was charged twice", "a refund is late"]
PASSAGE = "Ada Lovelace published the first program in 1843. {{ why }}"
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
    "sets": {
        "kind": "multi_label",
        "instruction": "Decide what a message is about.",
        "text_name": "message",
        "labelled_name": "message about {label}",
        "labels": {"billing": "money and invoices", "delivery": "parcels", "login": "passwords"},
    },
    "pair": {
        "kind": "sentence_pair",
        "instruction": "Decide whether the claim is backed by the source.",
        "text_name": "claim",
        "context_name": "source",
        "labels": {"yes": "backed", "no": "not backed"},
    },
    "qa": {"kind": "extractive_qa", "instruction": "Answer from the passage."},
    "qa_new_answer": {
        "kind": "extractive_qa",
        "instruction": "Answer from the passage.",
        "extrapolate": "new_answer",
        "language": "French",
    },
}


def task_of(name: str) -> Task:
    values = TASKS.get(name) or read_yaml(RECIPES / f"{name}.yaml").values["task"]
    kind = task_kinds().get(values.get("kind", "classification"))
    return kind.model_validate({k: v for k, v in values.items() if k != "kind"})


def label_of(task: Task) -> Label:
    if task.has_label_sets:
        return LabelSet(task.label_names[:2])
    return task.label_names[0] if task.label_names else Answers(("1843",), (44,))


def prompts_of(task: Task) -> list[str]:
    label = label_of(task)
    error = Example("Twice! {{ why }}", label, PASSAGE if task.has_context else None)
    like = Example("", label, error.context)
    if not task.has_context:
        listed = [task.rationale_prompt(str(label), 20), task.seed_prompt(like, REASONS)]
    else:
        listed = [task.context_prompt()]
    if not task.label_names:
        listed.append(task.answers_prompt(PASSAGE, 5))
    if task.has_label_sets:
        nothing = Example("", LabelSet(()))
        listed += [task.seed_prompt(nothing), task.prompt("decide", error, shots=[])]
    return [*listed, task.seed_prompt(like), task.extrapolation_prompt(error)]


@pytest.mark.parametrize("name", [*TASKS, *recipe_names()])
def test_prompts_are_as_reviewed(name):
    text = "\n\n----\n\n".join(prompts_of(task_of(name))) + "\n"
    path = HERE / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*TASKS, *recipe_names()])
def test_what_stands_in_data_is_never_a_template(name):
    prompts = prompts_of(task_of(name))
    assert "{{ why }}" in prompts[-1]
