"""Accuracy, F1, AUC, confusion, and accuracy with a threshold fitted on other rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SWEEPS = 5
"""Most rounds of coordinate ascent, where thresholds of several labels are fitted."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for n rows, in their order.

    Attributes:
        label_names: The labels, in the order of the columns of `probabilities`.
        probabilities: (n_rows, n_labels); each row sums to 1.
    """

    label_names: tuple[str, ...]
    probabilities: Floats

    @property
    def labels(self) -> list[str]:
        """The most probable label of each row; the first of `label_names` in a tie."""
        return [self.label_names[i] for i in self.probabilities.argmax(axis=1)]

    @property
    def given(self) -> Flags:
        """Whether each row is given each label: (n_rows, n_labels)."""
        return one_hot(self.labels, self.label_names)

    def __len__(self) -> int:
        return len(self.probabilities)

    def of(self, labels: Sequence[str]) -> Floats:
        """Return the probability of each row's given label: (n_rows,)."""
        column = {name: i for i, name in enumerate(self.label_names)}
        return self.probabilities[np.arange(len(self)), [column[label] for label in labels]]

    def hits(self, labels: Sequence[str]) -> Flags:
        """Return whether each prediction is the given label: (n_rows,)."""
        return np.array([said == own for said, own in zip(self.labels, labels, strict=True)], bool)

    def offset(self, offsets: Floats) -> "Predictions":
        """Return the predictions with offsets (n_labels,) added to log-probabilities."""
        return Predictions(
            self.label_names, softmax(log_probabilities(self.probabilities) + offsets)
        )


def score_classification(gold: Sequence[str], predictions: Predictions) -> dict[str, Any]:
    """Return the scores of predictions against gold labels.

    Args:
        gold: n labels.
        predictions: n predictions, in the same order.

    Returns:
        `accuracy`, `macro_f1`, `auc` in 0-1 (`auc` is None if gold has one label only), `n`,
        `confusion`: gold label -> predicted label -> number of rows, and `by_label`. Macro-F1 is
        the mean over the labels that gold or the predictions have, as scikit-learn defines it.
    """
    from sklearn.metrics import confusion_matrix, f1_score

    names = list(predictions.label_names)
    predicted = predictions.labels
    matrix = confusion_matrix(gold, predicted, labels=names)
    return {
        "accuracy": float(predictions.hits(gold).mean()),
        "macro_f1": float(f1_score(gold, predicted, average="macro")),
        "auc": _auc(gold, predictions),
        "n": len(gold),
        "confusion": {
            g: {p: int(matrix[i, j]) for j, p in enumerate(names)} for i, g in enumerate(names)
        },
        "by_label": score_by_label(one_hot(gold, names), predictions.given, names),
    }


def one_hot(labels: Sequence[str], label_names: Sequence[str]) -> Flags:
    """Return whether each row has each label, where rows have one: (n_rows, n_labels)."""
    return np.asarray(labels)[:, None] == np.asarray(label_names)


def score_by_label(
    own: Flags, said: Flags, label_names: Sequence[str]
) -> dict[str, Mapping[str, float]]:
    """Return precision, recall, F1 and gold rows of each label that gold or predictions have.

    Args:
        own: Whether each row has each label: (n_rows, n_labels).
        said: The same for the predictions.
        label_names: The order of the columns.
    """
    hits, in_gold, in_said = (flags.sum(axis=0) for flags in (own & said, own, said))
    return {
        name: {
            "precision": float(hits[i] / max(1, in_said[i])),
            "recall": float(hits[i] / max(1, in_gold[i])),
            "f1": float(f1_of(hits[i], in_gold[i] + in_said[i])),
            "rows": int(in_gold[i]),
        }
        for i, name in enumerate(label_names)
        if in_gold[i] + in_said[i]
    }


def f1_of(hits: Any, both: Any) -> Any:
    """Return F1 of counts; 1 where there is nothing to find and nothing was found.

    Args:
        hits: Labels that gold and the predictions have.
        both: Those of gold plus those of the predictions.
    """
    return np.where(both > 0, 2 * hits / np.maximum(1, both), 1.0)


