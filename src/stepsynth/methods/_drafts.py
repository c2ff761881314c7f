"""Drafts of rows: a label, a context if the task has one, and no text yet."""

from collections.abc import Iterator

from stepsynth.methods._contexts import gather_contexts, in_passes
from stepsynth.methods._writer import Writer
from stepsynth.records import Example


def draw_drafts(writer: Writer, size: int) -> Iterator[Example]:
    """Return an endless iterator of drafts, drawn as S3 draws its seed data.

    Labels are uniform, unless a context has one: no gold is seen. Each context comes once before
    any comes again.

    Args:
        writer: Gives the task, contexts and randomness; requests contexts if there are none.
        size: Rows wanted, which sets the number of contexts to request.

    Raises:
        TooFewRowsError: The task needs contexts, and there is none.
    """
    setup = writer.setup
    task, rng = setup.task, setup.rng("seed data")
    if not task.has_context:
        return (Example("", task.draw_label(rng)) for _ in iter(int, 1))
    contexts = in_passes(gather_contexts(writer, size), rng)
    return (Example("", c.label or task.draw_label(rng), c.text) for c in contexts)
