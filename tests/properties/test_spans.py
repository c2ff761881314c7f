"""Exact match and F1 equal two other implementations, on invented and on real answers.

torchmetrics sums in float32 and gives percentages, so it is compared within 1e-4 of a per cent for
few questions and 1e-2 for thousands of them; `fractions` are exact, so within 1e-12.
"""

import gzip
import json
import re
import string
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsynth.metrics.spans import Spans, exact_match, score_spans, token_f1

PIECES = [
    "a",
    "an",
    "the",
    "The",
    "A.",
    "cat",
    "Cat's",
    "cats",
    "1,5",
    "1.5",
    "U.S.",
    "-",
    "—",
    "!",
]
ODD = ["é", "e\u0301", "İ", "ﬁ", "ß", "ẞ", "“x”", "\u00a0", "\t", "\n", "巴黎", "😀", "_", "  "]
ANSWER = st.one_of(
    st.lists(st.sampled_from([*PIECES, *ODD]), max_size=6).map(" ".join),
    st.lists(st.sampled_from([*PIECES, *ODD]), max_size=4).map("".join),
    st.text(max_size=12),
)
REFERENCES = st.lists(ANSWER, min_size=1, max_size=4)


def words(text: str) -> list[str]:
    """Return the words that are compared, by other means: character by character, word by word."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    pieces = re.split(r"(\w+)", kept)  # an article is a whole run of letters, "a" in "a—b" too
    return "".join(" " if p in ("a", "an", "the") else p for p in pieces).split()


def fraction_f1(predicted: str, reference: str) -> Fraction:
    """Return F1 as 2 x shared / all words, the shared ones counted off two sorted lists."""
    left, right = sorted(words(predicted)), sorted(words(reference))
    i = j = shared = 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            i, j, shared = i + 1, j + 1, shared + 1
        elif left[i] < right[j]:
            i += 1
        else:
            j += 1
    return Fraction(2 * shared, len(left) + len(right)) if left or right else Fraction(1)


@given(ANSWER, REFERENCES)
def test_scores_equal_exact_fractions(predicted, references):
    f1 = max(fraction_f1(predicted, reference) for reference in references)
    assert abs(Fraction(token_f1(predicted, references)) - f1) < Fraction(1, 10**12)
    assert exact_match(predicted, references) == (words(predicted) in map(words, references))


@pytest.fixture(scope="module")
def squad():
    return pytest.importorskip("torchmetrics.functional.text.squad").squad


def by_torchmetrics(squad, predicted: list[str], references: list[list[str]]) -> dict[str, float]:
    """Return exact match and F1 in per cent."""
    said = [{"id": str(i), "prediction_text": text} for i, text in enumerate(predicted)]
    right = [
        {"id": str(i), "answers": {"text": texts, "answer_start": [0] * len(texts)}}
        for i, texts in enumerate(references)
    ]
    return {name: float(value) for name, value in squad(said, right).items()}


def by_stepsynth(predicted: list[str], references: list[list[str]]) -> dict[str, float]:
    spans = Spans(predicted, [0] * len(predicted), [1.0] * len(predicted))
    scores = score_spans(references, spans)
    return {name: 100 * scores[name] for name in ("exact_match", "f1")}


@given(st.lists(st.tuples(ANSWER, REFERENCES), min_size=1, max_size=5))
def test_scores_equal_those_of_torchmetrics(squad, questions):
    predicted, references = map(list, zip(*questions, strict=True))
    theirs = by_torchmetrics(squad, predicted, references)
    assert by_stepsynth(predicted, references) == pytest.approx(theirs, abs=1e-4)


@pytest.fixture(scope="module")
def questions(replays):
    with gzip.open(replays / "squad" / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_real_gold_answers_score_100(questions):
    references = [row["answers"]["text"] for row in questions]
    assert len(references) == 2000
    for which in (0, -1):
        scores = by_stepsynth([texts[which] for texts in references], references)
        assert scores == {"exact_match": 100.0, "f1": 100.0}


@pytest.mark.parametrize("shift", [1, 5, 12, -7])
def test_real_answers_that_are_shifted_score_as_torchmetrics_says(squad, questions, shift):
    references = [row["answers"]["text"] for row in questions]
    predicted = []
    for row in questions:
        start = max(0, row["answers"]["answer_start"][0] + shift)
        end = start + len(row["answers"]["text"][0])
        predicted.append(row["context"][start:end])
    ours = by_stepsynth(predicted, references)
    assert 0 < ours["exact_match"] < ours["f1"] < 90
    assert ours == pytest.approx(by_torchmetrics(squad, predicted, references), abs=1e-2)
    exact = sum(
        max(fraction_f1(p, r) for r in texts)
        for p, texts in zip(predicted, references, strict=True)
    )
    assert ours["f1"] == pytest.approx(float(100 * exact / len(references)), abs=1e-9)
