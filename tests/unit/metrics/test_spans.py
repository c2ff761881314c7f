"""Exact match and F1 as SQuAD's own script counts them."""

import pytest

from stepsynth.metrics.spans import Spans, exact_match, normalise_answer, score_spans, token_f1


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("The  Eiffel Tower!", "eiffel tower"),
        ("a an the", ""),
        ("another theme", "another theme"),
        ("the-theatre", "thetheatre"),
        ("U.S.", "us"),
        ("$1,500.50", "150050"),
        ("“Ödön’s”\u00a0café", "“ödön’s” café"),  # other marks than ASCII's stay
        ("A\tb\nc", "b c"),
        ("Straße İ", "straße i\u0307"),
        ("", ""),
    ],
)
def test_an_answer_is_compared_without_case_articles_and_marks(text, bare):
    assert normalise_answer(text) == bare


@pytest.mark.parametrize(
    ("predicted", "references", "exact", "f1"),
    [
        ("the cat", ["Cat."], 1.0, 1.0),
        ("black cat", ["cat"], 0.0, 2 / 3),
        ("cat", ["a big black cat"], 0.0, 1 / 2),
        ("cat cat", ["cat"], 0.0, 2 / 3),
        ("cat cat dog", ["cat dog dog"], 0.0, 2 / 3),
        ("dog", ["cat"], 0.0, 0.0),
        ("dog", ["cat", "dog"], 1.0, 1.0),
        ("big dog", ["big cat cat", "dog"], 0.0, 2 / 3),
        ("", ["cat"], 0.0, 0.0),
        ("cat", ["the"], 0.0, 0.0),
    ],
)
def test_the_best_reference_counts(predicted, references, exact, f1):
    assert exact_match(predicted, references) == exact
    assert token_f1(predicted, references) == pytest.approx(f1, abs=1e-15)
    assert token_f1(predicted, references[::-1]) == token_f1(predicted, references)


@pytest.mark.parametrize("predicted", ["the", "!!", ""])
def test_answers_of_which_nothing_is_left_are_equal(predicted):
    # As in the v2.0 script; v1.1 gives an F1 of 0, even to the gold answer "a".
    assert exact_match(predicted, ["A"]) == token_f1(predicted, ["A"]) == 1.0
    assert exact_match(predicted, ["A cat"]) == token_f1(predicted, ["A cat"]) == 0.0


def test_scores_are_means_over_questions():
    said = Spans(["cat", "black cat", "x"], [0, 0, 0], [1.0, 1.0, 1.0])
    scores = score_spans([["the cat"], ["cat"], ["y"]], said)
    assert scores == {"exact_match": 1 / 3, "f1": pytest.approx(5 / 9), "n": 3}


def test_every_prediction_needs_its_references():
    with pytest.raises(ValueError, match="zip"):
        score_spans([["a"]], Spans(["a", "b"], [0, 0], [1.0, 1.0]))