def _auc(gold: Sequence[str], predictions: Predictions) -> float | None:
    """Return the area under the ROC curve; for three labels or more, the mean one-against-rest."""
    from sklearn.metrics import roc_auc_score

    gold_array = np.asarray(gold)
    columns = list(enumerate(predictions.label_names))[
        1 if len(predictions.label_names) == 2 else 0 :
    ]
    areas = [
        roc_auc_score(gold_array == name, predictions.probabilities[:, column])
        for column, name in columns
        if 0 < int((gold_array == name).sum()) < len(gold)
    ]
    return float(np.mean(areas)) if areas else None


def fit_offsets(gold: Sequence[str], predictions: Predictions) -> Floats:
    """Return offsets of the labels' log-probabilities that maximise accuracy on `gold`.

    They extend the decision threshold to any number of labels. With two labels they are the best
    single threshold; with more, each label's offset is set in turn, up to `SWEEPS` times. Offset 0
    wins ties.

    Args:
        gold: n labels of the rows that the threshold is fitted on (`select`, never test).
        predictions: n predictions.

    Returns:
        (n_labels,) offsets; the first is 0.
    """
    names = np.asarray(predictions.label_names)
    right = one_hot(gold, predictions.label_names)
    scores = log_probabilities(predictions.probabilities)
    offsets = np.zeros(len(names))
    for _ in range(SWEEPS if len(names) > 2 else 1):
        before = offsets.copy()
        for column in range(1, len(names)):
            offsets[column] = _best_offset(scores + offsets, right, column, offsets[column])
        if np.array_equal(before, offsets):
            break
    return offsets


def _best_offset(scores: Floats, right: Flags, column: int, now: float) -> float:
    """Return the best offset of one label, given those of the others."""
    rest = np.delete(scores, column, axis=1)
    rest_right = np.take_along_axis(
        np.delete(right, column, axis=1), rest.argmax(axis=1)[:, None], axis=1
    )[:, 0]
    # Row i goes to this label where its offset exceeds margin i.
    margin = rest.max(axis=1) - (scores[:, column] - now)
    order = np.argsort(margin, kind="stable")
    gains = np.where(right[order, column], 1, 0) - np.where(rest_right[order], 1, 0)
    hits = rest_right.sum() + np.concatenate([[0], np.cumsum(gains)])
    sorted_margin = margin[order]
    edges = np.concatenate([[sorted_margin[0] - 1], sorted_margin, [sorted_margin[-1] + 1]])
    middles = (edges[:-1] + edges[1:]) / 2
    # A middle between equal margins would split rows that no threshold can split.
    possible = np.concatenate([[True], np.diff(sorted_margin) > 0, [True]])
    best = hits[possible].max()
    candidates = middles[possible & (hits == best)]
    inside = np.count_nonzero(sorted_margin < 0)
    if hits[inside] == best and (inside in (0, len(order)) or possible[inside]):
        return 0.0
    return float(candidates[np.abs(candidates).argmin()])


def tuned_accuracy(gold: Sequence[str], predictions: Predictions, offsets: Floats) -> float:
    """Return the accuracy with offsets that were fitted on other rows."""
    return float(predictions.offset(offsets).hits(gold).mean())


def hits_error(gold: Sequence[str], one: Predictions, other: Predictions) -> float:
    """Return the standard error of the paired difference of two accuracies, 0-1.

    Args:
        gold: n labels, two or more.
        one: n predictions.
        other: n predictions for the same rows.
    """
    difference = one.hits(gold).astype(float) - other.hits(gold)
    return float(difference.std(ddof=1)) / len(gold) ** 0.5


def softmax(scores: Floats) -> Floats:
    """Return probabilities from scores, row by row: (n_rows, n_labels)."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def log_probabilities(probabilities: Floats) -> Floats:
    """Return natural logarithms, bounded below."""
    return np.log(np.clip(probabilities, 1e-12, None))
