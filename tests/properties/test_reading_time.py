"""Whatever an LLM answers is read, in no time, or rejected with a reason."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsynth._util.reasoning import split_reasoning
from stepsynth.prompts.choices import parse_choice
from stepsynth.prompts.parsing import MOST_CHARACTERS, parse_list, parse_object, parse_text
from stepsynth.prompts.several import split_texts
from stepsynth.records import Answers, Example
from stepsynth.tasks.extractive_qa import ExtractiveQA
from tests.explore import many

LONGEST_S = 2.0
MILLION = 1_000_000
SENTENCE = "My parcel is late, please help."
PASSAGE = "The tower was built in 1889 by a team of engineers. " * 8
QUESTION = Example("Who built it?", Answers(("a team",), (31,)), PASSAGE)
LABELS = {"-1": "-1", "1": "one", "pos": "positive", "neg": "very negative"}
QA, NEW_ANSWER = ExtractiveQA(), ExtractiveQA(extrapolate="new_answer")
READERS = {
    "text": lambda t: parse_text(t, text_name="e-mail", labels=("positive", "not hyperbole", "1")),
    "list": parse_list,
    "cut list": lambda t: parse_list(t, truncated=True),
    "object": lambda t: parse_object(t, ("question", "answer")),
    "choice": lambda t: parse_choice(t, LABELS),
    "texts": split_texts,
    "reasoning": split_reasoning,
    "question": lambda t: NEW_ANSWER.parse_example(t, QUESTION, truncated=False),
    "answer": lambda t: QA.parse_decision(t, QUESTION, truncated=False),
    "answers": lambda t: QA.parse_answers(t, PASSAGE, truncated=False),
}
PIECES = [
    *("\n", " ", " \n", "\t", "\x0c", "\u2028", "\ufeff", "\u0316\u0301", "\ufdfa", "a", "Zß", "☃"),
    *("[", "{", '"', "(", "<", "**", "__", "```", "- ", "1. ", "① ", "\n1. ", "x:\n", "…", '\\"'),
    *('{"text": "x"}', '["a"]', '["a", ', '{"a": ', "{'a': ", '{"question": "', "Question: "),
    *("<think>", "</think>", "<text>", "</text>", "a<text>", "<text ", "<|channel|>", "<|im_end|>"),
    *("Sure, here is ", "Here is a review:", "I'm sorry, ", "as an AI ", "Label: ", "(positive) "),
    *("\nExplanation: ", "\nthis text is ", "\nI hope this helps", "not ", "non-"),
    "<text>\n</text></text>",
]


def around(piece: str, size: int, place: str) -> str:
    body = piece * (size // len(piece))
    return {
        "alone": body,
        "before": body + SENTENCE,
        "after": SENTENCE + body,
        "inside": f"{SENTENCE}{body}{SENTENCE}",
    }[place]


def read_by_all(text: str) -> None:
    for name, read in READERS.items():
        took = seconds(read, text)
        # A quadratic reader takes tens of seconds each time; a pause of the machine or of the
        # garbage collector comes once.
        tries = 0
        while took >= LONGEST_S and tries < 3:
            took, tries = min(took, seconds(read, text)), tries + 1
        assert took < LONGEST_S, f"{name}: {took:.2f} s"


def seconds(read: Callable[[str], object], text: str) -> float:
    """CPU time of this thread alone: a busy machine is no reason to fail."""
    began = time.thread_time()
    read(text)
    return time.thread_time() - began


@pytest.mark.parametrize("piece", PIECES)
def test_what_is_repeated_takes_no_time(piece):
    # The longest that is read at all, and beyond.
    for size in (MOST_CHARACTERS - 2 * len(SENTENCE), MILLION):
        for place in ("alone", "before", "after", "inside"):
            read_by_all(around(piece, size, place))


@given(
    st.one_of(
        st.text(min_size=1, max_size=8),
        st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join),
    ),
    st.sampled_from([6_000, MOST_CHARACTERS - 2 * len(SENTENCE), MILLION]),
    st.sampled_from(["alone", "before", "after", "inside"]),
)
def test_whatever_is_repeated_takes_no_time(piece, size, place):
    read_by_all(around(piece, size, place))


# What LLMs really wrap a text in, and what goes wrong with it.
OPENINGS = [
    "",
    "Sure, here it is:\n",
    "<think>hm</think>",
    "Review: ",
    "```\n",
    "1. ",
    "**",
    "{'text': '",
]
WRAPPED = [
    '{"text": "%s", "label": "positive"}',
    '[{"review": "%s"}]',
    "{'e-mail': '%s', }",
    "<text>%s</text>\n<text>%s",
    "Question: %s\nAnswer: %s",
    "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>%s",
    "1. %s\n2. %s\n3. half",
    "%s\n\nThis e-mail is positive since %s",
    "Label: positive\n%s",
    "%s<|im_end|>\n<|im_start|>user\n%s",
]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=12).map("".join),
    st.sampled_from([SENTENCE, "I cannot log in.", "Great film!", "-1", "positive", "🔥"]),
)
ANSWERS = st.tuples(
    st.sampled_from(OPENINGS), st.sampled_from(["%s", *WRAPPED]), TEXTS, st.integers(0, 200)
).map(lambda parts: (parts[0] + parts[1].replace("%s", parts[2]), parts[3]))


@many(20_000)
@given(ANSWERS, st.booleans())
def test_any_answer_is_read_or_rejected(answer, is_cut):
    text, cut = answer
    read_by_all(text[: -cut or None] if is_cut else text)


@many(5_000)
@given(TEXTS.filter(lambda text: text.strip()), st.sampled_from(WRAPPED[:3]))
def test_the_label_that_came_with_a_text_is_never_in_it(text, form):
    completion = form % json.dumps(text)[1:-1]
    found = parse_text(completion, text_name="e-mail", labels=("positive", "negative"))
    if isinstance(found, str) and "label" not in text:
        assert '"label"' not in found
