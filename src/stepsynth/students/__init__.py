"""Students (small models), one per file: fitted on a data set, then used for predictions."""

from stepsynth.students._encoder import need, quiet
from stepsynth.students._factory import FreshStudent, StudentFactory
from stepsynth.students._head import HeadStudent, fit_head, predict_head, to_predictions
from stepsynth.students._presets import PRESETS
from stepsynth.students._speed import time_predictions
from stepsynth.students._student import (
    NO_CALLBACKS,
    STUDENT_FILE,
    FitCallbacks,
    Student,
    Weights,
    load_student,
    students,
)
from stepsynth.students._windows import find_spans, make_windows

__all__ = [
    "NO_CALLBACKS",
    "PRESETS",
    "STUDENT_FILE",
    "FitCallbacks",
    "FreshStudent",
    "HeadStudent",
    "Student",
    "StudentFactory",
    "Weights",
    "find_spans",
    "fit_head",
    "load_student",
    "make_windows",
    "need",
    "predict_head",
    "quiet",
    "students",
    "time_predictions",
    "to_predictions",
]
