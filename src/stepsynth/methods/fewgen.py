"""FewGen: a data set from few-shot prompts with gold rows of the label, in a single pass.

The usual few-shot baseline, as Divekar and Durrett describe it ("SynthesizRR: Generating Diverse
Datasets with Retrieval Augmentation", EMNLP 2024): n gold rows of a label, then the instruction for
that label, without a document or a loop. Few-shot examples (shots) are drawn anew for each prompt,
without replacement.

Rows with a context are written for contexts, drawn as in S3. Shots then show their own contexts,
never that of the new row.

Departures:
    - Labels are drawn uniformly; SynthesizRR samples the written rows by the label distribution of
      the training split.
    - A label with fewer gold rows than `shots` shows all of them; the paper has 50 a label or more.
    - With `shots: 0` the prompt is the few-shot prompt without examples, not ZeroGen's.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import ClassVar

from pydantic import Field

from stepsynth.errors import TooFewRowsError
from stepsynth.methods._drafts import draw_drafts
from stepsynth.methods._method import Round, Setup, WritingMethod
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.records import Dataset, Example


class FewGen(WritingMethod):
    """The `fewgen` method."""

    name: ClassVar[str] = "fewgen"
    sees: ClassVar[str] = "texts and labels of `mine`: random ones go into prompts"
    prompts: ClassVar[tuple[str, ...]] = ("context", "answers", "few_shot")

    seed_size: int = Field(default=1000, gt=0, description="Rows to keep.")
    shots: int = Field(
        default=32, ge=0, description="Gold rows of the same label in each prompt (n)."
    )
    drop_duplicates: bool = Field(default=False, description="Reject a text that is already there.")

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: rows from few-shot prompts, and the model trained on them."""
        pools = self._gold_pools(setup) if self.shots else {}
        rng = setup.rng("shots")
        writer = Writer(setup, self.name, seen=set() if self.drop_duplicates else None)

        def draw(like: Example) -> RowRequest:
            shots = draw_shots(pools, like, self.shots, rng)
            prompt = setup.task.prompt("few_shot", like, shots=shots)
            return writer.row("few_shot", prompt, like, parents=shots, shots=shots)

        drafts = draw_drafts(writer, self.seed_size)
        writer.write_until(self.seed_size, map(draw, drafts), phase="few-shot rows")
        yield writer.train()

    def _gold_pools(self, setup: Setup) -> Mapping[str, Sequence[Example]]:
        """Return the gold rows of each label.

        Raises:
            TooFewRowsError: A label has none.
        """
        shown = showable(setup.mine, setup)
        if len(shown) < len(setup.mine):
            hidden = len(setup.mine) - len(shown)
            setup.warn(f"shots: {hidden} rows of `mine` are not shown, they hold a held-out text")
        pools = shown.by_label()
        for label in setup.task.label_names or ("",):
            count, of = len(pools.get(label, ())), f" of the label {label!r}" if label else ""
            if not count:
                raise TooFewRowsError(
                    f"method.shots: no row of `mine`{of} can be shown to the LLM",
                    hint="raise data.split.mine, or set method.shots to 0",
                )
            if count < self.shots:
                setup.warn(f"shots: {count} rows{of} are there, not {self.shots}")
        return pools


def showable(rows: Dataset, setup: Setup) -> Dataset:
    """Return the rows without a held-out text: one in a prompt of many keeps all from being sent.

    Pairs share texts and contexts with held-out pairs that are not the same.
    """
    return Dataset(row for row in rows if setup.curator.gate.may_show(row))


def draw_shots(
    pools: Mapping[str, Sequence[Example]], like: Example, number: int, rng: Random
) -> list[Example]:
    """Draw rows with the label of `like`, without replacement, and none with its context.

    Args:
        pools: Rows of each label.
        like: Gives the label and context of the new row.
        number: Shots to draw; fewer if the pool has fewer.
        rng: Draws them.
    """
    pool = pools.get(like.stratum, ())
    if like.context is not None:
        pool = [row for row in pool if row.context != like.context]
    return rng.sample(pool, min(number, len(pool)))
