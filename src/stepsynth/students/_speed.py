"""How long predictions take."""

import time
from collections.abc import Sequence

from stepsynth.records import Example
from stepsynth.students._student import Student

PASSES = 3
"""The fastest counts: others shared the machine with something else."""


def time_predictions(student: Student, examples: Sequence[Example]) -> float:
    """Return the milliseconds that 1,000 predictions take on this machine, asked for together.

    Args:
        student: A freshly loaded one: it caches nothing. What it loads when it is first asked is
            not counted.
        examples: n rows, at least one.
    """
    student.predict_examples(examples[:1])
    took: list[float] = []
    for _ in range(PASSES):
        began = time.perf_counter()
        student.predict_examples(examples)
        took.append(time.perf_counter() - began)
    return 1e6 * min(took) / len(examples)
