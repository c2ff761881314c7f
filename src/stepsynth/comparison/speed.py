"""How fast the students of a comparison predict: measured once for each method, then remembered."""

from typing import Any

from stepsynth._util.files import read_object, write_json
from stepsynth.comparison.plan import Plan, PlannedRun
from stepsynth.inputs import read_gold, split
from stepsynth.runfolder import RunFolder
from stepsynth.students import STUDENT_FILE, load_student, time_predictions
from stepsynth.taskfile import load_config

SPEED_FILE = "speed.json"
MOST_ROWS = 200
"""Most test rows that are predicted."""


def measure_speed(plan: Plan) -> None:
    """Time the kept student of each method that was not timed before, on its test rows."""
    known = read_speed(plan)
    for entry in plan.entries:
        done = [r for runs in plan.runs.values() for r in runs if r.entry == entry and r.is_done]
        with_student = [r for r in done if (RunFolder(r.folder).model / STUDENT_FILE).exists()]
        keys = {run.key for run in with_student}
        if not with_student or known.get(entry.name, {}).get("key") in keys:
            continue
        if (ms := _measure(with_student[0])) is not None:
            known[entry.name] = {"key": with_student[0].key, "ms": ms}
            write_json(plan.out / SPEED_FILE, known)


def read_speed(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return name of an entry -> `ms` for 1,000 predictions, and the `key` of the timed run."""
    try:
        found = read_object((plan.out / SPEED_FILE).read_bytes()) or {}
        return {name: {"key": str(of["key"]), "ms": float(of["ms"])} for name, of in found.items()}
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return {}


def _measure(run: PlannedRun) -> float | None:
    """Return milliseconds for 1,000 predictions; None: they cannot be measured.

    The runs are done: whatever fails here takes none of their results.
    """
    try:
        config = load_config(run.task, run.overrides)
        # The run itself has warned of what is wrong with gold.
        test = split(config, read_gold(config, lambda _: None), lambda _: None).test
        student = load_student(RunFolder(run.folder).model)
        return round(time_predictions(student, test[:MOST_ROWS]), 3)
    except Exception:
        return None
