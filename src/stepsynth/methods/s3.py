"""S3: Synthesis Step by Step.

Wang, Zhou, Sachan: "Let's Synthesize Step by Step: Iterative Dataset Synthesis with Large
Language Models by Extrapolating Errors from Small Models", Findings of EMNLP 2023.

The LLM lists rationales for each label and writes seed data from them (Algorithm 1). A small model
is trained on the seed data. Error extrapolation follows (Algorithm 2): each gold row that the model
gets wrong goes back to the LLM, which writes a similar row with the gold label. The model is then
retrained from scratch on all rows so far. This repeats for R rounds.

Resolved slips of the paper:
    - Algorithm 1, line 6 draws from the rationales of the drawn label; the paper indexes them by
      the sample.
    - Algorithm 2, line 11 takes the union of the R rounds; the paper's N is undefined.
    - D_gold(test), an unused input of Algorithm 2, is not passed.

Departures:
    - Mining, selection and test are three disjoint splits; `data.paper_splits` restores the
      paper's single "validation" set.
    - A rejected or failed seed draw is replaced by a further draw; the paper keeps refusals.
    - K and k are not given in the paper; 20 and 3 are ours.
    - Prompts state the number of words that most gold texts have, unless `task.length` sets
      another; the paper's prompts do not mention length.
    - Contexts are drawn in shuffled passes: each is used once before any is used again.
    - Where a row has any number of labels, Y is the sets that gold has, drawn as often as there.
    - Options beyond the paper, all off: `extrapolations_per_error`, `max_added`, `added_size`,
      `balance_added`, `drop_duplicates`, `early_stop`, `keep: best`.

Ablations of the paper:
    - Table 3: `rounds: 0` with the same number of rows.
    - Table 4: `rationales: false`.
    - Table 5: `seed_from` extrapolates the errors of a model trained on other seed data; with
      `added_from` too, the rows that another run added to its own seed data are taken instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from random import Random
from typing import ClassVar, Literal, Self

from pydantic import Field

from stepsynth.methods._contexts import in_passes
from stepsynth.methods._drafts import draw_drafts
from stepsynth.methods._method import Round, Setup, WritingMethod, best_round
from stepsynth.methods._rationales import ask_rationales
from stepsynth.methods._writer import Writer, misclassified
from stepsynth.methods._written import RowRequest
from stepsynth.records import Dataset, Example, union
from stepsynth.tasks import Task

SEED_SHARE = 2 / 3
"""Share of the budget for seed data, if extrapolations follow (Appendix B)."""


def shares(rows: int, rounds: int) -> dict[str, int | None]:
    """Return `seed_size` and `added_size` that bring about so many rows in all."""
    seed = round(SEED_SHARE * rows) if rounds else rows
    return {"seed_size": seed, "added_size": max(1, (rows - seed) // rounds) if rounds else None}


class SeedData(WritingMethod):
    """A method that starts from seed data, with the options of Algorithm 1."""

    seed_size: int = Field(default=1000, gt=0, description="Seed rows to keep (N_seed).")
    rationales: bool = Field(
        default=True,
        description="Write seed data from rationales; off: from labels. Rows with a context are "
        "written from contexts, without rationales, as in the paper.",
    )
    num_rationales: int = Field(default=20, gt=0, description="Rationales asked for per label (K).")
    rationales_per_prompt: int = Field(default=3, gt=0, description="Rationales in one prompt (k).")
    drop_duplicates: bool = Field(default=False, description="Reject a text that is already there.")
    seed_from: str | None = Field(
        default=None,
        description="A file of rows, or a run folder whose round 0 is taken, as the seed data: "
        "none is written then.",
    )

    kinds: ClassVar[tuple[str, ...]] = (*WritingMethod.kinds, "multi_label")
    sees: ClassVar[str] = "texts and labels of `mine`: those that are missed go into prompts"
    data_keys: ClassVar[tuple[str, ...]] = ("seed_from",)
    prompts: ClassVar[tuple[str, ...]] = (
        *("rationale", "context", "answers", "seed"),
        *("extrapolate", "extrapolate_new_answer"),
    )

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Add the keys of seed data that is given, or written without rationales."""
        found = super().idle_keys(task)
        keys = ("num_rationales", "rationales_per_prompt")
        if task.has_context:
            found |= dict.fromkeys(keys, "seed rows are written from contexts")
        elif not self.rationales:
            found |= dict.fromkeys(keys, "rationales is false")
        if self.seed_from is not None:
            why = "seed_from gives the seed data, all its rows"
            found |= dict.fromkeys((*keys, "seed_size"), why)
        return found

    def write_seed_data(self, writer: Writer) -> None:
        """Write the seed data (Algorithm 1), with or without rationales, unless it is given."""
        written, task = writer.written, writer.setup.task
        if self.seed_from is not None:
            written.rows += writer.setup.given["seed_from"]
            return
        if self.rationales and not task.has_context:
            # Algorithm 1, lines 1-2: r_i <- topK(P_LLM( · | T_ration(y_i)))
            labels = task.explained_labels([row.label for row in writer.setup.mine])
            written.rationales = ask_rationales(labels, self.num_rationales, writer)
        seed_with_rationales(
            writer,
            written.rationales,
            size=self.seed_size,
            per_prompt=self.rationales_per_prompt,
        )


