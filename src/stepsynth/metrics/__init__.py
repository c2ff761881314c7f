"""Metrics of predictions and of texts, independent of tasks and students."""

from stepsynth.metrics.bootstrap import (
    Interval,
    bootstrap_f1,
    bootstrap_mean,
    f1_interval,
    mean_interval,
)
from stepsynth.metrics.calibration import (
    CALIBRATION_FILE,
    Abstention,
    Calibration,
    calibrate,
    calibrate_on,
    calibrating_offsets,
    refinement_losses,
)
from stepsynth.metrics.coverage import covered_share, nearest_distances
from stepsynth.metrics.diversity import (
    SelfBleu,
    cosine_kernel,
    count_ngrams,
    distinct_n,
    entropy,
    gradient_kernel,
    self_bleu,
    tokenise,
    vendi_score,
)
from stepsynth.metrics.mauve import mauve
from stepsynth.metrics.multi_label import (
    THRESHOLD,
    MultiLabelPredictions,
    always,
    certain,
    fit_thresholds,
    membership,
    names_in,
    score_multi_label,
)
from stepsynth.metrics.scoring import (
    Flags,
    Floats,
    Ints,
    Predictions,
    fit_offsets,
    hits_error,
    one_hot,
    score_by_label,
    score_classification,
    softmax,
    tuned_accuracy,
)
from stepsynth.metrics.spans import Spans, exact_match, score_spans, token_f1
from stepsynth.metrics.two_sample import Z95, tell_apart, wilson_interval

AnyPredictions = Predictions | MultiLabelPredictions | Spans
"""The predictions of a student: probabilities of one label or of each, or answers."""

SCORE_NAMES = {
    "accuracy": ("accuracy", "acc."),
    "micro_f1": ("micro-F1", "micro"),
    "macro_f1": ("macro-F1", "F1"),
    "exact_match": ("exact match", "EM"),
    "f1": ("F1", "F1"),
}
"""Score shown in tables -> its long and short name; a run has some of them."""

__all__ = [
    "CALIBRATION_FILE",
    "SCORE_NAMES",
    "THRESHOLD",
    "Z95",
    "Abstention",
    "AnyPredictions",
    "Calibration",
    "Flags",
    "Floats",
    "Interval",
    "Ints",
    "MultiLabelPredictions",
    "Predictions",
    "SelfBleu",
    "Spans",
    "always",
    "bootstrap_f1",
    "bootstrap_mean",
    "calibrate",
    "calibrate_on",
    "calibrating_offsets",
    "certain",
    "cosine_kernel",
    "count_ngrams",
    "covered_share",
    "distinct_n",
    "entropy",
    "exact_match",
    "f1_interval",
    "fit_offsets",
    "fit_thresholds",
    "gradient_kernel",
    "hits_error",
    "mauve",
    "mean_interval",
    "membership",
    "names_in",
    "nearest_distances",
    "one_hot",
    "refinement_losses",
    "score_by_label",
    "score_classification",
    "score_multi_label",
    "score_spans",
    "self_bleu",
    "softmax",
    "tell_apart",
    "token_f1",
    "tokenise",
    "tuned_accuracy",
    "vendi_score",
    "wilson_interval",
]
