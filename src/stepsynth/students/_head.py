"""Logistic regression on features: the head of students that do not train an encoder."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stepsynth.metrics import Floats, MultiLabelPredictions, Predictions, membership, softmax
from stepsynth.records import Dataset, Example
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks, Student

WEIGHTS_FILE = "weights.npz"


class HeadStudent(Student):
    """A student with a logistic head on features of its own.

    Attributes:
        C: Inverse strength of the L2 penalty.
    """

    kinds: ClassVar[tuple[str, ...]] = (*Student.kinds, "multi_label")

    has_fixed_features: ClassVar[bool] = True
    """Whether labels change nothing of its features."""

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
        self.expect(dataset)
        features = self.learn_features(dataset, callbacks)
        learn = fit_head if self._thresholds is None else fit_heads
        head = learn(features, dataset, self.label_names, C=self.C, rows=weights)
        self._weights, self._intercept = head
        self.choose_thresholds(callbacks.select)

    def predict_examples(self, examples: Sequence[Example]) -> Predictions | MultiLabelPredictions:
        """Return probabilities (n_examples, n_labels): softmax, or sigmoid for sets of labels."""
        names = self.label_names
        scores = np.zeros((0, len(names)))
        if examples:
            scores = score_head(self.features(examples), self._weights, self._intercept)
        return to_predictions(scores, names, self._thresholds)

    def add_offsets(self, offsets: Floats) -> None:
        """Add to the log-probability of each label: (n_labels,)."""
        self._intercept = (self._intercept + offsets).astype(np.float32)

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
        self.save_thresholds(folder)

    def load_arrays(self, folder: Path) -> None:
        """Read what `save_arrays` wrote; nothing is unpickled."""
        # Opened here, since numpy leaves a file open that it cannot read.
        with (
            (folder / WEIGHTS_FILE).open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            self._weights, self._intercept = arrays["weights"], arrays["intercept"]
            self.take_arrays(folder, arrays)
        self.load_thresholds(folder)


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
    column = {label: i for i, label in enumerate(label_names)}
    model = _fit_regression(features, [column[label] for label in dataset.labels], rows, C)
    # scikit-learn has one row for two labels; as two rows they need no case of their own.
    is_binary = len(label_names) == 2
    signs = np.array([[-0.5], [0.5]]) if is_binary else np.array([[1.0]])
    weights = (signs * model.coef_).astype(np.float32)
    return weights, (signs[:, 0] * model.intercept_).astype(np.float32)


def fit_heads(
    features: Any,
    dataset: Dataset,
    label_names: Sequence[str],
    *,
    C: float,
    rows: Sequence[float] | None,
) -> tuple[Any, Any]:
    """Return weights and intercepts of one regression for each label, against all other rows.

    Arguments and shapes are those of `fit_head`.
    """
    weights = np.zeros((len(label_names), features.shape[1]), dtype=np.float32)
    intercept = np.zeros(len(label_names), dtype=np.float32)
    for i, has_label in enumerate(membership(dataset.labels, label_names).T):
        if has_label.all() or not has_label.any():  # the odds where n rows of n are alike
            intercept[i] = np.log(len(dataset) + 1) * (1 if has_label.all() else -1)
            continue
        model = _fit_regression(features, has_label, rows, C)
        weights[i], intercept[i] = model.coef_[0], model.intercept_[0]
    return weights, intercept


def _fit_regression(features: Any, labels: Any, rows: Sequence[float] | None, C: float) -> Any:
    """Return a fitted logistic regression; the weights of rows are scaled to a mean of 1."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, class_weight="balanced", max_iter=1000)
    weights = None if rows is None else np.asarray(rows) / np.mean(rows)
    # The vectors are too short for BLAS's threads, which wait by spinning: ten times the CPU time
    # where other work shares the cores, and other last digits on another number of cores.
    with _libraries().limit(limits=1, user_api="blas"):
        return model.fit(features, labels, sample_weight=weights)


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # looks through all loaded libraries, once


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
    return Predictions(label_names, softmax(score_head(features, weights, intercept)))


def score_head(features: Any, weights: Any, intercept: Any) -> Floats:
    """Return the scores before softmax or sigmoid: (n_rows, n_labels)."""
    return np.asarray(features @ weights.T, dtype=np.float64) + intercept


def to_predictions(
    scores: Floats, label_names: tuple[str, ...], thresholds: Floats | None
) -> Predictions | MultiLabelPredictions:
    """Return predictions from scores (n_rows, n_labels).

    Args:
        scores: One row for each example, which may be none.
        label_names: The order of the labels.
        thresholds: (n_labels,) for sets of labels; None: a row has one label.
    """
    if thresholds is not None:
        # The form with tanh overflows nowhere.
        return MultiLabelPredictions(label_names, (1 + np.tanh(scores / 2)) / 2, thresholds)
    return Predictions(label_names, softmax(scores))
