"""Prompts of zerogen's two stages, fewgen and progen; `UPDATE_GOLDEN=1` writes them anew."""

import os
from pathlib import Path

import pytest

from stepsynth.records import Example
from tests.golden.test_prompts import PASSAGE, label_of, task_of

HERE = Path(__file__).parent / "prompts"


def prompts_of(name):
    task = task_of(name)
    label = label_of(task)
    context = PASSAGE if task.has_context else None
    like = Example("", label, context)
    shots = [Example(f"Shot {i}. {{{{ why }}}}", label, context and f"Told {i}.") for i in (1, 2)]
    listed = []
    if "few_shot" in task.prompt_fields():
        listed += [task.prompt("few_shot", like, shots=given) for given in (shots, shots[:1], [])]
    if not task.has_context:
        named = {"condition_name": "complaint"}
        listed.append(task.prompt("condition", Example("", ""), number=20, **named))
        listed.append(task.prompt("seed_conditioned", like, condition="a {{ why }} bill", **named))
    return listed


@pytest.mark.parametrize("name", ["default", "french", "sets", "pair", "qa"])
def test_prompts_of_methods_are_as_reviewed(name):
    text = "\n\n----\n\n".join(prompts_of(name)) + "\n"
    path = HERE / f"methods_{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert "{{ why }}" in text
