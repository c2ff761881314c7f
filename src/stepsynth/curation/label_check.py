"""Detection of wrong labels, with the probabilities of students that have not seen the row.

Student agreement: Yu et al., "ReGen: Zero-Shot Text Classification via Training Data Generation
with Progressive Dense Retrieval", Findings of ACL 2023: a row is kept if the classifier predicts
its label. Confident learning: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty
in Dataset Labels", JAIR 70, 2021.

Departure: each row is judged by a student of the other folds; ReGen does not leave rows out.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from operator import ne
from random import Random

import numpy as np

from stepsynth.curation.gate import row_digest
from stepsynth.errors import ConfigError, TooFewRowsError
from stepsynth.metrics import Flags, Floats, Ints, Predictions
from stepsynth.records import Dataset, Example, union

FOLDS = 5
"""Folds of a label check; each student learns from all folds but one."""

EMPTY = Dataset()

FitPredict = Callable[[Dataset, Dataset], Predictions]
"""A function that fits a fresh student on the first data set and predicts the second."""


@dataclass(frozen=True)
class Verdict:
    """The result of a label check on n rows, in their order.

    Attributes:
        wrong: Whether each label is found wrong.
        predicted: The labels that students predict: the new ones if rows are relabelled.
        spared: Labels whose rows would all have been found wrong. A label cannot be learnt without
            rows, so none of these is called wrong, and the user should be warned.
    """

    wrong: tuple[bool, ...]
    predicted: tuple[str, ...]
    spared: tuple[str, ...]


def split_by_texts(rows: Dataset) -> tuple[Dataset, Dataset]:
    """Return the rows whose label has two texts or more, and those whose label has one.

    Those with one cannot be held out: the others say nothing of their label.
    """
    texts = Counter(label for _, label in {(row_digest(row), str(row.label)) for row in rows})
    parts: tuple[list[Example], list[Example]] = ([], [])
    for row in rows:
        parts[isinstance(row.label, str) and texts[row.label] == 1].append(row)
    return Dataset(parts[0]), Dataset(parts[1])


def out_of_fold(
    rows: Dataset, fit_predict: FitPredict, *, rng: Random, always: Dataset = EMPTY
) -> Predictions:
    """Return out-of-fold predictions: a row is predicted by a student trained without it.

    Rows with the same normalised text and context are in the same fold. Folds have the label
    distribution of all rows.

    Args:
        rows: n labelled rows.
        fit_predict: Called once per fold, of which there are `FOLDS`.
        rng: Determines the folds.
        always: Rows that every student learns from: see `split_by_texts`.

    Returns:
        n predictions, in the order of the rows: (n_rows, n_labels).

    Raises:
        ConfigError: The rows are questions, whose labels are answers.
        TooFewRowsError: There is no row, or a label has one text only: the student that predicts
            it would know nothing of the label.
    """
    if not rows:
        raise TooFewRowsError("there is no row to check")
    fold_of = np.array(_divide(rows, rng), dtype=np.int64)
    names: tuple[str, ...] = ()
    probabilities: Floats = np.zeros((0, 0))
    for fold in np.unique(fold_of):
        held_out = np.flatnonzero(fold_of == fold)
        train = Dataset(rows[int(i)] for i in np.flatnonzero(fold_of != fold))
        said = fit_predict(union(train, always), Dataset(rows[int(i)] for i in held_out))
        if not names:
            names = said.label_names
            probabilities = np.zeros((len(rows), len(names)))
        probabilities[held_out] = said.probabilities
    return Predictions(names, probabilities)


def _divide(rows: Dataset, rng: Random) -> list[int]:
    """Return the fold of each row: a text goes where the rarest of its labels is rarest so far."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if not isinstance(row.label, str):
            raise ConfigError(
                "rows whose labels are answers cannot be told apart by students",
                hint="set curation.check to llm or none",
            )
        groups[row_digest(row)].append(i)
    labels_of = {key: {str(rows[i].label) for i in group} for key, group in groups.items()}
    texts = Counter(label for labels in labels_of.values() for label in labels)
    if scarce := sorted(label for label, count in texts.items() if count < 2):
        raise TooFewRowsError(
            f"label check: the label {', '.join(map(repr, scarce))} has one text only; a "
            "student that has not seen it would know nothing of the label",
            hint="ask for more rows, or set curation.check to llm or none",
        )
    chosen = [0] * len(rows)
    held: list[Counter[str]] = [Counter() for _ in range(FOLDS)]
    for key in rng.sample(list(groups), len(groups)):
        labels = labels_of[key]
        rarest = min(labels, key=lambda label: (texts[label], label))
        fold = min(range(FOLDS), key=lambda f: (held[f][rarest], held[f].total()))
        held[fold].update(labels)
        for i in groups[key]:
            chosen[i] = fold
    return chosen


