"""Whatever a passage and an answer hold, what is found stands where it is said to stand."""

from hypothesis import assume, given
from hypothesis import strategies as st

from stepsynth.tasks._answers import find_answer, read_answers

MARKS = ["İ", "ﬁ", "ß", "😀", "e\u0301", "“", "’", "—", "\u00a0", "  ", "\n", "ſ", "K", "ǰ", "."]
WORDS = ["1981", "1982", "1,5", "Rome", "rome", "the art of war", "party", "II", "巴黎", " "]
TEXT = st.lists(st.one_of(st.sampled_from([*MARKS, *WORDS]), st.text(max_size=6)), max_size=20).map(
    "".join
)


@st.composite
def a_part(draw):
    """Return a passage and an answer that was taken from it and changed a little."""
    passage = draw(TEXT.filter(bool))
    start = draw(st.integers(0, len(passage) - 1))
    answer = passage[start : draw(st.integers(start + 1, len(passage)))]
    change = draw(st.sampled_from([str, str.upper, str.lower, str.title, str.strip]))
    at = draw(st.integers(0, len(answer)))
    return passage, change(
        answer[:at] + draw(st.sampled_from(["", "", " ", "x", "’"])) + answer[at:]
    )


@given(st.one_of(a_part(), st.tuples(TEXT, TEXT)))
def test_an_answer_that_is_found_stands_at_its_offset(case):
    passage, answer = case
    found = find_answer(passage, answer)
    if found is not None:
        (text,), (start,) = found.texts, found.starts
        assert passage[start : start + len(text)] == text != ""
        assert found.is_repaired or text == answer.strip()


@given(TEXT, st.sampled_from(["in the spring of", "about", "No."]), st.integers(0, 9999))
def test_a_number_that_the_passage_does_not_have_is_never_found(passage, before, number):
    assume(str(number) not in passage)
    assert find_answer(passage, f"{before} {number}") is None


@given(st.lists(st.sampled_from(["Rome", "Athens", " "]), min_size=1), st.integers(-5, 60))
def test_a_wrong_offset_becomes_the_nearest_place(words, start):
    passage = " ".join(words)
    assume("Rome" in passage)
    found = read_answers({"text": ["Rome"], "answer_start": [start]}, passage)
    (place,) = found.starts
    places = [i for i in range(len(passage)) if passage.startswith("Rome", i)]
    assert place in places
    assert all(abs(place - start) <= abs(other - start) for other in places)
    assert found.is_repaired == (start not in places)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "answer_start", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON, TEXT)
def test_whatever_a_row_says_is_read_or_a_value_error(value, passage):
    try:
        found = read_answers(value, passage)
    except ValueError:
        return
    if found is not None:
        assert len(found.texts) == len(found.starts) > 0
        for text, start in zip(found.texts, found.starts, strict=True):
            assert passage[start : start + len(text)] == text
