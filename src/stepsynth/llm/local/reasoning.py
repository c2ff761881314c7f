"""What a reasoning model thinks aloud is no part of its answer."""

from stepsynth._util.reasoning import split_reasoning


def cut_thoughts(text: str) -> tuple[str, int]:
    """Return the answer of a completion, and how many characters before it are thoughts."""
    said = split_reasoning(text)
    return said.answer, said.start
