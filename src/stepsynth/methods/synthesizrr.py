"""SynthesizRR: rows that the LLM rewrites from retrieved passages of a corpus.

Divekar and Durrett: "SynthesizRR: Generating Diverse Datasets with Retrieval Augmentation", EMNLP
2024.

Content sourcing: every seed example, a gold row, is a query to a corpus; each passage found is the
content of one new row. Context refinement: the LLM rewrites the passage as a text with the seed
example's label. In-context examples (shots) show how; no student is in the loop.

Variants:
    - RetrICL: a shot is a passage of rank 1-2 with the seed example that retrieved it; content has
      ranks 3-50.
    - Non-RetrICL: shots are seed examples alone; content has all ranks.
    - Zero-shot: no shots.

Departures:
    - Passages are cut to 20-400 words that end at a full stop; the paper counts tokens.
    - The code's retriever is Contriever; here `retrieval` sets it.
    - The paper's content ranks for zero-shot are not known to us; here all, as for Non-RetrICL.
    - A passage that is a shot of any seed example is not content of any other. A passage is content
      of a label only once, for its nearest seed example.
    - If there are more rows than passages, passages are used again, with other shots.
    - Labels are drawn uniformly, `seed_size` rows in all. The paper subsamples per label, then
      matches the label distribution of its training set; its cartography filter is a study here.
    - `llm` sets the sampling. The code's temperature 0.95 and top-p 0.9 are set in the recipes of
      its data sets; its output limits (50 to 600 tokens) are comments there.
    - Shots are not cut to the output limit of the LLM.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

from pydantic import Field

from stepsynth.errors import TooFewRowsError
from stepsynth.methods._contexts import in_passes
from stepsynth.methods._method import Round, Setup, WritingMethod
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.records import Example
from stepsynth.retrieval import Hit, cut
from stepsynth.tasks import Task

NUM_SHOTS = {"retricl": 3, "non_retricl": 32, "zero_shot": 0}
Band = tuple[float, float]


@dataclass(frozen=True)
class Sourced:
    """A passage cut to length, and the seed example that retrieved it.

    Attributes:
        hit: Passage, rank and cosine.
        text: The passage as cut for prompts.
        seed: The gold row that was the query.
    """

    hit: Hit
    text: str
    seed: Example


@dataclass
class Sources:
    """Retrieved passages by label.

    Attributes:
        shots: The pool of in-context examples for RetrICL.
        content: Passages that rows are written from.
        outside: Label -> reason -> number of hits that are neither.
    """

    shots: dict[str, list[Sourced]]
    content: dict[str, list[Sourced]]
    outside: dict[str, Counter[str]]


class SynthesizRR(WritingMethod):
    """The `synthesizrr` method; its defaults are the paper's."""

    name: ClassVar[str] = "synthesizrr"
    kinds: ClassVar[tuple[str, ...]] = ("classification",)
    sees: ClassVar[str] = "texts and labels of `mine`: as queries, and as shots in prompts"
    needs_corpus: ClassVar[bool] = True
    prompts: ClassVar[tuple[str, ...]] = ("refine",)

    variant: Literal["retricl", "non_retricl", "zero_shot"] = Field(
        default="retricl",
        description="Shots: passages with their seed examples, seed examples alone, or none.",
    )
    seed_size: int = Field(default=1000, gt=0, description="Rows to keep.")
    seeds_per_class: int | None = Field(
        default=None,
        gt=0,
        description="Seed examples of each label; default: 50, or 100 where labels are two.",
    )
    shots: int | None = Field(
        default=None, ge=0, description="Shots of a prompt; default: 3, 32 or 0 by variant."
    )
    ranks: int = Field(default=50, gt=0, description="Passages retrieved for a seed example.")
    shot_ranks: int = Field(default=2, ge=0, description="RetrICL: ranks that shots come from.")
    shot_cosines: Band = Field(
        default=(0.5, 0.9), description="RetrICL: cosines of shots to their seed examples."
    )
    content_cosines: Band = Field(
        default=(0.4, 0.9), description="Cosines of content: above is a copy, below unrelated."
    )
    min_words: int = Field(default=20, gt=0, description="Words of the shortest passage.")
    max_words: int = Field(default=400, gt=0, description="Words that a passage is cut to.")

    @property
    def num_shots(self) -> int:
        """In-context examples per prompt."""
        if self.shots is None or self.variant == "zero_shot":
            return NUM_SHOTS[self.variant]
        return self.shots

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Add the keys of shots, if there are none, or none from the corpus."""
        found = super().idle_keys(task)
        if self.variant != "retricl":
            why = f"the variant {self.variant} takes no shots from the corpus"
            found |= dict.fromkeys(("shot_ranks", "shot_cosines"), why)
        if self.variant == "zero_shot":
            found["shots"] = "the variant zero_shot has none"
        return found

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: refined passages, and the model trained on them."""
        seeds = self.draw_seeds(setup)
        sources = self.source(seeds, setup)
        writer = Writer(setup, self.name)
        self.refine(seeds, sources, writer)
        yield writer.train()

    def draw_seeds(self, setup: Setup) -> dict[str, list[Example]]:
        """Return the seed examples of each label, equally many if there are enough gold rows.

        Raises:
            TooFewRowsError: A label has no gold row.
        """
        by_label: dict[str, list[Example]] = {label: [] for label in setup.task.label_names}
        for row in setup.mine.without_duplicates():
            by_label[str(row.label)].append(row)
        if missing := [label for label, rows in by_label.items() if not rows]:
            raise TooFewRowsError(
                f"synthesizrr: no gold row of `mine` has the label {', '.join(map(repr, missing))},"
                " so nothing can be retrieved for it",
                hint="give gold rows of every label, or a larger data.split.mine",
            )
        rng = setup.rng("seed examples")
        each = self.seeds_per_class or (100 if len(by_label) == 2 else 50)
        if short := {label: len(rows) for label, rows in by_label.items() if len(rows) < each}:
            setup.warn(f"synthesizrr: {each} seed examples a label are wanted: {_list(short)}")
        return {label: rng.sample(rows, min(len(rows), each)) for label, rows in by_label.items()}

    def source(self, seeds: dict[str, list[Example]], setup: Setup) -> Sources:
        """Retrieve passages for every seed example and sort them into pools: content sourcing.

        Paper:
            RetrICL: ranks 1-2 with a cosine in [0.5, 0.9] are shots, ranks 3-50 in [0.4, 0.9]
            are content. Otherwise all ranks in [0.4, 0.9] are content.

        Raises:
            TooFewRowsError: A label is left without content, or without shots where it needs them.
        """
        queries = [row for rows in seeds.values() for row in rows]
        index = setup.need_index(self.name)
        found = index.search([row.text for row in queries], self.ranks)
        sources = Sources(defaultdict(list), defaultdict(list), defaultdict(Counter))
        candidates: list[Sourced] = []
        for seed, hits in zip(queries, found, strict=True):
            for hit in hits:
                self._sort(hit, seed, sources, candidates)
        # No passage is in both pools: it may have rank 1 for one query and rank 10 for another.
        taken = {shot.hit.passage.id for shots in sources.shots.values() for shot in shots}
        best: dict[tuple[str, str], Sourced] = {}
        for candidate in candidates:
            label, passage = str(candidate.seed.label), candidate.hit.passage.id
            if passage in taken:
                sources.outside[label]["taken as shots"] += 1
                continue
            known = best.setdefault((label, passage), candidate)
            if candidate.hit.cosine > known.hit.cosine:
                best[label, passage] = candidate
        for (label, _), candidate in best.items():
            sources.content[label].append(candidate)
        self._check(sources, setup)
        return sources

    def _sort(self, hit: Hit, seed: Example, sources: Sources, candidates: list[Sourced]) -> None:
        """Add a hit to the shots or to the content candidates, or count why it is neither."""
        is_shot = self.variant == "retricl" and hit.rank <= self.shot_ranks
        low, high = self.shot_cosines if is_shot else self.content_cosines
        label = str(seed.label)
        if not low <= hit.cosine <= high:
            side = f"below {low}" if hit.cosine < low else f"above {high}"
            pool = "shots" if is_shot else "content"
            sources.outside[label][f"{side} ({pool})"] += 1
            return
        text = cut(hit.passage.text, self.min_words, self.max_words)
        if text is None:
            sources.outside[label][f"under {self.min_words} words"] += 1
        elif is_shot:
            sources.shots[label].append(Sourced(hit, text, seed))
        else:
            candidates.append(Sourced(hit, text, seed))

    def _check(self, sources: Sources, setup: Setup) -> None:
        """Check that every label has content and shots."""
        for label in setup.task.label_names:
            counted = ", ".join(f"{n} {why}" for why, n in sorted(sources.outside[label].items()))
            if not sources.content[label]:
                raise TooFewRowsError(
                    f"synthesizrr: no passage can be content of the label {label!r}: of those "
                    f"retrieved, {counted or 'there are none'}",
                    hint="a corpus nearer to the task, more method.ranks, a wider "
                    "method.content_cosines (bm25 without an encoder has low cosines), or a "
                    "smaller method.min_words",
                )
            if self.variant == "retricl" and self.num_shots and not sources.shots[label]:
                raise TooFewRowsError(
                    f"synthesizrr: no passage can be a shot of the label {label!r}: of those "
                    f"retrieved, {counted}",
                    hint="a wider method.shot_cosines, more method.shot_ranks, or method.variant: "
                    "non_retricl, which needs no passages for shots",
                )

    def refine(self, seeds: dict[str, list[Example]], sources: Sources, writer: Writer) -> None:
        """Write one row from each passage drawn, with random shots: context refinement."""
        setup, rng = writer.setup, writer.setup.rng("refine")
        labels = setup.task.label_names
        passages = {label: in_passes(sources.content[label], rng) for label in labels}
        self._warn_of_few(sources, seeds, setup)

        def draw() -> RowRequest:
            label = rng.choice(labels)
            content = next(passages[label])
            shots = self._draw_shots(label, seeds, sources, rng)
            like = Example("", label)
            prompt = setup.task.prompt("refine", like, passage=content.text, shots=shots)
            note = {
                "passage": content.hit.passage.id,
                "query": content.seed.id,
                "rank": content.hit.rank,
                "cosine": round(content.hit.cosine, 4),
                "shots": [
                    {k: v for k, v in s.items() if k not in ("text", "passage")} for s in shots
                ],
            }
            shown = [Example(s["text"], label) for s in shots]
            origin, source = [content.seed], content.text
            return writer.row(
                "refine", prompt, like, parents=origin, source=source, shots=shown, note=note
            )

        requests = iter(draw, None)
        writer.write_until(self.seed_size, requests, phase="refined passages")
        writer.written.note_rows("passages")

    def _draw_shots(
        self, label: str, seeds: dict[str, list[Example]], sources: Sources, rng: Random
    ) -> list[dict[str, Any]]:
        """Return random shots of a label, in random order, for a prompt and the notes."""
        if self.variant != "retricl":
            rows = seeds[label]
            drawn = rng.sample(rows, min(len(rows), self.num_shots))
            return [{"passage": "", "text": row.text, "query": row.id} for row in drawn]
        pool = sources.shots[label]
        return [
            {
                "passage": shot.text,
                "text": shot.seed.text,
                "query": shot.seed.id,
                "id": shot.hit.passage.id,
                "rank": shot.hit.rank,
                "cosine": round(shot.hit.cosine, 4),
            }
            for shot in rng.sample(pool, min(len(pool), self.num_shots))
        ]

    def _warn_of_few(self, sources: Sources, seeds: dict[str, list[Example]], setup: Setup) -> None:
        """Warn if there are more rows than passages, or too few shots for a prompt."""
        labels = setup.task.label_names
        each = -(-self.seed_size // len(labels))
        content = {label: len(sources.content[label]) for label in labels}
        if few := {label: count for label, count in content.items() if count < each}:
            setup.warn(
                f"synthesizrr: about {each} rows a label are written from fewer passages: "
                f"{_list(few)}; each is used more than once"
            )
        pools: dict[str, Sequence[object]] = {
            label: sources.shots[label] if self.variant == "retricl" else seeds[label]
            for label in labels
        }
        lacking = {label: len(pool) for label, pool in pools.items() if len(pool) < self.num_shots}
        if lacking:
            setup.warn(
                f"synthesizrr: {self.num_shots} shots a prompt are wanted, and the pools hold "
                f"{_list(lacking)}"
            )


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} of {label!r}" for label, count in counts.items())
