"""Methods for synthesising a training set, one per file; each file reads like its paper.

The exports are the building blocks of a custom method: see `docs/own-method.md`.
"""

from stepsynth.methods._cleaning import MIN_WORDS
from stepsynth.methods._contexts import gather_contexts, in_passes
from stepsynth.methods._decide import decide_request, show_shot
from stepsynth.methods._drafts import draw_drafts
from stepsynth.methods._method import (
    Journal,
    Method,
    Model,
    Round,
    Setup,
    SynthesisMethod,
    Unused,
    WritingMethod,
    methods,
    texts_per_prompt,
)
from stepsynth.methods._reading import read_decision
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.methods._training import Preparation, run_method
from stepsynth.methods._writer import Writer, misclassified
from stepsynth.methods._written import RowRequest, Written, count_by_reason

__all__ = [
    "MIN_WORDS",
    "Journal",
    "Method",
    "Model",
    "Preparation",
    "Round",
    "RowRequest",
    "Setup",
    "SpendingLimit",
    "SynthesisMethod",
    "Unused",
    "Writer",
    "WritingMethod",
    "Written",
    "count_by_reason",
    "decide_request",
    "draw_drafts",
    "gather_contexts",
    "in_passes",
    "methods",
    "misclassified",
    "read_decision",
    "run_method",
    "show_shot",
    "texts_per_prompt",
]
