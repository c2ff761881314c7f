"""What models leave around an answer, each in a form of its own, is no part of it."""

import pytest

from stepsynth._util import reasoning
from stepsynth._util.reasoning import Said, split_reasoning

TEXT = "Great film, I loved it."
BEFORE = [
    "<think>plan</think>",
    "\n <think></think>",
    "<thinking>plan</thinking>\n",
    "<thought>plan</thought>",
    "<reasoning>plan</reasoning>\n\n",
    "<seed:think>plan</seed:think>",
    "<mm:think>plan</mm:think>",
    "[THINK]plan[/THINK]\n",
    "◁think▷plan◁/think▷",
    "<|begin_of_thought|>plan<|end_of_thought|><|begin_of_solution|>",
    "<|START_THINKING|>plan<|END_THINKING|><|START_RESPONSE|>",
    "<unused94>thought\nplan<unused95>",
    "<|channel|>analysis<|message|>plan<|end|><|start|>assistant<|channel|>final<|message|>",
    "analysisWe plan.assistantfinal",
    "plan, opened by the template</think>\n",
    "<think>one</think>\n<think>two</think>\n",
]
AFTER = ["<|im_end|>", "<|eot_id|>", "</s>", "<|endoftext|>", "<end_of_turn>", "<|return|>"]
TURNS = [
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nAnother one",
    "<|im_end|>\n<|im_start|>user\nAnother one",
    "<end_of_turn>\n<start_of_turn>user\nAnother one",
    "[/INST] Another one",
]
OPENINGS = ["<s>", "<|im_start|>assistant\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"]


@pytest.mark.parametrize("before", BEFORE)
def test_thoughts_are_no_part_of_the_answer(before):
    said = split_reasoning(before + TEXT)
    assert (said.answer, said.is_open) == (TEXT, False)
    assert said.start > 0


@pytest.mark.parametrize("after", [*AFTER, *TURNS])
def test_an_answer_ends_where_its_turn_does(after):
    assert split_reasoning(TEXT + after).answer.rstrip() == TEXT


@pytest.mark.parametrize("opening", OPENINGS)
def test_what_opens_a_turn_is_no_part_of_the_answer(opening):
    assert split_reasoning(opening + TEXT + "<|im_end|>").answer == TEXT


@pytest.mark.parametrize(
    "opening", ["<think>", "[THINK]", "◁think▷", "<|channel|>analysis<|message|>"]
)
def test_thoughts_that_never_end_leave_no_answer(opening):
    said = split_reasoning(f"{opening}plan, and plan")
    assert (said.answer, said.is_open) == ("", True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no thoughts",
        "yes <think>no</think>",
        "analysis of the film: great",
        "struck <s>out</s> text",
        "a < b and c > d",
        "[INSTALL] failed",
        '{"text": "she wrote </think>", "label": "a"}',
    ],
)
def test_an_answer_without_them_is_left_alone(text):
    assert split_reasoning(text) == Said(text)


def test_every_marker_has_one_of_the_marks_that_are_looked_for_first():
    thoughts = [mark for pair in reasoning._THOUGHTS for mark in pair]
    assert all(
        any(mark in marker for mark in reasoning._MARKS)
        for marker in (*thoughts, *reasoning._OPENINGS, *reasoning._ENDS, reasoning._CHANNEL)
    )
