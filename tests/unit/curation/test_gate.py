"""The gate: what it takes for a copy of a held-out text, and what not."""

import pytest

from stepsynth.curation.gate import Gate
from stepsynth.records import Example

REVIEW = (
    "the harbour scenes are filmed with such care that one forgets how thin the story is and how "
    "little the captain has to say to his crew before the storm comes"
)
OTHERS = [f"a note from market {i}, day {3 * i}: so crisp, and fresh today" for i in range(40)]


def gate(*texts, context=None):
    return Gate({"test": [Example(text, "a", context) for text in texts]})


def verdicts(texts, *hidden):
    judge = gate(*hidden)
    return [judge.stop_row(Example(text, "b")) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        f"Honestly, folks: {REVIEW}",
        REVIEW[: len(REVIEW) // 2],
        f"{REVIEW} I would see it again with friends, on a Sunday, when it rains outside.",
        REVIEW.replace("such care", "such great care"),
        " ".join(f"w{i}" for i in range(400)) + REVIEW + " ".join(f"v{i}" for i in range(400)),
    ],
)
def test_a_text_with_words_around_it_half_of_it_and_one_word_more_are_near_copies(text):
    assert verdicts([text], REVIEW) == ["near_copy_of_test"]


def test_few_words_that_many_texts_have_are_no_copy():
    assert verdicts(["what a great film that was, all of it"], "a great film") == [None]
    assert verdicts(["a great film!", "such a great film"], "a great film") == [
        "copy_of_test",
        None,
    ]


def test_a_text_in_one_mould_with_others_is_none():
    hidden = "a note from market 77, day 5: so soft, and fresh today"
    assert verdicts(OTHERS, hidden) == [None] * len(OTHERS)
    prompt = "Here are notes:\n" + "\n".join(OTHERS)
    judge = gate(hidden)
    assert judge.stop_prompt(prompt) is None
    assert judge.stop_prompt(f"{prompt}\n{hidden.upper()}\n{prompt}") == "copy_of_test"
    assert judge.stop_text(prompt.replace(OTHERS[7], hidden)) == "near_copy_of_test"


def test_pieces_of_a_text_that_stand_far_apart_are_none():
    """Five rows of one mould have all 3-grams of a sixth between them."""
    words = REVIEW.split()
    pieces = [" ".join(words[i : i + 4]) for i in range(0, len(words), 2)]
    filler = " and ".join("xyz")
    judge = gate(REVIEW)
    assert judge.stop_prompt(f" {filler} ".join(pieces)) is None
    assert judge.stop_prompt(f"{filler} {REVIEW} {filler}") == "copy_of_test"


def test_a_row_with_a_held_out_text_may_not_stand_in_a_prompt():
    judge = gate(REVIEW, context="another context, of the held-out row")
    assert judge.may_show(Example("a new text about the same film", "a", "a context of its own"))
    assert not judge.may_show(Example(REVIEW, "b", "a context of its own"))
    assert not judge.may_show(Example("a new text", "b", f"It begins so: {REVIEW}"))
    assert not judge.seen
    is_open = Gate({"test": [Example(REVIEW, "a")]}, is_open=True)
    assert is_open.may_show(Example(REVIEW, "b"))
