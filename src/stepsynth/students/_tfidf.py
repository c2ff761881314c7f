"""TF-IDF of words and characters, for texts and for pairs.

Character n-grams handle typos and inflection; in scripts without spaces each character is a word.
The features of a pair are the text's own n-grams, its words that the context has, its new words,
and measures of overlap.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from stepsynth._util.files import write_json
from stepsynth._util.text import WORD
from stepsynth.errors import TooFewRowsError
from stepsynth.records import Dataset, Example
from stepsynth.students._ngrams import NGrams

VOCABULARY_FILE = "vocabulary.json"


class Tfidf:
    """The TF-IDF of one kind of n-grams.

    Attributes:
        vocabulary: n n-grams, one for each column.
        idf: Their inverse document frequencies, (n,).
    """

    def __init__(self, kind: str, vocabulary: Sequence[str], idf: Any) -> None:
        from sklearn.feature_extraction.text import TfidfTransformer

        self.vocabulary, self.idf = vocabulary, idf
        self._kind = kind
        self._weights = TfidfTransformer(sublinear_tf=True)
        self._weights.idf_ = idf

    @classmethod
    def learn(cls, kind: str, texts: Sequence[str], limit: int) -> tuple[Self, Any]:
        """Return what texts teach, and their features: sparse (n_texts, n).

        Raises:
            ValueError: No text holds an n-gram.
        """
        from sklearn.feature_extraction.text import TfidfTransformer

        found = _remembered(kind).learn(texts, limit)
        if found is None:
            counter = _counter(kind, max_features=limit)
            counts = counter.fit_transform(texts)
            found = list(counter.get_feature_names_out()), counts
        vocabulary, counts = found
        if not vocabulary:
            raise ValueError("empty vocabulary")
        learned = cls(kind, vocabulary, TfidfTransformer().fit(counts).idf_)
        return learned, learned._weights.transform(counts)

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the features of texts, sparse (n_texts, n)."""
        counts = _remembered(self._kind).recall(texts, self.vocabulary)
        return self._weights.transform(self._counter.transform(texts) if counts is None else counts)

    @cached_property
    def _counter(self) -> Any:
        return _counter(self._kind, vocabulary=self.vocabulary)


def learn(dataset: Dataset, max_features: int) -> tuple[dict[str, Tfidf], Any]:
    """Return the TF-IDF of each kind of n-grams, and the features of a data set.

    Args:
        dataset: n rows.
        max_features: Most n-grams to keep, of words and of characters each.

    Returns:
        Kind -> TF-IDF, and a sparse matrix (n, n_features).

    Raises:
        TooFewRowsError: No text holds a word.
    """
    is_pair = any(row.context is not None for row in dataset)
    kinds = (*_TEXT, *(_PAIR if is_pair else ()))
    try:
        found = [Tfidf.learn(kind, _texts_for(kind, dataset), max_features) for kind in kinds]
    except ValueError as error:  # an empty vocabulary
        raise TooFewRowsError("no student can be trained: no text holds a word") from error
    learned = {kind: tfidf for kind, (tfidf, _) in zip(kinds, found, strict=True)}
    return learned, _join([features for _, features in found], dataset, is_pair=is_pair)


def featurize(learned: Mapping[str, Tfidf], examples: Sequence[Example]) -> Any:
    """Return sparse features, (n_examples, n_features)."""
    parts = [tfidf.transform(_texts_for(kind, examples)) for kind, tfidf in learned.items()]
    return _join(parts, examples, is_pair="new" in learned)


def save(learned: Mapping[str, Tfidf], folder: Path) -> dict[str, Any]:
    """Write vocabularies as JSON, and return the arrays that belong to them."""
    write_json(folder / VOCABULARY_FILE, {kind: each.vocabulary for kind, each in learned.items()})
    return {f"idf_{kind}": each.idf for kind, each in learned.items()}


def load(folder: Path, arrays: Mapping[str, Any]) -> dict[str, Tfidf]:
    """Return what `save` wrote."""
    vocabularies = json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8"))
    return {kind: Tfidf(kind, found, arrays[f"idf_{kind}"]) for kind, found in vocabularies.items()}


def _join(parts: list[Any], examples: Sequence[Example], *, is_pair: bool) -> Any:
    from scipy.sparse import csr_matrix, hstack

    overlap = [csr_matrix([_overlap(row) for row in examples], dtype=np.float32)] if is_pair else []
    return hstack([*parts, *overlap], format="csr")


_TEXT: dict[str, dict[str, Any]] = {
    "word": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": WORD},
    "char": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}
# The cross features of a pair: the text's words that its context has too, and those it has not.
_PAIR: dict[str, dict[str, Any]] = {
    "shared": {"analyzer": "word", "token_pattern": WORD},
    "new": {"analyzer": "word", "token_pattern": WORD},
}


def _counter(kind: str, **options: Any) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    dtype: Any = np.float32
    return CountVectorizer(**{**_TEXT, **_PAIR}[kind], dtype=dtype, **options)


@cache
def _remembered(kind: str) -> NGrams:
    return NGrams(_counter(kind).build_analyzer())


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
    return re.findall(WORD, text.lower())
