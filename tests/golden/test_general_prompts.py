"""What goes with any prompt: several texts instead of one, and a correction."""

import os
from pathlib import Path

import pytest

from stepsynth.methods._corrections import MENDABLE
from stepsynth.records import Answers, Example
from tests.golden.test_prompts import PASSAGE, task_of

HERE = Path(__file__).parent / "prompts"


@pytest.mark.parametrize("name", ["default", "french", "pair", "qa_new_answer"])
def test_general_prompts_are_as_reviewed(name):
    task = task_of(name)
    label = task.label_names[0] if task.label_names else Answers(("1843",), (44,))
    prompt = task.seed_prompt(Example("", label, PASSAGE if task.has_context else None))
    listed = [f"{prompt}\n\n{task.render('several', number=5)}"]
    listed += [task.render("correct", reason=reason) for reason in MENDABLE]
    text = "\n\n----\n\n".join(listed) + "\n"
    path = HERE / f"general_{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
