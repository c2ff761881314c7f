"""Ways to synthesise a training set, one file each; a file reads like its paper."""

from stepsynth.methods._cleaning import MIN_WORDS
from stepsynth.methods._method import Journal, Method, Model, Round, Setup, Unused, methods
from stepsynth.methods._purse import Purse
from stepsynth.methods._training import Preparation, run_method
from stepsynth.methods._written import count_by_reason

__all__ = [
    "MIN_WORDS",
    "Journal",
    "Method",
    "Model",
    "Preparation",
    "Purse",
    "Round",
    "Setup",
    "Unused",
    "count_by_reason",
    "methods",
    "run_method",
]
