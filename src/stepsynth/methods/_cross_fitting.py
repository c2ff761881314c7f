"""Models of gold and synthetic rows that have not seen the gold row they predict.

Plausibility: Kuo et al., "Not All LLM-Generated Data Are Equal: Rethinking Data Weighting in Text
Classification", ICLR 2025. IMP weights a synthetic row by the probability that a model of real rows
gives its label, relative to what is usual among synthetic rows.

The weight of synthetic rows is the largest whose loss on held-out gold is within one standard error
of the least (Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3, have the
simplest tree): a few gold rows alone cannot rule out rows that help. Losses are those after
calibration, as rows of another label balance would else seem to harm.

Departures:
    - The model of real rows that weights an extrapolated row has not seen the row's gold parent.
    - Weights are clipped, and not used where that model is no better than the commonest label.
    - A gold row whose label no other gold text has is in every training set and never held out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from stepsynth.curation import knows_something, out_of_fold, split_by_texts
from stepsynth.methods._label_balance import Balance, balance_labels
from stepsynth.methods._method import Setup
from stepsynth.methods._writer import misclassified, missed_by
from stepsynth.metrics import Floats, Predictions, refinement_losses
from stepsynth.records import Dataset

SYNTHETIC_WEIGHTS = (0.0, 0.1, 0.3, 1.0)
"""Weights of a synthetic row beside a gold row that cross-validation chooses from."""

PLAUSIBLE = (0.1, 3.0)
"""Bounds of a plausibility weight."""


@dataclass(frozen=True)
class CrossFit:
    """What models of gold and synthetic rows say of the gold rows that they have not seen.

    Attributes:
        weights: Of each synthetic row beside a gold row; all 0 if gold alone is clearly best.
        missed: Gold rows of `mine` that are predicted wrong.
        predicted: The prediction for each of them.
        gold: n gold rows of `mine` that were held out: those whose label has two texts or more.
        predictions: (n, n_labels); None where there are too few gold rows to hold some out.
        alone: Likewise, of models of gold rows alone.
        offsets: (n_labels,) what was added to log-probabilities in `predictions`, if there are any.
        offsets_alone: Likewise, in `alone`.
        tried: The mean loss on the gold rows of each weight that was tried.
    """

    weights: tuple[float, ...]
    missed: Dataset
    predicted: tuple[str, ...]
    gold: Dataset = field(default_factory=Dataset)
    predictions: Predictions | None = None
    alone: Predictions | None = None
    offsets: Floats | None = None
    offsets_alone: Floats | None = None
    tried: Mapping[float, float] = field(default_factory=dict)


def cross_fit(
    rows: Dataset,
    setup: Setup,
    *,
    weights: Sequence[float],
    weigh_plausibility: bool,
    balance: Balance,
) -> CrossFit:
    """Choose the weight of synthetic rows by cross-validation on the gold rows of `mine`.

    Args:
        rows: Synthetic rows. One that was written from a gold row is held out with it.
        setup: Its student is fitted on five folds for each weight.
        weights: Candidates; the largest within one standard error of the best is chosen. With too
            few gold rows to choose by, it is the only one, or else 1.
        weigh_plausibility: Also weight each row by its plausibility.
        balance: When offsets are added to the labels' log-probabilities.
    """
    gold, _ = split_by_texts(setup.mine)
    if len(set(gold.labels)) < 2:
        weight = weights[0] if len(weights) == 1 else 1.0
        said = "all rows weigh the same" if weight == 1 else f"synthetic rows weigh {weight:g}"
        setup.warn(f"too few gold rows for cross-validation: {said}")
        model = setup.student.judge()
        model.fit(rows)
        return CrossFit((weight,) * len(rows), *misclassified(model, setup.mine, setup))
    alone, plausibility = predict_by_gold(rows, setup)
    if not weigh_plausibility:
        plausibility = [1.0] * len(rows)
    said_with = {
        weight: _predict_gold(rows, [weight * each for each in plausibility], setup)
        if weight
        else alone
        for weight in weights
    }
    losses = {weight: refinement_losses(gold.labels, said) for weight, said in said_with.items()}
    weight = largest_within_one_se(losses)
    said, given = said_with[weight], tuple(weight * each for each in plausibility)
    tried = {weight: float(each.mean()) for weight, each in losses.items()}
    offsets, offsets_alone = (
        balance_labels(gold, each, setup, balance=balance) for each in (said, alone)
    )
    said, alone = said.offset(offsets), alone.offset(offsets_alone)
    missed = missed_by(said, gold, setup)
    return CrossFit(given, *missed, gold, said, alone, offsets, offsets_alone, tried)


def _predict_gold(rows: Dataset, weights: Sequence[float], setup: Setup) -> Predictions:
    gold, always = split_by_texts(setup.mine)

    def fit_predict(train: Dataset, held_out: Dataset) -> Predictions:
        hidden = {row.id for row in held_out}
        kept = [
            (row, weight)
            for row, weight in zip(rows, weights, strict=True)
            if weight and not hidden.intersection(row.provenance.parents)
        ]
        both = Dataset([*train, *(row for row, _ in kept)])
        each = [1.0] * len(train) + [weight for _, weight in kept]
        return setup.student.fit_predict(both, held_out, each)

    return out_of_fold(gold, fit_predict, rng=setup.rng("folds"), always=always)


def predict_by_gold(rows: Dataset, setup: Setup) -> tuple[Predictions, list[float]]:
    """Return what models of gold rows alone say of those that they have not seen, and of `rows`.

    Returns:
        (n_gold, n_labels) predictions for gold rows whose label has two texts or more, and the
        plausibility of each synthetic row: all 1 where the models know nothing.
    """
    gold, always = split_by_texts(setup.mine)
    total, counts = np.zeros(len(rows)), np.zeros(len(rows))

    def fit_predict(train: Dataset, held_out: Dataset) -> Predictions:
        model = setup.student.judge()
        model.fit(train)
        hidden = {row.id for row in held_out}
        # A model of the other folds has seen each parent that is not held out.
        parents = [row.provenance.parents for row in rows]
        fresh = np.array([not names or bool(hidden.intersection(names)) for names in parents], bool)
        said_rows, said = model.predict(rows), model.predict(held_out)
        assert isinstance(said_rows, Predictions)
        assert isinstance(said, Predictions)
        total[fresh] += said_rows.of(rows.labels)[fresh]
        counts[fresh] += 1
        return said

    found = out_of_fold(gold, fit_predict, rng=setup.rng("folds"), always=always)
    if not rows or not knows_something(found, gold):
        return found, [1.0] * len(rows)
    p = total / np.maximum(counts, 1)
    p[counts == 0] = p[counts > 0].mean() if (counts > 0).any() else 1.0
    return found, np.clip(p / p.mean(), *PLAUSIBLE).tolist()


def largest_within_one_se(losses: Mapping[float, Floats]) -> float:
    """Return the largest weight whose loss is within one standard error of the least.

    Args:
        losses: Weight -> losses of the same n rows; the error is of the paired difference.
    """
    best = min(losses.values(), key=np.mean)
    behind = {weight: each - best for weight, each in losses.items()}
    return max(w for w, gap in behind.items() if gap.mean() <= gap.std() / sqrt(len(gap)))
