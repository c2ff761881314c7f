"""Dry runs with stand-ins: the requests, the cost and the likely problems of a run."""

from stepsynth.dryrun.audit import Doubt, audit
from stepsynth.dryrun.count import NOT_ROWS, NoBackend, RehearsedLLM, Scale, without_early_stop
from stepsynth.dryrun.foresight import PromptSizes, foresee, measure_prompts, small_bounds
from stepsynth.dryrun.lengths import fit_task, text_tokens
from stepsynth.dryrun.plan import (
    COUNTED,
    Phase,
    Plan,
    Range,
    is_free,
    make_plan,
)
from stepsynth.dryrun.stubs import (
    LIST_KINDS,
    MARK,
    PretendFactory,
    PretendIndex,
    PretendStudent,
    StubLLM,
    count_tokens,
)
from stepsynth.dryrun.window import check_window

__all__ = [
    "COUNTED",
    "LIST_KINDS",
    "MARK",
    "NOT_ROWS",
    "Doubt",
    "NoBackend",
    "Phase",
    "Plan",
    "PretendFactory",
    "PretendIndex",
    "PretendStudent",
    "PromptSizes",
    "Range",
    "RehearsedLLM",
    "Scale",
    "StubLLM",
    "audit",
    "check_window",
    "count_tokens",
    "fit_task",
    "foresee",
    "is_free",
    "make_plan",
    "measure_prompts",
    "small_bounds",
    "text_tokens",
    "without_early_stop",
]
