"""Rows that are still to be written: a label, a context where the task has one, and no text."""

from collections.abc import Iterator

from stepsynth.methods._contexts import gather_contexts, in_passes
from stepsynth.methods._method import Setup
from stepsynth.methods._steps import Written
from stepsynth.records import Example


def draw_blanks(setup: Setup, size: int, written: Written, *, method: str) -> Iterator[Example]:
    """Return rows without text, without end, drawn as S3 draws those of its seed data.

    Labels are uniform, unless a context has one; no context comes twice before every one once.

    Args:
        setup: Gives task, contexts and randomness.
        size: Rows that are wanted: so many contexts are looked for.
        written: What the LLM was asked for contexts is kept here.
        method: The method that asks.

    Raises:
        TooFewRowsError: The task has contexts, and there is none.
    """
    if not setup.task.has_context:
        return _with_labels(setup)
    return _with_contexts(setup, size, written, method)


def _with_labels(setup: Setup) -> Iterator[Example]:
    rng = setup.rng("seed data")
    while True:
        yield Example("", rng.choice(setup.task.label_names))


def _with_contexts(setup: Setup, size: int, written: Written, method: str) -> Iterator[Example]:
    rng = setup.rng("seed data")
    contexts = in_passes(gather_contexts(setup, size, written, method=method), rng)
    names = setup.task.label_names
    return (Example("", c.label or rng.choice(names), c.text) for c in contexts)