class S3(SeedData):
    """The `s3` method; its defaults are the paper's."""

    name: ClassVar[str] = "s3"

    rounds: int = Field(default=2, ge=0, description="Rounds of error extrapolation (R).")
    extrapolations_per_error: int = Field(default=1, gt=0, description="Rows asked for per error.")
    max_added: int | None = Field(
        default=None, gt=0, description="Most rows to ask for in one round."
    )
    added_size: int | None = Field(
        default=None,
        gt=0,
        description="Rows that a round adds: errors are drawn, and drawn again, until so many are "
        "kept, whatever `extrapolations_per_error` says. Without it: one row for each error.",
    )
    added_from: str | None = Field(
        default=None,
        description="A run folder (or a file) whose added rows are taken: nothing is extrapolated.",
    )
    balance_added: bool = Field(
        default=False, description="Ask for as many rows of each label that has errors."
    )
    early_stop: bool = Field(
        default=False, description="Stop once the score on select does not improve."
    )
    keep: Literal["last", "best"] = Field(
        default="last", description="Keep the last or the best round."
    )

    data_keys: ClassVar[tuple[str, ...]] = ("seed_from", "added_from")

    @property
    def is_extrapolating(self) -> bool:
        """Whether the LLM extrapolates errors: there are rounds, and their rows are not given."""
        return self.rounds > 0 and self.added_from is None

    def sized(self, rows: int) -> Self:
        """Return S3 with two thirds of the rows as seed data, and the rest in equal rounds.

        Paper:
            Appendix B: the seed is 2/3 of the final set, each of the two rounds 1/6.
        """
        return self.model_copy(update=shares(rows, self.rounds))

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Add the keys of error extrapolation that have no effect."""
        found = super().idle_keys(task)
        keys = ("extrapolations_per_error", "max_added", "added_size", "balance_added")
        if self.added_size is not None:
            found["extrapolations_per_error"] = "added_size says how many rows a round adds"
        if self.added_from is not None:
            why = "added_from gives the added rows"
            found |= dict.fromkeys(("rounds", "early_stop", *keys), why)
        elif not self.rounds:
            found |= dict.fromkeys(("keep", "early_stop", *keys), "there are no rounds")
        repeats = self.added_size is not None or self.extrapolations_per_error > 1
        if self.seed_from is not None and not (
            self.is_extrapolating and (repeats or self.balance_added)
        ):
            found["texts_per_prompt"] = "no prompt is sent twice"
        return found

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield round 0 (seed data) to round R, each with the model trained after it."""
        seed_data = Writer(setup, self.name, seen=set() if self.drop_duplicates else None)
        with seed_data.share(SEED_SHARE if self.is_extrapolating else 1.0):
            self.write_seed_data(seed_data)
        if self.added_from is not None:
            yield from merge_added(seed_data)
        else:
            yield from self.extrapolate_errors(seed_data)

    def extrapolate_errors(self, seed_data: Writer) -> Iterator[Round]:
        """Yield the rounds of Algorithm 2, error extrapolation-based synthesis (EES)."""
        setup, added = seed_data.setup, seed_data
        additional: list[Writer] = []  # line 1: D_add(0) = {}
        best = -1.0
        for q in range(self.rounds + 1):  # line 2; the last pass trains on line 11's D_train
            model = setup.student.new()  # line 3: init(f)
            train = union(seed_data.rows, *(d.rows for d in additional))  # line 4: D_train(q)
            model.fit(train)  # line 5: train f
            missed, predicted = misclassified(model, setup.mine, setup)  # line 6: D_mis(q)
            done = added.finish(model, missed, predicted)
            yield done
            if q == self.rounds or (self.early_stop and done.select_score <= best):
                return
            best = max(best, done.select_score)
            rng = setup.rng("errors", q)
            errors, size = self.choose_errors(missed, rng), self.added_size
            if size is not None and self.max_added is not None:
                size = min(size, self.max_added)
            added = added.next_round()
            with added.share(1 / (self.rounds - q)):  # lines 7-10: D_add(q+1)
                extrapolate(errors, added, size=size)
            additional.append(added)

    def choose_errors(self, missed: Dataset, rng: Random) -> Iterable[Example]:
        """Return the errors to extrapolate, one entry per LLM call; by default all of them.

        With `added_size` they are endless: shuffled passes, each error once before any again.

        With `balance_added` every label with errors gets the same share of the calls. Errors of
        labels with few are repeated, each time as a new draw.
        """
        each = self.extrapolations_per_error if self.added_size is None else 1
        calls = [row for row in missed for _ in range(each)]
        most = min(len(calls), self.max_added or len(calls))
        if not self.balance_added:
            if self.added_size is not None:
                return in_passes(calls, rng)
            chosen = sorted(rng.sample(range(len(calls)), most))
            return [calls[i] for i in chosen]
        by_label = Dataset(rng.sample(calls, len(calls))).by_label()
        if self.added_size is not None:
            passes = [in_passes(rows, rng) for rows in by_label.values()]
            return (next(rows) for rows in cycle(passes))
        share, rest = divmod(most, len(by_label) or 1)
        return [
            row
            for i, rows in enumerate(by_label.values())
            for row in islice(cycle(rows), share + (i < rest))
        ]

    def choose_round(self, rounds: Sequence[Round], select: Dataset) -> int:
        """Return the index of the last round, or of the first with the best score on `select`."""
        if self.keep == "last":
            return len(rounds) - 1
        return best_round(rounds)


