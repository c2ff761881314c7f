"""Which label an LLM chose: what `llm` predicts, and what a judge says of a row, hang on it."""

import pytest

from stepsynth.prompts.choices import parse_choice, parse_choices
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
        ("Positive. The negative words are few.", "pos"),
        ("Positive\nThe review says negative things.", "pos"),
        ("Positive - no negative word", "pos"),
        ("positive because nothing is negative", "pos"),
        ("**Positive**\n\nReasons: negative words are absent", "pos"),
        ("1. Positive: not negative at all", "pos"),
        ("Label: positive. Reason: it is not negative", "pos"),
        ("Positive words stand here, but the tone is negative.\nNegative", "neg"),
        ("Positive words are there, and negative ones.\nAnswer: negative", "neg"),
    ],
)
def test_the_label_is_read_and_the_last_line_decides(completion, label):
    assert parse_choice(completion, WORDS) == label


def test_of_labels_within_labels_the_longer_one_is_meant():
    assert parse_choice('{"label": "not spam"}', SPAM) == "0"
    assert parse_choice("This is not spam.", SPAM) == "0"
    assert parse_choice("This is spam.", SPAM) == "1"


SIGNS = {name: name for name in ("-1", "0", "1", "C", "C#", "C++", "A/B", "A-B", "A B")}


@pytest.mark.parametrize("label", SIGNS)
@pytest.mark.parametrize(
    "form", ["{}", "{}.", "**{}**", "Label: {}", '{{"label": "{}"}}', "It is {}"]
)
def test_labels_that_differ_by_a_sign_alone_are_told_apart(label, form):
    assert parse_choice(form.format(label), SIGNS) == label


def test_a_number_in_json_is_a_label_and_a_part_of_a_number_is_none():
    assert parse_choice('{"label": -1}', SIGNS) == "-1"
    assert parse_choice("0.5", SIGNS) == Rejected("no_label", "0.5")


def test_a_label_in_another_unicode_form_is_the_same():
    assert parse_choice("re\u0301seau", {"réseau": "réseau", "autre": "autre"}) == "réseau"


def test_half_a_label_is_not_another_one():
    articles = {"art": "art", "article": "article"}
    assert parse_choice("art", articles) == "art"
    assert parse_choice("art", articles, truncated=True) == Rejected("no_label", "art")
    assert parse_choice('{"label": "art"}, sin', articles, truncated=True) == "art"
    assert parse_choice("article", articles, truncated=True) == "article"


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", "no_label"),
        ("non-positive", "no_label"),
        ("neither", "no_label"),
        ("It is not positive.", "no_label"),
        ("It is not clearly positive.", "no_label"),
        ("This isn't really positive.", "no_label"),
        ("positive or negative", "no_label"),
        ("positively", "no_label"),
        ("I'm sorry, but I can't help with that request.", "refusal"),
    ],
)
def test_none_or_several_labels_are_no_choice(completion, reason):
    assert parse_choice(completion, WORDS) == Rejected(reason, completion)


STARS = {name: name for name in ("-1", "0", "1")}


@pytest.mark.parametrize("form", ["{}", "{}です。", "答えは{}です", "答案是{}。", "{}点"])
@pytest.mark.parametrize("label", ["1", "１", "-1", "－１"])
def test_digits_stand_among_words_without_spaces(form, label):
    assert parse_choice(form.format(label), STARS) == label.replace("１", "1").replace("－", "-")


@pytest.mark.parametrize("text", ["11です", "1月3日", "理由は1つです", "1.5点", "第1回"])
def test_other_numbers_are_no_label(text):
    assert parse_choice(text, STARS) == Rejected("no_label", text)


def test_an_english_label_stands_among_words_without_spaces():
    assert parse_choice("これはpositiveです", WORDS) == parse_choice("positive", WORDS)
    assert parse_choice("这是positive的", WORDS) == parse_choice("positive", WORDS)
    for denied in ("positiveではない", "不是positive", "positivelyです"):
        assert parse_choice(denied, WORDS) == Rejected("no_label", denied)


@pytest.mark.parametrize("form", ["{}", "{}.", "Label: {}", '{{"label": "{}"}}', "It is {}"])
@pytest.mark.parametrize("minus", "-−–‐‑－")
def test_a_minus_of_any_form_is_read(minus, form):
    assert parse_choice(form.format(f"{minus}1"), STARS) == "-1"


@pytest.mark.parametrize(
    "completion",
    [
        '{"positive": 0.1, "negative": 0.9}',
        '{"positive": false, "negative": true}',
        "positive: 0.1\nnegative: 0.9",
        "Positive: no\nNegative: yes",
        "**positive**: 10%\n**negative**: 90%",
    ],
)
def test_the_first_of_labels_with_a_value_each_is_no_choice(completion):
    assert parse_choice(completion, WORDS) == Rejected("no_label", completion)


@pytest.mark.parametrize(
    "completion",
    [
        '{"label": "positive"}\n\nHere is a review:\n\nDull.\n\n{"label": "negative"}',
        '{\n"label": "positive"\n}\n\nHere is a review:\n\nDull.\n\n{"label": "negative"}',
        "positive\n\nHere is a review:\n\nDull.\n\nnegative",
    ],
)
def test_an_answer_that_goes_on_with_another_label_is_no_choice(completion):
    assert parse_choice(completion, WORDS) == Rejected("no_label", completion)
    same = completion.replace("negative", "positive")
    assert parse_choice(same, WORDS) == "pos"


def test_a_label_that_is_a_part_of_speech_too_is_only_read_where_it_is_said():
    answers = {"yes": "yes", "no": "no"}
    teams = {"billing": "billing", "other": "other"}
    for said in ("No", "no, it is not", "The answer is no.", '{"label": "no"}', "I say: no"):
        assert parse_choice(said, answers) == "no", said
    for said in ("There is no way to tell.", "I have no idea", "No label fits."):
        assert parse_choice(said, answers) == Rejected("no_label", said)
    assert parse_choice("In other words, it is about billing.", teams) == "billing"
    assert parse_choice("It belongs to other.", teams) == "other"
    assert parse_choice("Anything other than billing", teams) == Rejected(
        "no_label", "Anything other than billing"
    )


FEELINGS = {name: name for name in ("joy", "anger", "fear, dread")}


@pytest.mark.parametrize(
    ("completion", "labels"),
    [
        ('{"labels": ["joy, anger"]}', ("joy", "anger")),
        ('{"labels": ["joy", "fear, dread"]}', ("joy", "fear, dread")),
        ("fear, dread", ("fear, dread",)),
        ('{"labels": ["joy"]}\n\nI hope this helps!', ("joy",)),
    ],
)
def test_labels_in_one_text_and_with_a_comma_are_read(completion, labels):
    assert parse_choices(completion, FEELINGS) == labels


def test_a_list_that_goes_on_with_another_list_is_no_choice():
    said = '{"labels": ["joy"]}\n\nHere is a text:\n\nGrr!\n\n{"labels": ["anger"]}'
    assert parse_choices(said, FEELINGS) == Rejected("no_labels", said)
