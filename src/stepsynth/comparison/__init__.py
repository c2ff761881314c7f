"""Comparison of methods at equal cost: its plan, runs, results and table."""

from stepsynth.comparison.plan import Plan, PlannedRun, make_plan, split_names
from stepsynth.comparison.read import RunRow
from stepsynth.comparison.run import Ended, Outcome, Silence, Watcher, run_plan
from stepsynth.comparison.speed import measure_speed
from stepsynth.comparison.table import Comparison, MethodRow, make_table
from stepsynth.comparison.two_runs import RowChanges, TwoRuns, compare_two

__all__ = [
    "Comparison",
    "Ended",
    "MethodRow",
    "Outcome",
    "Plan",
    "PlannedRun",
    "RowChanges",
    "RunRow",
    "Silence",
    "TwoRuns",
    "Watcher",
    "compare_two",
    "make_plan",
    "make_table",
    "measure_speed",
    "run_plan",
    "split_names",
]
