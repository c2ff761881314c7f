"""Rows that are still to be written: a label, a context where the task has one, and no text."""

from collections.abc import Iterator

from stepsynth.methods._contexts import gather_contexts, in_passes
from stepsynth.methods._writer import Writer
from stepsynth.records import Example


def draw_drafts(writer: Writer, size: int) -> Iterator[Example]:
    """Return rows without text, without end, drawn as S3 draws those of its seed data.

    Labels are uniform, unless a context has one; no context comes twice before every one once.

    Args:
        writer: Gives task, contexts and randomness; asks for contexts where there are none.
        size: Rows that are wanted: so many contexts are looked for.

    Raises:
        TooFewRowsError: The task has contexts, and there is none.
    """
    setup = writer.setup
    names, rng = setup.task.label_names, setup.rng("seed data")
    if not setup.task.has_context:
        return (Example("", rng.choice(names)) for _ in iter(int, 1))
    contexts = in_passes(gather_contexts(writer, size), rng)
    return (Example("", c.label or rng.choice(names), c.text) for c in contexts)
