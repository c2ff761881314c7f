"""Scores of sets of labels against scikit-learn, and thresholds against all thresholds."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from stepsynth.metrics.multi_label import (
    MultiLabelPredictions,
    always,
    fit_thresholds,
    membership,
    score_multi_label,
)
from stepsynth.metrics.scoring import Predictions
from stepsynth.records import LabelSet

NAMES = ("a", "b", "c")


def random_case(n=60, seed=0):
    rng = np.random.default_rng(seed)
    own = rng.random((n, 3)) < (0.6, 0.3, 0.1)
    gold = [str(LabelSet(tuple(np.array(NAMES)[row]))) for row in own]
    return gold, MultiLabelPredictions(NAMES, rng.random((n, 3)), np.full(3, 0.5))


def test_scores_equal_scikit_learn():
    gold, said = random_case()
    scores, own = score_multi_label(gold, said), membership(gold, NAMES)
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro"), ("sample_f1", "samples")):
        expected = f1_score(own, said.given, average=average, zero_division=1.0)
        assert scores[name] == pytest.approx(expected), name
    assert scores["exact_match"] == np.mean((own == said.given).all(axis=1))
    assert scores["exact_match"] == said.hits(gold).mean()
    by_label = f1_score(own, said.given, average=None)
    assert [row["f1"] for row in scores["by_label"].values()] == pytest.approx(list(by_label))


def test_an_empty_set_that_is_found_is_right():
    nothing = MultiLabelPredictions(NAMES, np.zeros((2, 3)), np.full(3, 0.5))
    scores = score_multi_label(["(none)", "a"], nothing)
    assert nothing.labels == ["(none)", "(none)"]
    assert (scores["sample_f1"], scores["exact_match"], scores["micro_f1"]) == (0.5, 0.5, 0.0)
    assert list(scores["by_label"]) == ["a"], "labels that nobody has are no part of macro-F1"


def test_sets_are_texts_in_the_order_of_the_labels():
    said = MultiLabelPredictions(NAMES, np.array([[0.2, 0.9, 0.6]]), np.array([0.1, 0.5, 0.7]))
    assert said.labels == ["a|b"]
    assert said.sets == [LabelSet(("a", "b"))]


def test_each_threshold_has_the_best_f1_of_all_that_tell_rows_apart():
    gold, said = random_case(n=40, seed=2)
    own, thresholds = membership(gold, NAMES), fit_thresholds(gold, said)
    for i in range(3):
        p = said.probabilities[:, i]
        best = max(f1_score(own[:, i], p >= t) for t in [*np.unique(p)[1:], 0.5])
        assert f1_score(own[:, i], p >= thresholds[i]) == pytest.approx(best)


def test_a_threshold_stays_at_a_half_where_little_is_known():
    gold, said = random_case(n=19)
    assert fit_thresholds(gold, said).tolist() == [0.5] * 3
    gold, said = random_case(n=20)
    none_has_a = [text.replace("a|", "").replace("a", "(none)") for text in gold]
    assert fit_thresholds(none_has_a, said)[0] == 0.5
    certain = MultiLabelPredictions(NAMES, membership(gold, NAMES).astype(float), said.thresholds)
    assert fit_thresholds(gold, certain).tolist() == [0.5] * 3, "the nearest to a half is taken"


def test_always_the_same():
    same = always(LabelSet(("a", "c")), NAMES, 2)
    assert isinstance(same, MultiLabelPredictions)
    assert same.labels == ["a|c", "a|c"]
    assert always(LabelSet(()), NAMES, 1).labels == ["(none)"]
    one = always("b", NAMES, 2)
    assert isinstance(one, Predictions)
    assert one.labels == ["b", "b"]
