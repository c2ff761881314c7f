"""Scores of predictions against gold; they know nothing of tasks or students."""

from stepsynth.metrics.scoring import Predictions, score_classification
from stepsynth.metrics.spans import Spans, score_spans

AnyPredictions = Predictions | Spans
"""What a student says of rows: class probabilities, or answers."""

__all__ = ["AnyPredictions", "Predictions", "Spans", "score_classification", "score_spans"]
