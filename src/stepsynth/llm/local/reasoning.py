"""Removal of a reasoning model's thoughts, which are no part of its answer."""

from stepsynth._util.reasoning import split_reasoning


def cut_thoughts(text: str) -> tuple[str, int]:
    """Return the answer in a completion, and the characters of thoughts before it."""
    said = split_reasoning(text)
    return said.answer, said.start
