"""ZeroGen: a data set from the label-descriptive prompt alone, in one shot.

Ye, Gao, Li, Xu, Feng, Wu, Yu, Kong: "ZeroGen: Efficient Zero-shot Learning via Dataset
Generation", EMNLP 2022.

The LLM writes `seed_size` texts for labels drawn uniformly; the small model is trained on them.
Texts that have a context are written for contexts, drawn as S3 draws them. No gold label is used,
but for `select` to report a score.

Departures:
    - One stage: the movie names of the paper's first stage, and its cleaning rules, are not here.
    - The final model is trained once on all rows, not again every 10k rows.
"""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stepsynth.methods._method import Method, Round, Setup
from stepsynth.methods._steps import train_round
from stepsynth.methods.s3 import seed_with_rationales
from stepsynth.records import Dataset


class ZeroGen(Method):
    """The `zerogen` method."""

    name: ClassVar[str] = "zerogen"

    seed_size: int = Field(default=1000, gt=0, description="Rows to keep.")
    drop_duplicates: bool = Field(default=False, description="Reject a text that is already there.")

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: rows written from their labels, and the model trained on them."""
        written = seed_with_rationales(
            setup,
            {},
            size=self.seed_size,
            per_prompt=0,
            method=self.name,
            seen=set() if self.drop_duplicates else None,
        )
        yield train_round(0, Dataset(written.rows), setup, added=written)
