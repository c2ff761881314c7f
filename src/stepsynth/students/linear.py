"""TF-IDF of words and characters with logistic regression: seconds on a CPU, any language.

Character n-grams handle typos and languages without spaces between words. The features of a pair
are the text's own n-grams, its words that the context has, its new words, and measures of overlap.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from stepsynth._util.files import write_json
from stepsynth.errors import TooFewRowsError
from stepsynth.metrics import Predictions
from stepsynth.records import Dataset, Example
from stepsynth.students._head import fit_head, predict_head
from stepsynth.students._search import Range
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks, Student

REMEMBERED = 3_000_000
"""Most characters of a data set whose features are remembered: some 60 MB of them."""


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
        characters = sum(len(row.text) + len(row.context or "") for row in dataset)
        learn = _learn_once if characters <= REMEMBERED else _learn
        try:
            self._vectorizers, features = learn(dataset, self.max_features)
        except ValueError as error:  # an empty vocabulary
            raise TooFewRowsError("no student can be trained: no text holds a word") from error
        return features

    def _features(self, examples: Sequence[Example]) -> Any:
        return _featurize(self._vectorizers, examples)

    def predict_examples(self, examples: Sequence[Example]) -> Predictions:
        """Return softmax probabilities: (n_examples, n_labels)."""
        names = self.label_names
        if not examples:
            return Predictions(names, np.zeros((0, len(names))))
        return predict_head(self._features(examples), self._weights, self._intercept, names)

    def save_arrays(self, folder: Path) -> None:
        """Write vocabularies as JSON, weights as one NumPy archive."""
        vocabularies = {
            kind: sorted(v.vocabulary_, key=v.vocabulary_.__getitem__)
            for kind, v in self._vectorizers.items()
        }
        write_json(folder / "vocabulary.json", vocabularies)
        idf = {f"idf_{kind}": v.idf_ for kind, v in self._vectorizers.items()}
        np.savez_compressed(
            folder / "weights.npz", weights=self._weights, intercept=self._intercept, **idf
        )

    def load_arrays(self, folder: Path) -> None:
        """Read what `save_arrays` wrote; nothing is unpickled."""
        vocabularies = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        # Opened here, since numpy leaves a file open that it cannot read.
        with (
            (folder / "weights.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            self._weights, self._intercept = arrays["weights"], arrays["intercept"]
            idf = {kind: arrays[f"idf_{kind}"] for kind in vocabularies}
        self._vectorizers = {}
        for kind, vocabulary in vocabularies.items():
            self._vectorizers[kind] = _vectorizer(kind, vocabulary=vocabulary)
            self._vectorizers[kind].idf_ = idf[kind]


def _learn(dataset: Dataset, max_features: int) -> tuple[dict[str, Any], Any]:
    """Return fitted vectorizers and the features of the rows they were fitted on."""
    is_pair = any(row.context is not None for row in dataset)
    vectorizers = {
        kind: _vectorizer(kind, max_features=max_features)
        for kind in (*_TEXT, *(_PAIR if is_pair else ()))
    }
    return vectorizers, _featurize(vectorizers, dataset, learn=True)


# Cross-validation, reweighting and hyper-parameter search fit the same rows again and again.
_learn_once = lru_cache(maxsize=5)(_learn)


def _featurize(
    vectorizers: Mapping[str, Any], examples: Sequence[Example], *, learn: bool = False
) -> Any:
    """Return sparse features, (n_examples, n_features)."""
    from scipy.sparse import csr_matrix, hstack

    parts = [
        (v.fit_transform if learn else v.transform)(_texts_for(kind, examples))
        for kind, v in vectorizers.items()
    ]
    if "new" in vectorizers:
        parts.append(csr_matrix([_overlap(row) for row in examples], dtype=np.float32))
    return hstack(parts, format="csr")


_WORD = r"(?u)\b\w+\b"
_TEXT: dict[str, dict[str, Any]] = {
    "word": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": _WORD},
    "char": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}
# The cross features of a pair: the text's words that its context has too, and those it has not.
_PAIR: dict[str, dict[str, Any]] = {
    "shared": {"analyzer": "word", "token_pattern": _WORD},
    "new": {"analyzer": "word", "token_pattern": _WORD},
}


def _vectorizer(kind: str, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    dtype: Any = np.float32
    analyzer = {**_TEXT, **_PAIR}[kind]
    return TfidfVectorizer(**analyzer, sublinear_tf=True, dtype=dtype, **options)


def _texts_for(kind: str, examples: Sequence[Example]) -> list[str]:
    """Return a vectorizer's input for each row."""
    if kind in _TEXT:
        return [row.text for row in examples]
    chosen: list[str] = []
    for row in examples:
        known = set(_words(row.context or ""))
        words = [w for w in _words(row.text) if (w in known) == (kind == "shared")]
        # A placeholder marks a row without such words, and keeps a vocabulary from being empty.
        chosen.append(" ".join(words) or f"no{kind}words")
    return chosen


def _overlap(row: Example) -> tuple[float, ...]:
    """Return measures of a text's overlap with its context and of its new content, each 0-1."""
    text, context = _words(row.text), _words(row.context or "")
    ours, theirs = set(text), set(context)
    shared = len(ours & theirs) / max(1, len(ours))
    pairs, known = set(pairwise(text)), set(pairwise(context))
    numbers = {word for word in ours if word.isdigit()}
    return (
        shared,
        float(shared == 1.0),
        len(pairs & known) / max(1, len(pairs)),
        len(numbers - theirs) / max(1, len(numbers)),
        len(text) / (len(text) + len(context) or 1),
    )


def _words(text: str) -> list[str]:
    return re.findall(_WORD, text.lower())