def disagree(rows: Dataset, predictions: Predictions) -> Verdict:
    """Find rows whose label differs from the predicted one (ReGen's consistency filter).

    Args:
        rows: n labelled rows.
        predictions: Predictions by students that have not seen the row: see `out_of_fold`.

    Raises:
        TooFewRowsError: Every row is found wrong.
    """
    return _judge(rows, predictions, map(ne, rows.labels, predictions.labels))


def flag_confident(rows: Dataset, predictions: Predictions) -> Verdict:
    """Find wrong labels by confident learning, pruning by noise rate.

    The confident joint counts rows labelled i that are confidently j: their probability of j is at
    least the mean over rows labelled j. It estimates how many rows labelled i are really j. That
    many are found wrong: those with the largest margin between p_j and p_i.

    Departure: a row whose label is its most probable one is never found wrong.

    Args:
        rows: n labelled rows.
        predictions: Predictions by students that have not seen the row: see `out_of_fold`.

    Raises:
        TooFewRowsError: Every row is found wrong.

    Paper:
        Northcutt et al. 2021, equations 1-3 (section 3.1) and "prune by noise rate" (3.2).
    """
    column = {label: i for i, label in enumerate(predictions.label_names)}
    given = np.array([column[label] for label in rows.labels], dtype=np.int64)
    p = predictions.probabilities
    expected = _calibrate(count_confident(given, p), np.bincount(given, minlength=len(column)))
    wrong: Flags = np.zeros(len(rows), dtype=np.bool_)
    for i, j in zip(*np.nonzero(expected), strict=True):
        if i != j:
            own = np.flatnonzero(given == i)
            margin = p[own, j] - p[own, i]
            wrong[own[np.argsort(-margin, kind="stable")[: expected[i, j]]]] = True
    if len(rows):
        wrong &= p.argmax(axis=1) != given
    return _judge(rows, predictions, wrong.tolist())


def knows_something(said: Predictions, gold: Dataset) -> bool:
    """Return whether out-of-fold predictions beat the commonest label by one standard error."""
    n = len(gold)
    right = sum(a == b for a, b in zip(said.labels, gold.labels, strict=True)) / n
    commonest = max(gold.label_counts().values()) / n
    return right > commonest + sqrt(right * (1 - right) / n)


def count_confident(given: Ints, probabilities: Floats) -> Ints:
    """Return the confident joint C: (n_labels, n_labels), given label by confident label.

    Args:
        given: (n_rows,) columns of the given labels.
        probabilities: (n_rows, n_labels).

    Paper:
        Equation 1. The thresholds t_j of equation 2 are mean probabilities of j over the rows
        labelled j. A row above several thresholds counts for the most probable of these labels.
    """
    n_labels = probabilities.shape[1]
    thresholds = np.array(
        [
            probabilities[given == j, j].mean() if (given == j).any() else np.inf
            for j in range(n_labels)
        ]
    )
    # Equal probabilities must reach their mean in spite of rounding.
    reached = np.where(probabilities >= thresholds - 1e-9, probabilities, -1.0)
    is_sure = reached.max(axis=1, initial=-1.0) >= 0
    joint = np.zeros((n_labels, n_labels), dtype=np.int64)
    if is_sure.any():
        np.add.at(joint, (given[is_sure], reached[is_sure].argmax(axis=1)), 1)
    return joint


def _calibrate(joint: Ints, totals: Ints) -> Ints:
    """Return the estimated counts of rows labelled i and really j: n times Q (equation 3)."""
    sums = joint.sum(axis=1, keepdims=True)
    return np.rint(joint / np.maximum(sums, 1) * totals[:, None]).astype(np.int64)


def _judge(rows: Dataset, predictions: Predictions, wrong: Iterable[bool]) -> Verdict:
    flags = list(wrong)
    right = {label for label, is_wrong in zip(rows.labels, flags, strict=True) if not is_wrong}
    if rows and not right:
        raise TooFewRowsError(
            f"label check: the label of every one of {len(rows)} rows is found wrong",
            hint="the student has learnt nothing from them, or the prompts ask for other labels "
            "than the task has; look at the rows, or set curation.check to none",
        )
    present = set(rows.labels)
    spared = tuple(name for name in predictions.label_names if name in present - right)
    return Verdict(
        wrong=tuple(
            is_wrong and label in right for label, is_wrong in zip(rows.labels, flags, strict=True)
        ),
        predicted=tuple(predictions.labels),
        spared=spared,
    )
