"""GoldGen: S3's baseline that extrapolates every gold row, not only the errors.

Wang, Zhou, Sachan (S3, Findings of EMNLP 2023), section 3: the same prompt as for errors, over all
gold validation rows, at the same final scale as S3.

It starts from the seed rows of the S3 run with the same random seed. It then goes over all of
`mine` in shuffled passes, each row once before any row again, until there are `size` rows. The
added rows thus have the gold label distribution. With a shared store it reuses answers that S3 has
paid for.

Departures:
    - The paper does not say how GoldGen's rows are drawn; the passes are ours.
    - A model is also trained on the seed data alone, as round 0, so that a curve can be drawn.
"""

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from stepsynth.methods._contexts import in_passes
from stepsynth.methods._method import Round, Setup
from stepsynth.methods._writer import Writer
from stepsynth.methods.s3 import SEED_SHARE, SeedData
from stepsynth.records import Example, union


class GoldGen(SeedData):
    """The `goldgen` method."""

    name: ClassVar[str] = "goldgen"

    size: int = Field(default=1500, gt=0, description="Final rows: seed data and extrapolations.")

    sees: ClassVar[str] = "texts and labels of `mine`: all of them go into prompts"

    def sized(self, rows: int) -> Self:
        """Return GoldGen with this number of rows in all, and S3's share of seed data."""
        return self.model_copy(update={"seed_size": round(SEED_SHARE * rows), "size": rows})

    @model_validator(mode="after")
    def _check_size(self) -> "GoldGen":
        if self.seed_from is None and self.size <= self.seed_size:
            raise ValueError(f"size ({self.size}) must be above seed_size ({self.seed_size})")
        return self

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield round 0 (seed data) and round 1 (with extrapolations of all gold rows)."""
        seed_data = Writer(setup, self.name, seen=set() if self.drop_duplicates else None)
        with seed_data.share(SEED_SHARE):
            self.write_seed_data(seed_data)
        if self.seed_from is not None and self.size <= len(seed_data.rows):
            setup.warn(
                f"method.size is {self.size}, and method.seed_from has {len(seed_data.rows)} rows: "
                "nothing is written; give a larger size"
            )
        yield seed_data.train()
        added = seed_data.next_round()
        like_gold = map(added.extrapolation, self.draw(setup))
        added.write_until(self.size - len(seed_data.rows), like_gold, phase="extrapolate gold")
        yield added.train(union(seed_data.rows, added.rows))

    def draw(self, setup: Setup) -> Iterator[Example]:
        """Yield gold rows to extrapolate, endlessly, in shuffled passes."""
        return in_passes(setup.mine, setup.rng("passes"))
