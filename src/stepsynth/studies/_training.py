"""Training of a run's student as in the run, for studies that need further models."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from stepsynth.metrics import SCORE_NAMES, AnyPredictions
from stepsynth.records import Dataset
from stepsynth.students import FitCallbacks, StudentFactory
from stepsynth.studies._studied_run import StudiedRun


def score_name(subject: StudiedRun) -> str:
    """Return the score of the paper's tables: accuracy, or exact match for questions."""
    if subject.rounds:
        return next(name for name in SCORE_NAMES if name in subject.rounds[0].metrics.select)
    return "accuracy" if subject.task.label_names else "exact_match"


def make_factory(subject: StudiedRun, memory: Path | None = None) -> StudentFactory:
    """Return the factory of a run's students: the same specification, labels, seed and `select`.

    Args:
        subject: A run, or a file with the student of its task file.
        memory: Folder of fitted students, to reuse and to add to.
    """
    task, select = subject.task, subject.select

    factory = StudentFactory(
        subject.config.student,
        task.label_names,
        subject.config.random_seed,
        memory,
        FitCallbacks(select, partial(task.main_score, select)),
    )
    # The run's configuration holds what a search found: no search is made here.
    factory.found = {"values": {}}
    return factory


def score_rows(
    subject: StudiedRun, rows: Dataset, predict: Callable[[Dataset], AnyPredictions]
) -> float:
    """Return the score (`score_name`) of a model on labelled rows, 0-1."""
    scores: Mapping[str, float] = subject.task.score(rows, predict(rows))
    return float(scores[score_name(subject)])