def seed_with_rationales(
    writer: Writer, rationales: Mapping[str, Sequence[str]], *, size: int, per_prompt: int
) -> None:
    """Write `size` rows, each from its own label and rationales (Algorithm 1, lines 3-8).

    Rows with a context are written from contexts instead: see `seed_from_contexts`.
    """
    task, rng = writer.setup.task, writer.setup.rng("seed data")
    if task.has_context:
        seed_from_contexts(writer, size=size)
        return
    gold = [row.label for row in writer.setup.mine]

    def draw() -> RowRequest:
        label = task.draw_label(rng, gold)  # line 5: y_curr ~ U_1(Y)
        given = rationales.get(str(label), ())
        picked = rng.sample(given, min(per_prompt, len(given)))  # line 6: r_curr ~ U_k(r of y_curr)
        like = Example("", label)
        return writer.row("seed", task.seed_prompt(like, picked), like)

    # Lines 3, 4, 7 and 8: x_curr ~ P_LLM( · | T_query(r_curr, y_curr)), kept in D_seed.
    writer.write_until(size, iter(draw, None), phase="seed data")


def seed_from_contexts(writer: Writer, *, size: int) -> None:
    """Write `size` rows, each from its own draw of context and label (section 2.4)."""
    task = writer.setup.task

    def ask(like: Example) -> RowRequest:
        return writer.row("seed", task.seed_prompt(like), like)  # T_query(2)(c, y)

    drafts = draw_drafts(writer, size)  # c ~ U(C), and y ~ U(Y) unless c has one
    writer.write_until(size, map(ask, drafts), phase="seed data")


def extrapolate(errors: Iterable[Example], writer: Writer, *, size: int | None = None) -> None:
    """Extrapolate errors, one call each; the gold label is kept (Algorithm 2, lines 7-10).

    Rows with a context (Algorithm 3) differ only in the prompt: it holds the error's context
    (T_mis(2)), which the new row takes verbatim.
    """
    requests = map(writer.extrapolation, errors)
    phase = f"round {writer.index}: extrapolate errors"
    if size is not None:
        writer.write_until(size, requests, phase=phase)
    else:
        writer.write(list(requests), phase=phase)


def merge_added(seed_data: Writer) -> Iterator[Round]:
    """Yield a round of seed data alone, then one with the rows another run added (Table 5)."""
    yield seed_data.train()
    added = seed_data.next_round()
    added.written.rows += added.setup.given["added_from"]
    yield added.train(union(seed_data.rows, added.rows))
