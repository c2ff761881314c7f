"""Gold: the reference, a small model trained on the gold rows of `mine`, without an LLM.

The round's `misclassified` are therefore training rows.
"""

from collections.abc import Iterator
from typing import ClassVar

from stepsynth.methods._method import Method, Round, Setup
from stepsynth.methods._writer import Writer


class Gold(Method):
    """The `gold` method."""

    name: ClassVar[str] = "gold"
    needs_llm: ClassVar[bool] = False
    is_reference: ClassVar[bool] = True
    sees: ClassVar[str] = "texts and labels of `mine`: it is trained on them"
    kinds: ClassVar[tuple[str, ...]] = (*Method.kinds, "multi_label")
    prompts: ClassVar[tuple[str, ...]] = ()

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round."""
        writer = Writer(setup, self.name)
        writer.written.rows += setup.mine
        yield writer.train()
