"""Exact match and F1 of answers, as the official SQuAD scripts define them.

Rajpurkar, Zhang, Lopyrev, Liang: "SQuAD: 100,000+ Questions for Machine Comprehension of Text",
EMNLP 2016. The score of a question is the best over its reference answers; scores are averaged over
questions. If normalisation leaves nothing of an answer ("a", "!"), F1 is 1 if nothing is left of
the other one either, else 0, as in the v2.0 script; v1.1 gives 0, even to the gold answer itself.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Spans:
    """The answers that a student found for n questions, in their order.

    Attributes:
        labels: n answers, each a part of its passage.
        starts: Start of each answer in its passage, in characters.
        probabilities: The student's confidence in each answer, 0-1.
    """

    labels: list[str]
    starts: list[int]
    probabilities: list[float]

    def __len__(self) -> int:
        return len(self.labels)


def normalise_answer(text: str) -> str:
    """Return an answer in lower case, without punctuation, English articles and extra space."""
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def exact_match(predicted: str, references: Sequence[str]) -> float:
    """Return 1.0 if the prediction equals a reference after normalisation, else 0.0."""
    return float(normalise_answer(predicted) in map(normalise_answer, references))


def token_f1(predicted: str, references: Sequence[str]) -> float:
    """Return the best F1 of the prediction's words against a reference's, 0-1."""
    return max(_f1(predicted, reference) for reference in references)


def score_spans(references: Sequence[Sequence[str]], predictions: Spans) -> dict[str, Any]:
    """Return the scores of predictions.

    Args:
        references: For each of n questions, the answers that count as right.
        predictions: n predictions, in the same order.

    Returns:
        `exact_match` and `f1` in 0-1, and `n`.
    """
    pairs = list(zip(predictions.labels, references, strict=True))
    return {
        "exact_match": sum(exact_match(p, r) for p, r in pairs) / len(pairs),
        "f1": sum(token_f1(p, r) for p, r in pairs) / len(pairs),
        "n": len(pairs),
    }


def _f1(predicted: str, reference: str) -> float:
    said, right = normalise_answer(predicted).split(), normalise_answer(reference).split()
    if not said or not right:
        return float(said == right)
    shared = sum((Counter(said) & Counter(right)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(right)
    return 2 * precision * recall / (precision + recall)
