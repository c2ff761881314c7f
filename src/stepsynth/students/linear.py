"""TF-IDF of words and characters with logistic regression: seconds on a CPU, any language.

Character n-grams carry languages that put no spaces between words, and typos.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from stepsynth._util.files import write_json
from stepsynth.errors import TooFewRowsError
from stepsynth.metrics import Predictions
from stepsynth.records import Dataset, Example
from stepsynth.students._student import Student


class Linear(Student):
    """The `linear` student.

    Attributes:
        C: Inverse strength of the L2 penalty; scikit-learn's default.
        max_features: Most n-grams to keep of words, and of characters; the most frequent stay.
    """

    name: ClassVar[str] = "linear"

    C: float = Field(default=1.0, gt=0, description="Inverse strength of the L2 penalty.")
    max_features: int = Field(
        default=30_000, gt=0, description="N-grams kept of words and of characters."
    )

    _vectorizers: Any = None
    _weights: Any = None
    _intercept: Any = None

    def fit(self, dataset: Dataset) -> None:
        """Learn a weight for each n-gram and label; rare labels weigh as much as frequent ones."""
        from sklearn.linear_model import LogisticRegression

        self._vectorizers = [
            _vectorizer(kind, max_features=self.max_features) for kind in _ANALYZERS
        ]
        try:
            features = _stack([v.fit_transform(dataset.texts) for v in self._vectorizers])
        except ValueError as error:  # an empty vocabulary
            raise TooFewRowsError("no student can be trained: no text holds a word") from error
        model = LogisticRegression(C=self.C, class_weight="balanced", max_iter=1000)
        column = {label: i for i, label in enumerate(self.label_names)}
        model.fit(features, [column[label] for label in dataset.labels])
        # Two labels are one row in scikit-learn; as two rows, every number of labels is one case.
        is_binary = len(self.label_names) == 2
        signs = np.array([[-0.5], [0.5]]) if is_binary else np.array([[1.0]])
        self._weights = (signs * model.coef_).astype(np.float32)
        self._intercept = (signs[:, 0] * model.intercept_).astype(np.float32)

    def predict_examples(self, examples: Sequence[Example]) -> Predictions:
        """Return softmax probabilities: (n_examples, n_labels)."""
        names = self.label_names
        if not examples:
            return Predictions(names, np.zeros((0, len(names))))
        texts = [example.text for example in examples]
        features = _stack([v.transform(texts) for v in self._vectorizers])
        scores = np.asarray(features @ self._weights.T, dtype=np.float64) + self._intercept
        scores -= scores.max(axis=1, keepdims=True)
        odds = np.exp(scores)
        return Predictions(names, odds / odds.sum(axis=1, keepdims=True))

    def save_arrays(self, folder: Path) -> None:
        """Write vocabularies as JSON, weights as one NumPy archive."""
        vocabularies = {
            kind: sorted(v.vocabulary_, key=v.vocabulary_.__getitem__)
            for kind, v in zip(_ANALYZERS, self._vectorizers, strict=True)
        }
        write_json(folder / "vocabulary.json", vocabularies)
        idf = {f"idf_{k}": v.idf_ for k, v in zip(_ANALYZERS, self._vectorizers, strict=True)}
        np.savez_compressed(
            folder / "weights.npz", weights=self._weights, intercept=self._intercept, **idf
        )

    def load_arrays(self, folder: Path) -> None:
        """Read what `save_arrays` wrote; nothing is unpickled."""
        vocabularies = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            self._weights, self._intercept = arrays["weights"], arrays["intercept"]
            idf = {kind: arrays[f"idf_{kind}"] for kind in _ANALYZERS}
        self._vectorizers = []
        for kind in _ANALYZERS:
            vectorizer = _vectorizer(kind, vocabulary=vocabularies[kind])
            vectorizer.idf_ = idf[kind]
            self._vectorizers.append(vectorizer)


_ANALYZERS: dict[str, dict[str, Any]] = {
    "word": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    "char": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}


def _vectorizer(kind: str, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    dtype: Any = np.float32
    return TfidfVectorizer(**_ANALYZERS[kind], sublinear_tf=True, dtype=dtype, **options)


def _stack(parts: Sequence[Any]) -> Any:
    from scipy.sparse import hstack

    return hstack(parts, format="csr")
