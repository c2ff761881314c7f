"""One run, from a task file to a data set, a trained student and a run folder."""

from stepsynth.runner.equal_budget import EqualBudget, Kind
from stepsynth.runner.open_llm import open_llm
from stepsynth.runner.references import against_references, label_table
from stepsynth.runner.runner import Runner, stop_reason
from stepsynth.runner.setup import Progress, make_setup
from stepsynth.runner.totals import by_cause, retried_by_cause
from stepsynth.runner.usage import CountedLLM, compare_with_plan

__all__ = [
    "CountedLLM",
    "EqualBudget",
    "Kind",
    "Progress",
    "Runner",
    "against_references",
    "by_cause",
    "compare_with_plan",
    "label_table",
    "make_setup",
    "open_llm",
    "retried_by_cause",
    "stop_reason",
]
