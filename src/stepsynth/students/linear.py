"""TF-IDF of words and characters with logistic regression: seconds on a CPU, any language."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stepsynth.records import Dataset, Example
from stepsynth.students import _tfidf
from stepsynth.students._head import HeadStudent
from stepsynth.students._search import Range
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks


class Linear(HeadStudent):
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

    def learn_features(self, dataset: Dataset, callbacks: FitCallbacks = NO_CALLBACKS) -> Any:
        """Build the vocabularies from a data set and return its features, sparse (n, n_features).

        Raises:
            TooFewRowsError: No text holds a word.
        """
        self._vectorizers, features = _tfidf.learn(dataset, self.max_features)
        return features

    def features(self, examples: Sequence[Example]) -> Any:
        """Return TF-IDF: sparse (n_examples, n_features)."""
        return _tfidf.featurize(self._vectorizers, examples)

    def own_arrays(self, folder: Path) -> Mapping[str, Any]:
        """Write the vocabularies as JSON, and return their weights."""
        return _tfidf.save(self._vectorizers, folder)

    def take_arrays(self, folder: Path, arrays: Mapping[str, Any]) -> None:
        """Read the vocabularies."""
        self._vectorizers = _tfidf.load(folder, arrays)
