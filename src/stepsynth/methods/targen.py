"""TarGEN: rows from instance seeds of listed domains, with labels that the LLM self-corrects.

Gupta, Scaria, Anantheswaran, Verma, Parmar, Sawant, Baral, Mishra: "TarGEN: Targeted Data
Generation with Large Language Models", COLM 2024.

No gold row is used. (1) The LLM lists domains that texts can be about. (2) For each domain it
writes instance seeds: raw sentences, or contexts for pairs. (3) From an instance seed it writes a
row with a given label, as JSON. (4) In self-correction it judges the label of each row; a wrong
label is overwritten, and the row is kept.

Departures:
    - The paper words the prompts of each SuperGLUE task by hand; ours are general.
    - The published code returns inside its loop, so only one instance seed is ever used. Here each
      is used once before any is used again.
    - The paper's numbers of domains and instance seeds are not known to us; 20 and 10 are ours.
    - Labels are drawn uniformly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from pydantic import Field

from stepsynth.errors import TooFewRowsError
from stepsynth.methods._contexts import in_passes
from stepsynth.methods._judge import judge_labels
from stepsynth.methods._method import Round, Setup, WritingMethod
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.records import Example

DISCOVERY_SHARE = 0.2
"""Largest share of the budget for rows that domains and instance seeds may use."""


@dataclass(frozen=True)
class InstanceSeed:
    """The starting point of a row.

    Attributes:
        text: A raw sentence; for pairs, the context.
        domain: The domain it belongs to.
    """

    text: str
    domain: str


class TarGEN(WritingMethod):
    """The `targen` method."""

    name: ClassVar[str] = "targen"
    kinds: ClassVar[tuple[str, ...]] = ("classification", "sentence_pair")
    sees: ClassVar[str] = "none"
    needs_gold: ClassVar[bool] = False
    prompts: ClassVar[tuple[str, ...]] = (
        *("domains", "instance_seeds", "from_instance_seed"),
        "judge",
    )

    seed_size: int = Field(default=1000, gt=0, description="Rows to keep.")
    num_domains: int = Field(default=20, gt=0, description="Domains that the LLM is asked for.")
    num_instance_seeds: int = Field(
        default=10,
        gt=0,
        description="Most instance seeds of a domain; fewer are asked for where fewer are needed.",
    )
    self_correction: bool = Field(
        default=True, description="Have the LLM judge each row, and overwrite wrong labels."
    )

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: corrected rows, and the model trained on them."""
        writer = Writer(setup, self.name)
        # A row costs its share of one request to write, and one to judge.
        with writer.share(1 / (1 + setup.texts_per_prompt) if self.self_correction else 1.0):
            size = ceil(self.seed_size / setup.texts_per_prompt)
            # Nobody knows yet how many rows a limit in USD buys.
            if setup.spending.usd is None:
                size = setup.spending.affordable(size)
            with writer.share(DISCOVERY_SHARE):
                instance_seeds = self.write_instance_seeds(size, writer)
            self.write_rows(instance_seeds, writer)
        if self.self_correction:
            judge_labels(writer.written, setup, on_wrong="relabel", phase="self-correction")
        yield writer.train()

    def write_instance_seeds(self, size: int, writer: Writer) -> list[InstanceSeed]:
        """Return at most `size` instance seeds, one for each prompt (steps 1 and 2).

        Raises:
            TooFewRowsError: There is none.
        """
        (listed,) = writer.ask_lists([writer.request("domains", number=self.num_domains)])
        domains = listed[: self.num_domains]
        each = min(self.num_instance_seeds, ceil(size / max(1, len(domains))))
        requests = [
            writer.request("instance_seeds", tagged=["domain"], domain=domain, number=each)
            for domain in domains[: ceil(size / max(1, each))]
        ]
        answers = writer.ask_lists(requests)
        found = [
            InstanceSeed(text, request.tags["domain"])
            for request, texts in zip(requests, answers, strict=True)
            for text in texts[:each]
        ]
        if not found:
            raise TooFewRowsError(
                "targen: the LLM wrote no domain or no instance seed that can be used; the last: "
                f"{writer.last_unused()}",
                hint="look at rejected.jsonl; a larger budget, llm.max_tokens or another LLM helps",
            )
        return found[:size]

    def write_rows(self, instance_seeds: list[InstanceSeed], writer: Writer) -> None:
        """Write rows in passes over the instance seeds, with uniform labels (step 3)."""
        task, kind = writer.setup.task, "from_instance_seed"
        rng = writer.setup.rng("instance seeds")

        def draw(instance_seed: InstanceSeed) -> RowRequest:
            context = instance_seed.text if task.has_context else None
            like = Example("", rng.choice(task.label_names), context)
            fields: Mapping[str, str] = {"instance_seed": instance_seed.text}
            prompt, schema = task.prompt(kind, like, **fields), task.answer_schema(kind)
            note = {"domain": instance_seed.domain, **fields}
            source = "" if task.has_context else instance_seed.text
            return writer.row(kind, prompt, like, source=source, schema=schema, note=note)

        requests = map(draw, in_passes(instance_seeds, rng))
        writer.write_until(self.seed_size, requests, phase="rows from instance seeds")
        writer.written.note_rows("instance_seeds")
