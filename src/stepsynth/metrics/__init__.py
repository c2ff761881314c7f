"""Scores of predictions."""

from stepsynth.metrics.scoring import Predictions, score_classification

__all__ = ["Predictions", "score_classification"]
