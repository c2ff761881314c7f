"""Logistic regression on features: the head of students that do not train an encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stepsynth.metrics import Predictions
from stepsynth.records import Dataset


def fit_head(
    features: Any,
    dataset: Dataset,
    label_names: Sequence[str],
    *,
    C: float,
    rows: Sequence[float] | None,
) -> tuple[Any, Any]:
    """Return weights (n_labels, n_features) and intercepts (n_labels,).

    Args:
        features: (n_rows, n_features), dense or sparse.
        dataset: n rows; rare labels weigh as much as frequent ones.
        label_names: The order of the labels.
        C: Inverse strength of the L2 penalty.
        rows: Weight of each row relative to the others; None: all equal.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, class_weight="balanced", max_iter=1000)
    column = {label: i for i, label in enumerate(label_names)}
    each = None if rows is None else np.asarray(rows) / np.mean(rows)
    model.fit(features, [column[label] for label in dataset.labels], sample_weight=each)
    # scikit-learn has one row for two labels; as two rows they need no case of their own.
    is_binary = len(label_names) == 2
    signs = np.array([[-0.5], [0.5]]) if is_binary else np.array([[1.0]])
    weights = (signs * model.coef_).astype(np.float32)
    return weights, (signs[:, 0] * model.intercept_).astype(np.float32)


def pair_features(u: Any, v: Any) -> Any:
    """Return the features (u, v, |u-v|, u*v) of pairs of vectors: (n_rows, 4 n_dimensions).

    Source:
        Conneau et al.: "Supervised Learning of Universal Sentence Representations from NLI Data"
        (InferSent), EMNLP 2017.
    """
    return np.hstack([u, v, np.abs(u - v), u * v])


def predict_head(
    features: Any, weights: Any, intercept: Any, label_names: tuple[str, ...]
) -> Predictions:
    """Return softmax probabilities: (n_rows, n_labels)."""
    return softmax(np.asarray(features @ weights.T, dtype=np.float64) + intercept, label_names)


def softmax(scores: Any, label_names: tuple[str, ...]) -> Predictions:
    """Return predictions from scores (n_rows, n_labels)."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return Predictions(label_names, odds / odds.sum(axis=1, keepdims=True))
