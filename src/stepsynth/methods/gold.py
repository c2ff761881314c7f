"""Gold: the reference. The small model is trained on the gold rows of `mine`; no LLM is asked.

Note that the round's `misclassified` are then rows that the model was trained on.
"""

from collections.abc import Iterator
from typing import ClassVar

from stepsynth.methods._method import Method, Round, Setup
from stepsynth.methods._steps import Written, train_round


class Gold(Method):
    """The `gold` method."""

    name: ClassVar[str] = "gold"
    needs_llm: ClassVar[bool] = False
    is_reference: ClassVar[bool] = True
    sees: ClassVar[str] = "texts and labels of `mine`: it is trained on them"
    prompts: ClassVar[tuple[str, ...]] = ()

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round."""
        yield train_round(0, setup.mine, setup, added=Written(rows=list(setup.mine)))
