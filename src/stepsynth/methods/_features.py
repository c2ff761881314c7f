"""Features of rows that are independent of labels, as input of a last layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stepsynth.records import Dataset
from stepsynth.students import HeadStudent, Student


def features_of(rows: Dataset, student: Student | None, label_names: Sequence[str]) -> Any:
    """Return the features of rows with a column of ones: (n, d), dense or sparse.

    They are the student's own if training does not change them: n-grams of `linear`, vectors of
    `embedding` and `static`. Otherwise they are n-grams of a separate `linear`: a fine-tuned
    network has learnt its features from the very labels in doubt.

    Args:
        rows: n rows.
        student: A student fitted on them, or None.
        label_names: The labels of the task.
    """
    from scipy.sparse import csr_matrix, hstack, issparse

    from stepsynth.students.linear import Linear

    if not isinstance(student, HeadStudent) or not student.has_fixed_features:
        student = Linear().start(label_names, 0)
        student.learn_features(rows)
    found, ones = student.features(rows), np.ones((len(rows), 1))
    if issparse(found):
        return hstack([found, csr_matrix(ones)], format="csr").astype(np.float64)
    return np.hstack([np.asarray(found, dtype=np.float64), ones])
