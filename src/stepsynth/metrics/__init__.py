"""Scores of predictions against gold; they know nothing of tasks or students."""

from stepsynth.metrics.scoring import Predictions, score_classification
from stepsynth.metrics.spans import Spans, score_spans

AnyPredictions = Predictions | Spans
"""What a student says of rows: class probabilities, or answers."""

SCORE_NAMES = {
    "accuracy": ("accuracy", "acc."),
    "macro_f1": ("macro-F1", "F1"),
    "exact_match": ("exact match", "EM"),
    "f1": ("F1", "F1"),
}
"""The scores that tables have room for -> their names, long and short; a run has some of them."""

__all__ = [
    "SCORE_NAMES",
    "AnyPredictions",
    "Predictions",
    "Spans",
    "score_classification",
    "score_spans",
]
