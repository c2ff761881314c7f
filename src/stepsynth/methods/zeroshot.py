"""Zero-shot: the words for the labels are the training rows; without an LLM and without gold.

A head on a sentence encoder that is trained on one description of each label takes a text for the
label whose description is nearest, as in Yin, Hay, Roth: "Benchmarking Zero-shot Text
Classification", EMNLP-IJCNLP 2019 (their Word2Vec baseline). It is what costs nothing: anything
that is paid for has to beat it.

Departure: the student separates the descriptions; the paper compares cosines. Both agree where
there are as many descriptions of each label.
"""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field, field_validator

from stepsynth.errors import ConfigError
from stepsynth.methods._method import Method, Round, Setup
from stepsynth.methods._writer import Writer
from stepsynth.records import Example, Provenance
from stepsynth.tasks.classification import Classification


class ZeroShot(Method):
    """The `zeroshot` method."""

    name: ClassVar[str] = "zeroshot"
    kinds: ClassVar[tuple[str, ...]] = ("classification",)
    needs_llm: ClassVar[bool] = False
    needs_gold: ClassVar[bool] = False
    needs_meaning: ClassVar[bool] = True
    sees: ClassVar[str] = "none"
    prompts: ClassVar[tuple[str, ...]] = ()

    descriptions: dict[str, list[str]] | None = Field(
        default=None,
        description="Label -> a description of its texts, or several; default: label words as "
        "prompts have them.",
    )

    @field_validator("descriptions", mode="before")
    @classmethod
    def _list(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {str(k): [v] if isinstance(v, str) else v for k, v in given.items()}

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: its rows are the descriptions."""
        writer = Writer(setup, self.name)
        origin = Provenance(self.name, kind="description")
        writer.written.rows += [
            Example(text, label, provenance=origin)
            for label, texts in self._described(setup).items()
            for text in texts
        ]
        yield writer.train()

    def _described(self, setup: Setup) -> dict[str, list[str]]:
        task = setup.task
        assert isinstance(task, Classification)
        if self.descriptions is None:
            return {name: [task.labelled(name)] for name in task.label_names}
        if set(self.descriptions) != set(task.label_names) or not all(self.descriptions.values()):
            raise ConfigError(
                f"method.descriptions: these are for {sorted(self.descriptions)}, and the task has "
                f"the labels {sorted(task.label_names)}",
                hint="give a description for every label",
            )
        return self.descriptions
