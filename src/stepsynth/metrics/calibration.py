"""Probabilities that mean what they say: temperature scaling, and when to abstain.

Guo et al.: "On Calibration of Modern Neural Networks", ICML 2017: all log-probabilities are divided
by one number, chosen on held-out rows. No predicted label changes.

Berta et al.: "Rethinking Early Stopping: Refine, Then Calibrate", 2025: what is left of the loss
after calibration says how well a model tells labels apart, however sure it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from stepsynth.metrics.scoring import Floats, Predictions, log_probabilities, softmax
from stepsynth.metrics.two_sample import wilson_interval
from stepsynth.records import Example

CALIBRATION_FILE = "calibration.json"
FEWEST_ROWS = 20
"""Fewest held-out rows that a temperature is chosen on."""
BINS = 10
LOG_TEMPERATURES = (-3.0, 3.0)
OFFSETS = (-5.0, 5.0)
"""Bounds of what is added to the log-probability of a label."""


@dataclass(frozen=True)
class Abstention:
    """A threshold under which no label is given.

    Attributes:
        threshold: Least probability of a label that is given.
        precision: Share of right labels among those given on the held-out rows.
        low: Lower end of its 95 % interval (Wilson).
        high: Upper end.
        coverage: Share of the held-out rows that get a label.
    """

    threshold: float
    precision: float
    low: float
    high: float
    coverage: float


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the held-out rows that it was chosen on.

    Attributes:
        temperature: What log-probabilities are divided by; above 1: the model was too sure.
        error_before: Expected calibration error on the held-out rows, 0-1, as the model said.
        error_after: The same with the temperature.
        held_out: Calibrated probability of the predicted label, and whether it is right, by row.
    """

    temperature: float
    error_before: float
    error_after: float
    held_out: tuple[tuple[float, bool], ...]

    def apply(self, predictions: Predictions) -> Predictions:
        """Return calibrated predictions, with the same labels."""
        return Predictions(
            predictions.label_names, scaled(predictions.probabilities, self.temperature)
        )

    def abstain_for(self, precision: float) -> Abstention | None:
        """Return the lowest threshold with that precision on the held-out rows; None: none has it.

        Args:
            precision: Wanted share of right labels, 0-1.
        """
        ordered = sorted(self.held_out, reverse=True)
        right = np.cumsum([hit for _, hit in ordered])
        found = None
        for i, (sure, _) in enumerate(ordered):
            is_last_of_equals = i + 1 == len(ordered) or ordered[i + 1][0] < sure
            share = float(right[i]) / (i + 1)
            if is_last_of_equals and share >= precision:
                low, high = wilson_interval(int(right[i]), i + 1)
                found = Abstention(sure, share, low, high, (i + 1) / len(ordered))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"format": 1, **asdict(self)}

    @classmethod
    def read(cls, folder: Path) -> "Calibration | None":
        """Return the calibration beside a saved model; None: there is none, or it is damaged."""
        try:
            return TypeAdapter(cls).validate_json((folder / CALIBRATION_FILE).read_bytes())
        except (OSError, ValueError):
            return None


def calibrate_on(
    select: Sequence[Example], said: object, train: Iterable[Example]
) -> Calibration | None:
    """Return the calibration by `select`; None: a row of it was trained on, or see `calibrate`.

    Args:
        select: n rows.
        said: n predictions; only those of labels are calibrated.
        train: The rows that the model was trained on.
    """
    held_out = {(row.text, row.context) for row in select}
    if not isinstance(said, Predictions) or any((r.text, r.context) in held_out for r in train):
        return None
    return calibrate([str(row.label) for row in select], said)


