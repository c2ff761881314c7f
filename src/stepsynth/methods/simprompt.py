"""SimPrompt: AttrPrompt's baseline, a single class-conditional prompt for all rows of a label.

Yu, Zhuang, Zhang, Meng, Ratner, Krishna, Shen, Zhang: "Large Language Model as Attributed Training
Data Generator: A Tale of Diversity and Bias", NeurIPS 2023, Datasets and Benchmarks.

The LLM is given nothing but the label. ZeroGen, and S3 without rationales, use the same prompt, so
with a shared store SimPrompt costs nothing beside them. ZeroGen adds its first stage, its cleaning
rules and its other tasks. In the paper the two also differ in the LLM and its decoding
(gpt-3.5-turbo, temperature 1, top-p 1), which are set under `llm`.

Departures:
    - The prompt is the task's `seed` prompt, not in the paper's words.
    - Labels are drawn uniformly; the paper requests the same number of rows of each.
    - A rejected draw is replaced by a further one.
"""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from stepsynth.methods._method import Round, Setup, WritingMethod
from stepsynth.methods._writer import Writer
from stepsynth.methods.s3 import seed_with_rationales


class SimPrompt(WritingMethod):
    """The `simprompt` method."""

    name: ClassVar[str] = "simprompt"
    kinds: ClassVar[tuple[str, ...]] = ("classification",)
    sees: ClassVar[str] = "none"
    needs_gold: ClassVar[bool] = False

    seed_size: int = Field(default=1000, gt=0, description="Rows to keep.")

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: rows written from their labels, and the model trained on them."""
        writer = Writer(setup, self.name)
        seed_with_rationales(writer, {}, size=self.seed_size, per_prompt=0)
        yield writer.train()
