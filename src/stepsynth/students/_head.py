"""Logistic regression on features: the head of students that do not train an encoder."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepsynth.metrics import Predictions
from stepsynth.records import Dataset, Example
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks, Student

WEIGHTS_FILE = "weights.npz"


class HeadStudent(Student):
    """A student with a logistic head on features of its own.

    Attributes:
        C: Inverse strength of the L2 penalty.
    """

    C: float

    _weights: Any = None
    _intercept: Any = None

    def fit(
        self,
        dataset: Dataset,
        *,
        weights: Sequence[float] | None = None,
        callbacks: FitCallbacks = NO_CALLBACKS,
    ) -> None:
        """Learn a weight for each feature and label; rare labels weigh as much as frequent ones."""
        features = self.learn_features(dataset, callbacks)
        head = fit_head(features, dataset, self.label_names, C=self.C, rows=weights)
        self._weights, self._intercept = head

    def predict_examples(self, examples: Sequence[Example]) -> Predictions:
        """Return softmax probabilities: (n_examples, n_labels)."""
        names = self.label_names
        if not examples:
            return Predictions(names, np.zeros((0, len(names))))
        return predict_head(self.features(examples), self._weights, self._intercept, names)

    @abstractmethod
    def learn_features(self, dataset: Dataset, callbacks: FitCallbacks = NO_CALLBACKS) -> Any:
        """Learn what the features are from a data set, and return its own: (n, n_features)."""

    @abstractmethod
    def features(self, examples: Sequence[Example]) -> Any:
        """Return the features of examples: (n_examples, n_features), dense or sparse."""

    def own_arrays(self, folder: Path) -> Mapping[str, Any]:
        """Return the arrays to save beside the head's, and write what is no array."""
        return {}

    def take_arrays(self, folder: Path, arrays: Mapping[str, Any]) -> None:
        """Take back what `own_arrays` returned and wrote."""

    def save_arrays(self, folder: Path) -> None:
        """Write the weights, and what belongs to the features, as one NumPy archive."""
        own = self.own_arrays(folder)
        np.savez_compressed(
            folder / WEIGHTS_FILE, weights=self._weights, intercept=self._intercept, **own
        )

    def load_arrays(self, folder: Path) -> None:
        """Read what `save_arrays` wrote; nothing is unpickled."""
        # Opened here, since numpy leaves a file open that it cannot read.
        with (
            (folder / WEIGHTS_FILE).open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            self._weights, self._intercept = arrays["weights"], arrays["intercept"]
            self.take_arrays(folder, arrays)


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