def calibrate(gold: Sequence[str], predictions: Predictions) -> Calibration | None:
    """Return the calibration with the least log loss on held-out rows; None: they are too few.

    Args:
        gold: n labels of rows that the model was not trained on.
        predictions: n predictions.
    """
    from scipy.optimize import minimize_scalar

    if len(gold) < FEWEST_ROWS:
        return None
    logs, targets = log_probabilities(predictions.probabilities), _targets(gold, predictions)

    def loss(log_temperature: float) -> float:
        said = _log_softmax(logs / np.exp(log_temperature))
        return float(-(targets * said).sum(axis=1).mean())

    best: Any = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    temperature = round(float(np.exp(best.x)), 6)
    after = scaled(predictions.probabilities, temperature)
    hits = predictions.hits(gold)
    return Calibration(
        temperature,
        calibration_error(predictions.probabilities.max(axis=1), hits),
        calibration_error(after.max(axis=1), hits),
        tuple(zip(after.max(axis=1).tolist(), hits.tolist(), strict=True)),
    )


def refinement_losses(gold: Sequence[str], predictions: Predictions) -> Floats:
    """Return the log loss of each held-out row after calibration on these rows: (n,).

    A temperature and an offset for each label are fitted, so that models compare which differ in
    how sure they are, or in the balance of the labels they were trained on. Labels count as
    certain as in `calibrate`, so that the loss stays finite.

    Args:
        gold: n labels of rows that the model was not trained on.
        predictions: n predictions.
    """
    logs, targets = log_probabilities(predictions.probabilities), _targets(gold, predictions)
    return -(targets * _calibrated(logs, _fit_calibration(logs, targets))).sum(axis=1)


def calibrating_offsets(gold: Sequence[str], predictions: Predictions) -> Floats:
    """Return what to add to the log-probability of each label so that log loss is least.

    Beside a temperature, as in `refinement_losses`; but it changes no label, so that the offsets
    are those of log-probabilities as they are.

    Args:
        gold: n labels of rows that the model was not trained on.
        predictions: n predictions.

    Returns:
        (n_labels,) offsets; the first is 0.
    """
    logs, targets = log_probabilities(predictions.probabilities), _targets(gold, predictions)
    log_temperature, *offsets = _fit_calibration(logs, targets)
    return np.append(0.0, offsets) * np.exp(log_temperature)


def _fit_calibration(logs: Floats, targets: Floats) -> Floats:
    """Return the logarithm of a temperature, and the offset of each label but the first."""
    from scipy.optimize import minimize

    def loss(values: Floats) -> tuple[float, Floats]:
        said = _calibrated(logs, values)
        slopes = (np.exp(said) - targets) / len(logs)
        by_temperature = -(slopes * logs).sum() / np.exp(values[0])
        return float(-(targets * said).sum() / len(logs)), np.array(
            [by_temperature, *slopes.sum(axis=0)[1:]]
        )

    bounds = [LOG_TEMPERATURES, *[OFFSETS] * (logs.shape[1] - 1)]
    found: Any = minimize(loss, np.zeros(len(bounds)), jac=True, bounds=bounds)
    return found.x


def _calibrated(logs: Floats, values: Floats) -> Floats:
    """Return log-probabilities with a temperature and offsets: (n_rows, n_labels)."""
    return _log_softmax(logs / np.exp(values[0]) + np.append(0.0, values[1:]))


def _targets(gold: Sequence[str], predictions: Predictions) -> Floats:
    """Return the probability that each label should have: (n_rows, n_labels)."""
    column = {name: i for i, name in enumerate(predictions.label_names)}
    # As Platt has it: of n rows that are all right, one in n + 2 may yet be wrong.
    doubt = 1 / (len(gold) + 2)
    found = np.full(predictions.probabilities.shape, doubt / max(1, len(column) - 1))
    found[np.arange(len(gold)), [column[label] for label in gold]] = 1 - doubt
    return found


def _log_softmax(scores: Floats) -> Floats:
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def scaled(probabilities: Floats, temperature: float) -> Floats:
    """Return probabilities whose logarithms are divided by a temperature: (n_rows, n_labels)."""
    return softmax(log_probabilities(probabilities) / temperature)


def calibration_error(sure: Floats, hits: Any) -> float:
    """Return the expected calibration error, over ten bins of equal width.

    Args:
        sure: (n,) probability of the predicted label.
        hits: (n,) whether it is right.
    """
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    error = 0.0
    for number in np.unique(bins):
        own = bins == number
        error += own.mean() * abs(hits[own].mean() - sure[own].mean())
    return float(error)
