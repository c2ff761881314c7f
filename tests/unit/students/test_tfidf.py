"""TF-IDF is scikit-learn's, whether its counts are remembered or not."""

import random

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from stepsynth._util.text import WORD
from stepsynth.students import _tfidf
from stepsynth.students._ngrams import NGrams
from stepsynth.students._tfidf import Tfidf

WORDS = ["warm", "cold", "film", "dull", "story", "don't", "é", "映画", "x1", "of"]
REFERENCE = {
    "word": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": WORD},
    "char": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}


def drawn(count, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(12))) for _ in range(count)]


@pytest.fixture(autouse=True, params=[10**6, 0], ids=["remembered", "too-long"])
def memory(request, monkeypatch):
    ngrams = {
        kind: NGrams(_tfidf._counter(kind).build_analyzer(), request.param) for kind in REFERENCE
    }
    monkeypatch.setattr(_tfidf, "_remembered", ngrams.__getitem__)


@pytest.mark.parametrize("kind", REFERENCE)
@pytest.mark.parametrize("limit", [7, 30, 30_000])
def test_each_fold_has_the_features_that_scikit_learn_gives_it(kind, limit):
    texts = [*drawn(40), *drawn(3), ""]  # with copies, and texts without a word
    for fold in range(5):
        train = [text for i, text in enumerate(texts) if i % 5 != fold]
        rest = [text for i, text in enumerate(texts) if i % 5 == fold] + drawn(3, seed=9)
        learned, features = Tfidf.learn(kind, train, limit)
        theirs = TfidfVectorizer(
            **REFERENCE[kind], sublinear_tf=True, dtype=np.float32, max_features=limit
        )
        expected = theirs.fit_transform(train)
        assert learned.vocabulary == list(theirs.get_feature_names_out())
        assert np.array_equal(learned.idf, theirs.idf_)
        assert abs(features - expected).max() < 1e-6
        for asked in (rest, train):
            assert abs(learned.transform(asked) - theirs.transform(asked)).max() < 1e-6


@pytest.mark.parametrize("kind", REFERENCE)
def test_texts_without_a_word_are_told(kind):
    Tfidf.learn(kind, drawn(9), 100)  # that others held some is nothing to them
    with pytest.raises(ValueError, match="empty vocabulary"):
        Tfidf.learn(kind, ["", " "], 100)


def test_a_text_is_counted_once():
    counted = []

    def analyze(text):
        counted.append(text)
        return text.split()

    ngrams = NGrams(analyze)
    for texts in (["a b", "b c"], ["b c", "c c d"], ["a b", "c c d", "a b"]):
        names, counts = ngrams.learn(texts, 9)
        assert [dict(zip(names, row, strict=True)) for row in counts.toarray()] == [
            {name: text.split().count(name) for name in names} for text in texts
        ]
    assert counted == ["a b", "b c", "c c d"]


def test_texts_that_are_known_take_no_further_room():
    counted = []

    def analyze(text):
        counted.append(text)
        return text.split()

    ngrams = NGrams(analyze, remembered=6)
    for texts in (["a b", "b c"], ["b c"], ["b c", "a b"]):
        ngrams.learn(texts, 9)
    assert counted == ["a b", "b c"]


def test_what_is_remembered_is_bounded():
    ngrams = NGrams(str.split, remembered=8)
    assert ngrams.learn(["more than eight"], 9) is None
    ngrams.learn(["a b", "b c"], 9)
    assert ngrams.recall(["a b"], ["b", "z"]).toarray().tolist() == [[1, 0]]
    ngrams.learn(["c d"], 9)  # the ninth character: all before are forgotten
    assert ngrams.recall(["a b"], ["b"]) is None
    assert ngrams.recall(["c d"], ["d", "b"]).toarray().tolist() == [[1, 0]]
