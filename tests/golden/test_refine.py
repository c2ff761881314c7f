"""SynthesizRR's prompts as an LLM gets them: the default, and those of the paper's data sets."""

import os
from pathlib import Path

import pytest

from stepsynth.records import Example
from tests.golden.test_prompts import task_of

HERE = Path(__file__).parent / "prompts"
SIX = ("ag_news", "hyperpartisan", "toi_headlines", "category", "humor", "polarity")
PAIR = [{"passage": "A first passage.", "text": "Its example. {{ why }}"}]
NO_CALLBACKS = [{"passage": "", "text": "An example."}, {"passage": "", "text": "Another one."}]


@pytest.mark.parametrize("name", ["default", *SIX])
def test_refine_prompts_are_as_reviewed(name):
    task = task_of(name)
    likes = [Example("", label) for label in task.label_names[:2]]
    prompts = [
        task.prompt("refine", like, passage="A passage. {{ who }}", shots=shots)
        for like, shots in ((likes[0], PAIR), (likes[1], NO_CALLBACKS), (likes[0], []))
    ]
    assert "{{ why }}" in prompts[0]
    assert all("{{ who }}" in prompt for prompt in prompts)
    text = "\n\n----\n\n".join(prompts) + "\n"
    path = HERE / f"refine_{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_recipes_have_the_labels_of_the_papers_data_sets():
    counts = [len(task_of(name).label_names) for name in SIX]
    assert counts == [4, 2, 10, 23, 2, 2]
