"""Whatever an LLM writes, a parser answers."""

from hypothesis import given
from hypothesis import strategies as st

from stepsynth.prompts.parsing import parse_list, parse_text
from stepsynth.records import Rejected

MARKS = (
    "Sure, here is |a review|:\n|\"|'|“|”|```|\n|(Positive)|- |1. |[|]|{|}|**|I cannot write|。|「"
)
PIECES = st.sampled_from([*MARKS.split("|"), '["a", "b"]', "<think>", "</think>"])
OUTPUT = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=8))).map("".join))


@given(OUTPUT, st.booleans())
def test_a_text_is_a_text_or_a_rejection_with_its_source(completion, truncated):
    found = parse_text(
        completion, text_name="review", labels=["positive", "好"], truncated=truncated
    )
    if isinstance(found, Rejected):
        assert found.reason in {"empty", "refusal", "truncated"}
        assert found.completion == completion
    else:
        assert found.strip() == found != ""
        assert found in completion


@given(OUTPUT, st.booleans())
def test_a_list_is_not_empty_and_has_no_empty_item(completion, truncated):
    found = parse_list(completion, truncated=truncated)
    if not isinstance(found, Rejected):
        assert found
        assert all(item.strip() for item in found)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1))
def test_a_plain_word_is_never_changed(word):
    assert parse_text(word, text_name="review", labels=["positive"]) in (
        word,
        Rejected("refusal", word),
    )
