"""Offsets of the labels that undo the balance a model learnt from synthetic rows.

A model of synthetic rows may tell labels apart and yet give one of them nearly always. Alexandari
et al., "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift
Adaptation", ICML 2020, add to each label's log-probability what makes the log loss on held-out rows
least (BCTS).

Departure: for rare labels that trades macro-F1 for accuracy, so by default none, half or all of the
offsets are added, as the main score on the held-out rows says, and none where the gain is not
clear.
"""

from typing import Literal

import numpy as np

from stepsynth.methods._method import Setup
from stepsynth.metrics import Floats, Predictions, calibrating_offsets, hits_error
from stepsynth.records import Dataset

SHARES = (0.0, 0.5, 1.0)
"""Shares of the offsets that are tried."""

Balance = Literal["auto", "always", "never"]


def balance_labels(gold: Dataset, said: Predictions, setup: Setup, *, balance: Balance) -> Floats:
    """Return what to add to the log-probability of each label: (n_labels,), 0 where nothing.

    A gain in the main score is clear beyond one standard error of the paired difference in
    accuracy.

    Args:
        gold: n rows.
        said: What models that have not seen them say of them.
        setup: Its task scores.
        balance: Whether all offsets are added, or none, whatever they bring.
    """
    if balance == "never":
        return np.zeros(len(said.label_names))
    offsets = calibrating_offsets(gold.labels, said)
    if balance == "always":
        return offsets
    tried = [said.offset(share * offsets) for share in SHARES]
    scores = [setup.task.main_score(gold, each) for each in tried]
    best = int(np.argmax(scores))
    is_clear = scores[best] - scores[0] > hits_error(gold.labels, tried[best], said)
    return (SHARES[best] if is_clear else 0.0) * offsets
