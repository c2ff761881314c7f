"""Scores against scikit-learn and against a search over all thresholds."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from stepsynth.metrics.scoring import (
    Predictions,
    fit_offsets,
    score_classification,
    tuned_accuracy,
)

RNG = np.random.default_rng(0)


def random_case(labels: int, n: int = 60):
    names = tuple("abcdef"[:labels])
    probabilities = RNG.dirichlet(np.ones(labels), n)
    gold = [names[i] for i in RNG.integers(0, labels, n)]
    return gold, Predictions(names, probabilities)


@pytest.mark.parametrize("labels", [2, 3, 6])
def test_scores_equal_scikit_learn(labels):
    gold, predictions = random_case(labels)
    scores = score_classification(gold, predictions)
    assert scores["accuracy"] == accuracy_score(gold, predictions.labels)
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, predictions.labels, average="macro"))
    p = predictions.probabilities
    expected = (
        roc_auc_score(gold, p[:, 1])
        if labels == 2
        else roc_auc_score(gold, p, multi_class="ovr", labels=list(predictions.label_names))
    )
    assert scores["auc"] == pytest.approx(expected)


def test_the_confusion_counts_every_row_once():
    gold, predictions = random_case(3)
    matrix = score_classification(gold, predictions)["confusion"]
    assert sum(sum(row.values()) for row in matrix.values()) == len(gold)
    assert matrix["a"]["b"] == sum(
        g == "a" and p == "b" for g, p in zip(gold, predictions.labels, strict=True)
    )


def test_gold_of_one_label_has_no_auc():
    predictions = Predictions(("a", "b"), np.array([[0.6, 0.4], [0.3, 0.7]]))
    assert score_classification(["a", "a"], predictions)["auc"] is None


def test_the_threshold_of_two_labels_is_the_best_there_is():
    for _ in range(50):
        gold, predictions = random_case(2, n=25)
        log = np.log(predictions.probabilities)
        margins = np.sort(log[:, 0] - log[:, 1])
        middles = (margins[:-1] + margins[1:]) / 2
        tries = [0.0, margins[0] - 1, margins[-1] + 1, *middles]
        best = max(tuned_accuracy(gold, predictions, np.array([0.0, t])) for t in tries)
        offsets = fit_offsets(gold, predictions)
        assert tuned_accuracy(gold, predictions, offsets) == pytest.approx(best)


@pytest.mark.parametrize("labels", [2, 4])
def test_a_fitted_threshold_is_never_worse_on_the_rows_it_was_fitted_on(labels):
    for _ in range(30):
        gold, predictions = random_case(labels, n=30)
        plain = score_classification(gold, predictions)["accuracy"]
        assert tuned_accuracy(gold, predictions, fit_offsets(gold, predictions)) >= plain


def test_a_threshold_that_changes_nothing_is_left_at_zero():
    predictions = Predictions(("a", "b"), np.array([[0.9, 0.1], [0.1, 0.9]]))
    assert fit_offsets(["a", "b"], predictions).tolist() == [0.0, 0.0]
