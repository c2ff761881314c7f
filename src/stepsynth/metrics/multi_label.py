"""Predictions of several labels a row: sets by thresholds, F1 by label and over all, exact match.

Main score: micro-F1, which counts every label of every row alike. Macro-F1 would hang on the
rarest labels, of which the rows that choose between rounds often have two or three.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepsynth.metrics.scoring import Flags, Floats, Predictions, f1_of, score_by_label
from stepsynth.records import Label, LabelSet, names_of

FEWEST_ROWS = 20
"""Fewest held-out rows that thresholds are chosen on."""
THRESHOLD = 0.5
"""Least probability of a label that is given, where none was chosen."""


@dataclass(frozen=True)
class MultiLabelPredictions:
    """Predictions of any number of labels for n rows, in their order.

    Attributes:
        label_names: The labels, in the order of the columns of `probabilities`.
        probabilities: (n_rows, n_labels); each label has its own, and they sum to anything.
        thresholds: (n_labels,) least probability of a label that is given.
    """

    label_names: tuple[str, ...]
    probabilities: Floats
    thresholds: Floats

    @property
    def given(self) -> Flags:
        """Whether each row is given each label: (n_rows, n_labels)."""
        return self.probabilities >= self.thresholds

    @property
    def sets(self) -> list[LabelSet]:
        """The set of labels of each row."""
        names = self.label_names
        return [LabelSet(tuple(names[i] for i in np.flatnonzero(row))) for row in self.given]

    @property
    def labels(self) -> list[str]:
        """The set of each row as a text: "a|b", or "(none)"."""
        return [str(each) for each in self.sets]

    def __len__(self) -> int:
        return len(self.probabilities)

    def hits(self, labels: Sequence[str]) -> Flags:
        """Return whether each predicted set is the given one, exactly: (n_rows,)."""
        return (self.given == membership(labels, self.label_names)).all(axis=1)


def names_in(labels: Iterable[str]) -> list[str]:
    """Return the different labels in sets as texts, sorted."""
    return sorted({name for text in labels for name in LabelSet.parse(text).names})


def membership(labels: Sequence[str], label_names: Sequence[str]) -> Flags:
    """Return whether each set has each label: (n_sets, n_labels).

    Args:
        labels: Sets as texts: "a|b".
        label_names: The order of the columns.
    """
    sets = [frozenset(LabelSet.parse(text).names) for text in labels]
    flags = [[name in own for name in label_names] for own in sets]
    return np.array(flags, dtype=bool).reshape(len(sets), len(label_names))


def certain(given: Flags, label_names: tuple[str, ...]) -> MultiLabelPredictions:
    """Return predictions that are sure of the given labels: (n_rows, n_labels)."""
    thresholds = np.full(len(label_names), THRESHOLD)
    return MultiLabelPredictions(label_names, given.astype(np.float64), thresholds)


def always(
    label: Label, label_names: tuple[str, ...], n_rows: int
) -> Predictions | MultiLabelPredictions:
    """Return predictions that are the same label, or the same set, for each of n rows."""
    given = np.tile(np.isin(label_names, names_of(label)), (n_rows, 1))
    if isinstance(label, LabelSet):
        return certain(given, label_names)
    return Predictions(label_names, given.astype(np.float64))


def score_multi_label(gold: Sequence[str], predictions: MultiLabelPredictions) -> dict[str, Any]:
    """Return the scores of predicted sets against gold sets.

    Args:
        gold: n sets of labels as texts: "a|b".
        predictions: n predictions, in the same order.

    Returns:
        `micro_f1` (over all labels of all rows), `macro_f1` (the mean over the labels that gold or
        the predictions have), `sample_f1` (the mean over rows; 1 where both sets are empty),
        `exact_match` (share of sets that are right as a whole), each 0-1; `n`; and `by_label`:
        label -> `precision`, `recall`, `f1` and `rows` of gold.
    """
    names = predictions.label_names
    own, said = membership(gold, names), predictions.given
    hits, both = own & said, own.astype(int) + said
    by_label = score_by_label(own, said, names)
    return {
        "micro_f1": float(f1_of(hits.sum(), both.sum())),
        "macro_f1": float(np.mean([row["f1"] for row in by_label.values()] or [1.0])),
        "sample_f1": float(f1_of(hits.sum(axis=1), both.sum(axis=1)).mean()),
        "exact_match": float(predictions.hits(gold).mean()),
        "n": len(gold),
        "by_label": by_label,
    }


def fit_thresholds(gold: Sequence[str], predictions: MultiLabelPredictions) -> Floats:
    """Return the threshold of each label with the best F1 on held-out rows: (n_labels,).

    A threshold lies midway between two probabilities; of several that are as good, the one nearest
    to 0.5 is taken. A label without a row keeps 0.5, as all do where there are under 20 rows.

    Args:
        gold: n sets of labels as texts, of rows that the model was not trained on (never test).
        predictions: n predictions.
    """
    names = predictions.label_names
    thresholds = np.full(len(names), THRESHOLD)
    if len(gold) < FEWEST_ROWS:
        return thresholds
    own = membership(gold, names)
    for i in np.flatnonzero(own.any(axis=0)):
        thresholds[i] = _best_threshold(own[:, i], predictions.probabilities[:, i])
    return thresholds


def _best_threshold(own: Flags, probabilities: Floats) -> float:
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(own[order])
    # After the first k rows, where the next one is less probable.
    k = np.flatnonzero(ranked[:-1] > ranked[1:]) + 1
    middles = np.append((ranked[k - 1] + ranked[k]) / 2, THRESHOLD)
    half = probabilities >= THRESHOLD
    hits, given = np.append(hits[k - 1], (half & own).sum()), np.append(k, half.sum())
    f1 = f1_of(hits, own.sum() + given)
    best = middles[f1 >= f1.max() - 1e-12]
    return float(best[np.abs(best - THRESHOLD).argmin()])
