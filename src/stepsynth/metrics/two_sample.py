"""The classifier two-sample test: how well a classifier tells two sets of texts apart.

Lopez-Paz and Oquab: "Revisiting Classifier Two-Sample Tests", ICLR 2017. A logistic regression is
trained on half of the rows to predict the set of a row, and scored on the other half. 0.5 is
chance, and 1 is perfect separation. A difference that the features do not show is not found.

There is one split, as in the paper, and no cross-validation: scores of folds that share their
training rows are not independent. Intervals that ignore this were found to miss 0.5 in a fifth of
the cases where both sets are alike; 95 % intervals should miss it in a twentieth.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from stepsynth.metrics.scoring import Floats

Interval = tuple[float, float]

Z95 = 1.959963984540054
"""Half-width of a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class TwoSample:
    """The result of a two-sample test.

    Attributes:
        auc: Area under the ROC curve of the scores of held-out rows, 0-1.
        auc_interval: Its 95 % interval, by DeLong's variance; where that is 0 as no row is out of
            order, Wilson's for as many rows as the smaller set has.
        accuracy: Share of held-out rows whose set is predicted correctly, 0-1.
        n: Held-out rows of both sets.
    """

    auc: float
    auc_interval: Interval
    accuracy: float
    n: int


def tell_apart(p: Any, q: Any, *, random_seed: int) -> TwoSample:
    """Return how well a logistic regression tells two sets apart, on rows that it has not seen.

    Args:
        p: (n, d), dense or sparse, n >= 4.
        q: (m, d), the same kind; give as many rows as p has, so that 0.5 is chance. No row may
            occur twice in its set: its copy in the other half would be known by heart.
        random_seed: Determines the rows to train on.
    """
    from scipy.sparse import issparse, vstack
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    rows: Any = vstack([p, q], format="csr") if issparse(p) else np.vstack([p, q])
    side = np.repeat([1, 0], [p.shape[0], q.shape[0]])
    known, held = train_test_split(
        np.arange(len(side)), test_size=0.5, stratify=side, random_state=random_seed
    )
    model = LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced")
    model.fit(rows[known], side[known])
    scores, truth = np.asarray(model.decision_function(rows[held])), side[held]
    auc, error = auc_with_error(scores[truth == 1], scores[truth == 0])
    low, high = max(0.0, auc - Z95 * error), min(1.0, auc + Z95 * error)
    if auc in (0.0, 1.0):
        fewer = min(int(truth.sum()), int((truth == 0).sum()))
        ends = wilson_interval(round(auc) * fewer, fewer)
        low, high = min(low, ends[0]), max(high, ends[1])
    hits = int(((scores > 0) == (truth == 1)).sum())
    return TwoSample(
        auc=auc,
        auc_interval=(low, high),
        accuracy=hits / len(held),
        n=len(held),
    )


def auc_with_error(positive: Floats, negative: Floats) -> tuple[float, float]:
    """Return the AUC of scores and its standard error.

    Args:
        positive: (n,) scores that should be high.
        negative: (m,) scores that should be low.

    Source: DeLong, DeLong, Clarke-Pearson, Biometrics 1988.
    """
    from scipy.stats import rankdata

    n, m = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))
    above = (ranks[:n] - rankdata(positive)) / m  # share of negatives below each positive
    below = 1 - (ranks[n:] - rankdata(negative)) / n
    error = sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m)
    return float(above.mean()), error


def wilson_interval(hits: int, n: int) -> Interval:
    """Return the 95 % interval of a share, by Wilson; (0, 1) if n is 0."""
    if n == 0:
        return 0.0, 1.0
    share, square = hits / n, Z95 * Z95 / n
    middle = (share + square / 2) / (1 + square)
    reach = Z95 * sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return max(0.0, middle - reach), min(1.0, middle + reach)
