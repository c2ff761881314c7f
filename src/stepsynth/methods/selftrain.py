"""Self-training: gold rows, and unlabelled texts with the labels that a model gives them; no LLM.

Cascante-Bonilla, Tan, Qi, Ordonez: "Curriculum Labeling: Revisiting Pseudo-Labeling for
Semi-Supervised Learning", AAAI 2021. A model of the gold rows labels all texts. The most confident
fifth is added, a new model is trained from scratch and labels all texts anew, of which the best two
fifths are added, and so on to all of them.

Departures:
    - The share is taken of the texts of each predicted label, so that none dies out (Zou et al.:
      "Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training",
      ECCV 2018).
    - The round that is best on `select` is kept: later ones may harm. `keep: last` is the paper's.
"""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import ClassVar, Literal

from pydantic import Field

from stepsynth.methods._method import Method, Model, Round, Setup, best_round
from stepsynth.methods._writer import Writer
from stepsynth.metrics import Predictions
from stepsynth.records import Dataset, Example, Provenance


class SelfTrain(Method):
    """The `selftrain` method."""

    name: ClassVar[str] = "selftrain"
    kinds: ClassVar[tuple[str, ...]] = ("classification", "sentence_pair")
    needs_llm: ClassVar[bool] = False
    needs_unlabelled: ClassVar[bool] = True
    sees: ClassVar[str] = "texts and labels of `mine`: it is trained on them"
    prompts: ClassVar[tuple[str, ...]] = ()

    rounds: int = Field(default=5, ge=1, description="Rounds after that of the gold rows (1/step).")
    keep: Literal["last", "best"] = Field(
        default="best", description="Keep the last round, or the best on `select`."
    )

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the round of the gold rows, then one for each share of the texts."""
        writer = Writer(setup, self.name)
        done = writer.train(setup.mine)
        yield done
        for r in range(1, self.rounds + 1):
            writer = writer.next_round()
            writer.written.rows += most_confident(done.model, setup.unlabelled, r, self.rounds)
            done = writer.train(Dataset([*setup.mine, *writer.written.rows]))
            yield done

    def choose_round(self, rounds: Sequence[Round], select: Dataset) -> int:
        """Return the index of the last round, or of the first with the best score on `select`."""
        return len(rounds) - 1 if self.keep == "last" else best_round(rounds)


def most_confident(model: Model, texts: Dataset, r: int, rounds: int) -> Iterator[Example]:
    """Yield the most confident r/rounds of the texts of each predicted label, with that label."""
    said = model.predict(texts)
    assert isinstance(said, Predictions)
    origin = Provenance(SelfTrain.name, r, "pseudo_label")
    sure = said.probabilities.max(axis=1)
    for name in said.label_names:
        own = [i for i, label in enumerate(said.labels) if label == name]
        own.sort(key=lambda i: -sure[i])
        for i in sorted(own[: ceil(len(own) * r / rounds)]):
            yield Example(texts[i].text, name, texts[i].context, provenance=origin)
