"""Whatever an LLM writes, a parser answers."""

import json

from hypothesis import given
from hypothesis import strategies as st

from stepsynth._util.text import clean, clean_answer
from stepsynth.prompts.parsing import parse_list, parse_object, parse_text
from stepsynth.records import Rejected

MARKS = (
    "Sure, here is |a review|:\n|\"|'|“|”|```|\n|(Positive)|- |1. |[|]|{|}|**|I cannot write|。|「"
)
OBJECTS = ['{"question": "a", "answer": ', '"b"}', "1.5}", "Question: ", "answer：", "\\ud83d"]
PIECES = st.sampled_from([*MARKS.split("|"), '["a", "b"]', "<think>", "</think>", *OBJECTS])
TALK = {"meta", "bare_label", "echo", "options", "repetition", "broken_off"}
OUTPUT = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=8))).map("".join))


@given(OUTPUT, st.booleans())
def test_a_text_is_a_text_or_a_rejection_with_its_source(completion, truncated):
    found = parse_text(
        completion, text_name="review", labels=["positive", "好"], truncated=truncated
    )
    if isinstance(found, Rejected):
        assert found.reason in {*TALK, "empty", "refusal", "truncated", "no_text"}
        assert found.completion == completion
    else:
        assert found.strip() == found != ""
        assert "{" in completion or "[" in completion or found in clean_answer(completion)


@given(OUTPUT, st.booleans())
def test_a_list_is_not_empty_and_has_no_empty_item(completion, truncated):
    found = parse_list(completion, truncated=truncated)
    if not isinstance(found, Rejected):
        assert found
        assert all(item.strip() for item in found)


@given(OUTPUT, st.booleans())
def test_an_object_has_all_its_keys_or_is_a_rejection_with_its_source(completion, truncated):
    found = parse_object(completion, ("question", "answer"), truncated=truncated)
    if isinstance(found, Rejected):
        assert found.reason == "refusal" or found.reason == (
            "truncated" if truncated else "no_object"
        )
        assert found.completion == completion
    else:
        assert list(found) == ["question", "answer"]
        assert all(text.strip() == text != "" for text in found.values())


@given(st.dictionaries(st.sampled_from(["question", "answer"]), st.text(), min_size=2))
def test_an_object_of_texts_is_read_back_but_for_its_quotes(fields):
    found = parse_object(json.dumps(fields), ("question", "answer"))
    if not isinstance(found, Rejected):
        assert all(found[key] in clean_answer(fields[key]) for key in fields)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1))
def test_a_plain_word_is_never_changed(word):
    found = parse_text(word, text_name="review", labels=["positive"])
    assert found in (clean(word), Rejected("refusal", word), Rejected("bare_label", word))
    assert len(word) < 10 or found != Rejected("bare_label", word)  # "incorrect", "positive"
