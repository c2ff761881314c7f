"""Random: the null baseline of error extrapolation, with randomly drawn gold rows.

It makes as many calls as S3, without a student in the loop: what S3 gains over it comes from
choosing errors. It starts from the seed rows of the S3 run with the same random seed. Further rows
are written from rows of `mine` drawn uniformly, with replacement. (GoldGen goes through all of
`mine` in passes.)

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
        """Yield gold rows to extrapolate, endlessly, each drawn anew."""
        rng = setup.rng("random rows")
        rows = list(setup.mine)
        while rows:
            yield rng.choice(rows)
