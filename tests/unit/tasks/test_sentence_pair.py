"""Pairs: a row has a premise, a prompt gives it verbatim, and only the hypothesis is written."""

import numpy as np
import pytest
from pydantic import ValidationError

from stepsynth.records import Context, Example, Rejected
from stepsynth.tasks.sentence_pair import SentencePair

PREMISE = "The  bakery on “Elm St.”\nopened in 1981 {{ x }}."


@pytest.fixture
def pairs():
    return SentencePair.model_validate(
        {
            "instruction": "Say whether the claim follows from the note.",
            "text_name": "claim",
            "context_name": "note",
            "labels": {"entailment": "correct", "not_entailment": "wrong"},
        }
    )


def row(**changes):
    return {"context": PREMISE, "text": "It is a shop.", "label": "entailment", **changes}


def test_a_row_becomes_an_example_with_its_premise(pairs):
    assert pairs.read_example(row()) == Example("It is a shop.", "entailment", PREMISE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": ""}, "the context must be a text that is not empty, got ''"),
        ({"context": " \n"}, "the context must be a text"),
        ({"context": None}, "the context must be a text"),
        ({"context": float("nan")}, "the context must be a text"),
        ({"text": ""}, "the text must be a text that is not empty"),
        ({"text": "\u200b \ufeff\x07"}, "the text must be a text that is not empty"),
        ({"text": 5}, "the text must be a text"),
        ({"label": None}, "the label of 'It is a shop.' is empty"),
        ({"label": float("nan")}, "the label of 'It is a shop.' is empty"),
        ({"label": "Entailment"}, "'Entailment' .* is none of the task's: .*did you mean"),
        (
            {"label": "neutral"},
            "'neutral' .* is none of the task's: 'entailment', 'not_entailment'",
        ),
    ],
)
def test_a_row_that_cannot_be_used_says_why(pairs, changes, message):
    with pytest.raises(ValueError, match=message):
        pairs.read_example(row(**changes))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["yes", "YES"], "'yes' and 'YES' cannot be told apart"),
        ({"no": "no", "No": "wrong"}, "'no' and 'No' cannot be told apart"),
        ({"0": "bad", "1": "bad"}, "'0' and '1' cannot be told apart.* called 'bad'"),
        ({"0": "1", "1": "one"}, "'0' and '1' cannot be told apart"),
        (["not  spam", "not spam"], "cannot be told apart"),
        (["entailment"], "two or more different labels"),
        (["a", "a"], "two or more different labels"),
        ({"a": "x", "": "y"}, "must not be empty"),
        ([["a"], ["b"]], "a label must be a text"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(labels, message):
    with pytest.raises(ValidationError, match=message):
        SentencePair.model_validate({"labels": labels})


@pytest.mark.parametrize("label", [None, "", " ", float("nan"), ...])
def test_a_context_without_a_label_may_have_any(pairs, label):
    given = {"context": PREMISE} if label is ... else {"context": PREMISE, "label": label}
    assert pairs.read_context(given) == Context(PREMISE)


def test_a_context_keeps_the_label_that_it_comes_with(pairs):
    given = {"context": PREMISE, "label": "not_entailment"}
    assert pairs.read_context(given) == Context(PREMISE, "not_entailment")
    with pytest.raises(ValueError, match=r"'maybe' .* is none of the task's"):
        pairs.read_context({**given, "label": "maybe"})
    with pytest.raises(ValueError, match="the context must be a text"):
        pairs.read_context({"context": " "})


def test_a_gold_row_gives_its_premise_alone_as_a_context(pairs):
    assert pairs.context_of(pairs.read_example(row())) == Context(PREMISE)


@pytest.mark.parametrize(
    ("label", "word"), [("entailment", "correct"), ("not_entailment", "wrong")]
)
def test_prompts_hold_the_premise_verbatim_and_the_word_of_the_label(pairs, label, word):
    example = Example("It is a shop.", label, PREMISE)
    seed = pairs.seed_prompt(Example("", label, PREMISE))
    again = pairs.extrapolation_prompt(example)
    for prompt in (seed, again):
        assert PREMISE in prompt
        assert f"that is {word}" in prompt
        assert "not_entailment" not in prompt
        assert "claim" in prompt
        assert "note" in prompt
        assert "hypothesis" not in prompt
        assert "premise" not in prompt
    assert "It is a shop." in again
    assert "It is a shop." not in seed


def test_the_prompt_for_a_context_asks_for_the_context_by_its_name(pairs):
    assert "Write one note" in pairs.context_prompt()
    assert pairs.parse_context('Note: "It rained."', truncated=False) == "It rained."
    assert pairs.parse_context("It rai", truncated=True) == Rejected("truncated", "It rai")


def test_pairs_have_no_rationales(pairs):
    assert "rationale" not in pairs.prompt_fields()
    with pytest.raises(NotImplementedError, match="no rationales"):
        pairs.rationale_prompt("entailment", 3)


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("It is a shop.", "It is a shop."),
        ('Claim: "It is a shop."', "It is a shop."),
        ("It is a shop. (correct)", "It is a shop."),
        ("It is a shop.\nLabel: entailment", "It is a shop."),
        ('{"claim": "half \\ud83d a sign"}', "half \ufffd a sign"),
    ],
)
def test_only_the_text_of_a_row_is_new(pairs, completion, text):
    like = Example("old", "entailment", PREMISE)
    assert pairs.parse_example(completion, like, truncated=False) == Example(
        text, "entailment", PREMISE
    )


def test_pairs_are_scored_by_label(pairs):
    from stepsynth.metrics import Predictions

    examples = [pairs.read_example(row(label=label)) for label in pairs.label_names]
    said = Predictions(pairs.label_names, np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert pairs.score(examples, said)["accuracy"] == 0.5
    assert pairs.is_correct(examples[0], "entailment")
    assert not pairs.is_correct(examples[1], "entailment")
