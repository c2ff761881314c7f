"""Which label an LLM chose: what `llm` predicts, and what a judge says of a row, hang on it."""

import pytest

from stepsynth.prompts.choices import parse_choice
from stepsynth.records import Rejected

WORDS = {"pos": "positive", "neg": "negative"}
SPAM = {"1": "spam", "0": "not spam"}


@pytest.mark.parametrize(
    ("completion", "label"),
    [
        ('{"label": "positive"}', "pos"),
        ('```json\n{\n  "label": "Negative"\n}\n```', "neg"),
        ("Negative.", "neg"),
        ("**pos**", "pos"),
        ('Not negative at all, it praises.\n{"label": "positive"}', "pos"),
        ('Somebody says {"label": "negative"}, which is wrong.\n{"label": "positive"}', "pos"),
        ("Both positive and negative words are here.\nSo: negative", "neg"),
        ("It is not positive but negative.", "neg"),
        ('{"label": "positive"}\n\nI hope this helps!', "pos"),
        ('<think>{"label": "negative"}</think>{"label": "positive"}', "pos"),
    ],
)
def test_the_label_is_read_and_the_last_line_decides(completion, label):
    assert parse_choice(completion, WORDS) == label


def test_of_labels_within_labels_the_longer_one_is_meant():
    assert parse_choice('{"label": "not spam"}', SPAM) == "0"
    assert parse_choice("This is not spam.", SPAM) == "0"
    assert parse_choice("This is spam.", SPAM) == "1"


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", "no_label"),
        ("neither", "no_label"),
        ("It is not positive.", "no_label"),
        ("positive or negative", "no_label"),
        ("positively", "no_label"),
        ("I'm sorry, but I can't help with that request.", "refusal"),
    ],
)
def test_none_or_several_labels_are_no_choice(completion, reason):
    assert parse_choice(completion, WORDS) == Rejected(reason, completion)
