"""Random: the null of error extrapolation. As many calls as S3, for gold rows drawn at random.

What S3 gains over this, it gains by choosing errors; no student is in the loop. It starts from the
same seed rows as S3's run of the same random seed, and what it adds is written from rows of `mine`
that are drawn uniformly, with replacement. (GoldGen goes through all of `mine` in passes.)

Ours: no paper has it as a method of its own.
"""

from collections.abc import Iterator
from typing import ClassVar

from stepsynth.methods._method import Setup
from stepsynth.methods.goldgen import GoldGen
from stepsynth.records import Example


class RandomRows(GoldGen):
    """The `random` method."""

    name: ClassVar[str] = "random"
    sees: ClassVar[str] = "texts and labels of `mine`: random ones go into prompts"

    def draw(self, setup: Setup) -> Iterator[Example]:
        """Yield the gold rows to extrapolate, without end: each drawn anew."""
        rng = setup.rng("random rows")
        rows = list(setup.mine)
        while rows:
            yield rng.choice(rows)
