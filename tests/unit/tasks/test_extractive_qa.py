"""Questions: the answer is a part of the passage: asked for, kept, or written anew and found."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from stepsynth.metrics import Spans
from stepsynth.records import Answers, Context, Example, Rejected
from stepsynth.tasks.extractive_qa import ExtractiveQA

PASSAGE = "Ada Lovelace met Charles  Babbage in 1833, in London. In 1843 she wrote of his engine."
LONDON = Answers(("London",), (46,))


@pytest.fixture
def qa():
    return ExtractiveQA()


@pytest.fixture
def new_answer():
    return ExtractiveQA(extrapolate="new_answer")


def row(**changes):
    answers = {"text": ["London", "in London"], "answer_start": [46, 43]}
    return {"context": PASSAGE, "text": "Where did they meet?", "answers": answers, **changes}


def missed(text="Where did they meet?"):
    return Example(text, LONDON, PASSAGE)


def test_a_row_becomes_an_example_with_all_its_answers(qa):
    found = qa.read_example(row())
    label = Answers(("London", "in London"), (46, 43))
    assert found == Example("Where did they meet?", label, PASSAGE)
    assert qa.context_of(found) == Context(PASSAGE, LONDON)
    assert qa.label_names == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": ""}, "the context must be a text that is not empty"),
        ({"text": None}, "the text must be a text"),
        ({"answers": {"text": [], "answer_start": []}}, "'Where did they meet.' has no answer"),
        ({"answers": ""}, "has no answer"),
        ({"answers": "Paris"}, "the answer 'Paris' is not in its passage"),
        ({"answers": None}, "answers must be"),
        ({"answers": {"text": ["London"], "answer_start": []}}, "as many starts as texts"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(qa, changes, message):
    with pytest.raises(ValueError, match=message):
        qa.read_example(row(**changes))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"answer": None},
        {"answer": ""},
        {"answer": float("nan"), "answers": float("nan")},
        {"answers": {"text": [], "answer_start": []}},
        {"answers": np.array([])},
        {"answers": []},
    ],
)
def test_a_passage_may_come_without_an_answer(qa, given):
    assert qa.read_context({"context": PASSAGE, **given}) == Context(PASSAGE)


@pytest.mark.parametrize(
    "given",
    [
        {"answer": "London"},
        {"answer": "London", "answers": None},
        {"answers": [], "answer": "London"},
        {"answers": {"text": ["London"], "answer_start": [46]}},
        {"answers": np.array(["London"])},
        {"answers": "london"},
    ],
)
def test_a_passage_keeps_the_answer_that_it_comes_with(qa, given):
    assert qa.read_context({"context": PASSAGE, **given}) == Context(PASSAGE, LONDON)


def test_several_answers_in_an_array_are_read(qa):
    found = qa.read_context({"context": PASSAGE, "answers": np.array(["London", "1833"])})
    assert found.label == Answers(("London", "1833"), (46, 37))


def test_a_context_whose_answer_is_not_in_it_is_refused(qa):
    with pytest.raises(ValueError, match="'Paris' is not in its passage"):
        qa.read_context({"context": PASSAGE, "answer": "Paris"})


def test_prompts_hold_the_passage_verbatim_and_the_answer(qa, new_answer):
    seed = qa.seed_prompt(Example("", LONDON, PASSAGE))
    same, other = qa.extrapolation_prompt(missed()), new_answer.extrapolation_prompt(missed())
    assert all(PASSAGE in p and '"London"' in p for p in (seed, same, other))
    assert all("Where did they meet?" in p for p in (same, other))
    assert "same answer" in same
    assert "another answer" in other
    assert '{"question": "...", "answer": "..."}' in other
    assert "JSON" not in seed + same
    assert "List 4 different" in qa.answers_prompt(PASSAGE, 4)


@pytest.mark.parametrize(
    "completion",
    [
        "In which city did they meet?",
        'Question: "In which city did they meet?"',
        "Question: In which city did they meet?\nAnswer: London",
        '{"question": "In which city did they meet?", "answer": "1833"}',
        '```json\n{"question": "In which city did they meet?"}\n```',
    ],
)
def test_a_question_with_the_same_answer_keeps_it_whatever_the_output_says(qa, completion):
    found = qa.parse_example(completion, missed(), truncated=False)
    assert found == missed("In which city did they meet?")


def test_seed_questions_have_the_answer_that_was_asked_for_in_both_modes(qa, new_answer):
    like = Example("", LONDON, PASSAGE)
    for task in (qa, new_answer):
        found = task.parse_example("In which city?", like, truncated=False)
        assert found == Example("In which city?", LONDON, PASSAGE)


@pytest.mark.parametrize(
    ("answer", "label", "is_repaired"),
    [
        ("1843", Answers(("1843",), (57,)), False),
        ("Ada Lovelace", Answers(("Ada Lovelace",), (0,)), False),
        ("charles babbage", Answers(("Charles  Babbage",), (17,)), True),
        ("Ada Lovelase", Answers(("Ada Lovelace",), (0,)), True),
    ],
)
def test_a_new_answer_is_looked_up_in_the_passage(new_answer, answer, label, is_repaired):
    completion = json.dumps({"question": "Which one?", "answer": answer})
    found = new_answer.parse_example(completion, missed(), truncated=False)
    assert found == Example("Which one?", label, PASSAGE)
    assert found.label.is_repaired == is_repaired


@pytest.mark.parametrize(
    ("completion", "truncated", "reason"),
    [
        ('{"question": "When?", "answer": "1834"}', False, "answer_not_in_passage"),
        ('{"question": "When?", "answer": "in 1834"}', False, "answer_not_in_passage"),
        ('{"question": "When?", "answer": "8"}', False, "answer_not_in_passage"),
        ("When did they meet?", False, "no_object"),
        ("Question: When?\nAnswer: 18", True, "truncated"),
    ],
)
def test_a_new_answer_that_cannot_be_used_is_rejected(new_answer, completion, truncated, reason):
    found = new_answer.parse_example(completion, missed(), truncated=truncated)
    assert found == Rejected(reason, completion)


def test_proposed_answers_are_looked_up_one_by_one(qa):
    found = qa.parse_answers("1. London\n2. Paris\n3. ada lovelace", PASSAGE, truncated=False)
    assert found == [LONDON, None, Answers(("Ada Lovelace",), (0,))]
    completion = "1. Paris\n2. Rome"
    found = qa.parse_answers(completion, PASSAGE, truncated=False)
    assert found == Rejected("answer_not_in_passage", completion)
    assert qa.parse_answers("", PASSAGE, truncated=False) == Rejected("empty", "")


@pytest.mark.parametrize(
    ("predicted", "exact", "half", "all_words"),
    [
        ("the London!", True, True, True),
        ("In London", True, True, True),
        ("London in 1833", False, True, False),
        ("in 1843", False, True, False),
        ("1833", False, False, False),
        ("", False, False, False),
    ],
)
def test_what_is_missed_is_decided_by_exact_match_or_by_f1(predicted, exact, half, all_words):
    example = ExtractiveQA().read_example(row())
    for value, right in ((None, exact), (0.5, half), (1.0, all_words)):
        assert ExtractiveQA(error_below_f1=value).is_correct(example, predicted) == right


@pytest.mark.parametrize("value", [0, -0.1, 1.1])
def test_f1_is_between_nothing_and_one(value):
    with pytest.raises(ValidationError, match="error_below_f1"):
        ExtractiveQA(error_below_f1=value)


def test_questions_are_scored_by_exact_match_and_f1(qa):
    examples = [qa.read_example(row())] * 2
    spans = Spans(["in London", "London in 1833"], [43, 46], [1.0, 1.0])
    assert qa.score(examples, spans) == {"exact_match": 0.5, "f1": pytest.approx(0.9), "n": 2}


def test_questions_have_no_rationales(qa):
    with pytest.raises(NotImplementedError, match="no rationales"):
        qa.rationale_prompt("London", 3)


@pytest.mark.parametrize(
    "completion",
    [
        "In which city did they meet?\nAnswer: London",
        "In which city did they meet?\n\n**Answer:** London.",
        "In which city did they meet? Answer: in London",
        "Q: In which city did they meet?\nA: London",
        "In which city did they meet?\n\nLondon",
        "In which city did they meet? (London)",
        "In which city did they meet?\nA: Paris\nB: London",
        '{"question": "In which city did they meet? London"}',
        "In which city did they meet?\n\nNote: the answer is London.",
        '"In which city did they meet?"\n\nThis question asks for a place.',
        "**In which city did they meet?**\n*(Answer: London)*",
        f"Question: In which city did they meet?\nPassage: {PASSAGE}",
        "In which city did they meet?\nWhere was Ada in 1833?",
    ],
)
def test_what_stands_after_a_question_is_no_part_of_it(qa, completion):
    found = qa.parse_example(completion, like=missed(), truncated=False)
    assert found.text == "In which city did they meet?"


def test_a_question_with_a_new_answer_does_not_give_it_away(new_answer):
    said = {"question": "When did she write?\n(Answer: 1843)", "answer": "1843"}
    found = new_answer.parse_example(json.dumps(said), missed(), truncated=False)
    assert (found.text, str(found.label)) == ("When did she write?", "1843")
    said = json.dumps({"question": "1843", "answer": "1843"})
    found = new_answer.parse_example(said, missed(), truncated=False)
    assert found == Rejected("bare_label", said)


def test_an_answer_or_a_passage_in_place_of_a_question_is_rejected(qa):
    for said, reason in (
        ("London.", "bare_label"),
        ("Answer: London", "bare_label"),
        ('{"question": "London"}', "bare_label"),
        (PASSAGE, "echo"),
        (missed().text, "echo"),
    ):
        assert qa.parse_example(said, missed(), truncated=False) == Rejected(reason, said)
    for kept in ("Was it London or Paris?", "What did A. Lovelace say? Why?"):
        assert qa.parse_example(kept, missed(), truncated=False).text == kept


def test_a_proposed_answer_is_found_without_the_heading_that_the_prompt_suggests(qa):
    listed = "1. Place: London\n2. **Date**: 1833"
    assert qa.parse_answers(listed, PASSAGE, truncated=False) == [
        Answers(("London",), (46,)),
        Answers(("1833",), (PASSAGE.index("1833"),)),
    ]


def test_an_answer_after_reasoning_is_read(qa):
    said = "<think>Paris, or London?</think>\nLondon"
    assert qa.parse_decision(said, missed(), truncated=False) == Answers(("London",), (46,))


@pytest.mark.parametrize(
    "said",
    [
        "**1833**",
        "`1833`",
        "The answer is 1833.",
        "**The answer is 1833.**",
        "The answer to this question is: **1833**",
        "1833\n\nExplanation: it is the year in which they met.",
        '"1833"\n(from the first sentence)',
    ],
)
def test_an_answer_is_read_whatever_stands_around_it(qa, said):
    assert qa.parse_decision(said, missed(), truncated=False) == Answers(("1833",), (37,))


@pytest.mark.parametrize(
    "said", ["The passage does not say.", "", "**", "The answer is", "1833 or 1843\nor none"]
)
def test_what_names_no_part_of_the_passage_is_no_answer(qa, said):
    lost = Rejected("answer_not_in_passage", said)
    assert qa.parse_decision(said, missed(), truncated=False) == lost


def test_an_answer_that_was_cut_off_is_none(qa):
    for said in ("Ada Lovelace met", '{"answer": "Ada'):
        cut = qa.parse_decision(said, missed(), truncated=True)
        assert cut == Rejected("truncated", said)
    whole = qa.parse_decision('{"answer": "London"} I chose', missed(), truncated=True)
    assert whole == LONDON
