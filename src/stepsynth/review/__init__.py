"""A person's review of a run: decisions on its rows, and their use."""

from stepsynth.review.apply import apply_review
from stepsynth.review.decisions import Decision, History, Version, read_review
from stepsynth.review.log import ReviewLog

__all__ = ["Decision", "History", "ReviewLog", "Version", "apply_review", "read_review"]
