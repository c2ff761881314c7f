"""TF-IDF of words and characters with logistic regression: seconds on a CPU, any language."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from stepsynth.metrics import Predictions
from stepsynth.records import Dataset, Example
from stepsynth.students import _tfidf
from stepsynth.students._head import fit_head, predict_head
from stepsynth.students._search import Range
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks, Student


class Linear(Student):
    """The `linear` student.

    Attributes:
        C: Inverse strength of the L2 penalty; scikit-learn's default.
        max_features: Most n-grams to keep, of words and of characters each; the most frequent stay.
    """

    name: ClassVar[str] = "linear"

    C: float = Field(default=1.0, gt=0, description="Inverse strength of the L2 penalty.")
    max_features: int = Field(
        default=30_000, gt=0, description="N-grams kept of words and of characters."
    )

    search_space: ClassVar[Mapping[str, Any]] = {
        "C": Range(low=0.01, high=100.0, log=True),
        "max_features": (10_000, 30_000, 100_000),
    }

    _vectorizers: Any = None
    _weights: Any = None
    _intercept: Any = None

    def fit(
        self,
        dataset: Dataset,
        *,
        weights: Sequence[float] | None = None,
        callbacks: FitCallbacks = NO_CALLBACKS,
    ) -> None:
        """Learn a weight for each n-gram and label; rare labels weigh as much as frequent ones."""
        features = self.learn_features(dataset)
        head = fit_head(features, dataset, self.label_names, C=self.C, rows=weights)
        self._weights, self._intercept = head

    def learn_features(self, dataset: Dataset) -> Any:
        """Build the vocabularies from a data set and return its features, sparse (n, n_features).

        Raises:
            TooFewRowsError: No text holds a word.
        """
        self._vectorizers, features = _tfidf.learn(dataset, self.max_features)
        return features

    def _features(self, examples: Sequence[Example]) -> Any:
        return _tfidf.featurize(self._vectorizers, examples)

    def predict_examples(self, examples: Sequence[Example]) -> Predictions:
        """Return softmax probabilities: (n_examples, n_labels)."""
        names = self.label_names
        if not examples:
            return Predictions(names, np.zeros((0, len(names))))
        return predict_head(self._features(examples), self._weights, self._intercept, names)

    def save_arrays(self, folder: Path) -> None:
        """Write vocabularies as JSON, weights as one NumPy archive."""
        idf = _tfidf.save(self._vectorizers, folder)
        np.savez_compressed(
            folder / "weights.npz", weights=self._weights, intercept=self._intercept, **idf
        )

    def load_arrays(self, folder: Path) -> None:
        """Read what `save_arrays` wrote; nothing is unpickled."""
        # Opened here, since numpy leaves a file open that it cannot read.
        with (
            (folder / "weights.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            self._weights, self._intercept = arrays["weights"], arrays["intercept"]
            self._vectorizers = _tfidf.load(folder, arrays)
