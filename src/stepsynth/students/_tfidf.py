"""TF-IDF of words and characters, for texts and for pairs.

Character n-grams handle typos and inflection; in scripts without spaces each character is a word.
The features of a pair are the text's own n-grams, its words that the context has, its new words,
and measures of overlap.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from stepsynth._util.files import write_json
from stepsynth._util.text import WORD
from stepsynth.errors import TooFewRowsError
from stepsynth.records import Dataset, Example

REMEMBERED = 3_000_000
"""Most characters of a data set whose features are remembered: some 60 MB of them."""
VOCABULARY_FILE = "vocabulary.json"


def learn(dataset: Dataset, max_features: int) -> tuple[dict[str, Any], Any]:
    """Return vectorizers fitted on a data set, and its features: sparse (n, n_features).

    Args:
        dataset: n rows.
        max_features: Most n-grams to keep, of words and of characters each.

    Raises:
        TooFewRowsError: No text holds a word.
    """
    characters = sum(len(row.text) + len(row.context or "") for row in dataset)
    learn = _learn_once if characters <= REMEMBERED else _learn_anew
    try:
        return learn(dataset, max_features)
    except ValueError as error:  # an empty vocabulary
        raise TooFewRowsError("no student can be trained: no text holds a word") from error


def save(vectorizers: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write vocabularies as JSON, and return the arrays that belong to them."""
    vocabularies = {
        kind: sorted(v.vocabulary_, key=v.vocabulary_.__getitem__)
        for kind, v in vectorizers.items()
    }
    write_json(folder / VOCABULARY_FILE, vocabularies)
    return {f"idf_{kind}": v.idf_ for kind, v in vectorizers.items()}


def load(folder: Path, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vectorizers that `save` wrote."""
    vocabularies = json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for kind, vocabulary in vocabularies.items():
        found[kind] = _vectorizer(kind, vocabulary=vocabulary)
        found[kind].idf_ = arrays[f"idf_{kind}"]
    return found


def _learn_anew(dataset: Dataset, max_features: int) -> tuple[dict[str, Any], Any]:
    """Return fitted vectorizers and the features of the rows they were fitted on."""
    is_pair = any(row.context is not None for row in dataset)
    vectorizers = {
        kind: _vectorizer(kind, max_features=max_features)
        for kind in (*_TEXT, *(_PAIR if is_pair else ()))
    }
    return vectorizers, featurize(vectorizers, dataset, learn=True)


# Cross-validation, reweighting and hyper-parameter search fit the same rows again and again.
_learn_once = lru_cache(maxsize=5)(_learn_anew)


def featurize(
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


_TEXT: dict[str, dict[str, Any]] = {
    "word": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": WORD},
    "char": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}
# The cross features of a pair: the text's words that its context has too, and those it has not.
_PAIR: dict[str, dict[str, Any]] = {
    "shared": {"analyzer": "word", "token_pattern": WORD},
    "new": {"analyzer": "word", "token_pattern": WORD},
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
    return re.findall(WORD, text.lower())
