"""S3 with gold: error extrapolation where the gold rows are trained on, too.

Wang, Zhou, Sachan: "Let's Synthesize Step by Step", Findings of EMNLP 2023, and what was found
since to be worth more than the choice of errors. Seed data is S3's. Each part below is an option:

- Gold rows are in training. Cross-validation on `mine` chooses the weight of a synthetic row beside
  them; 0 is gold alone, so that synthesis does no harm that `mine` can clearly see.
- Plausibility (IMP, Kuo et al., ICLR 2025): a synthetic row counts as a model of gold rows finds
  its label probable.
- Errors are those of models that have not seen the row: what is still wrong once gold is used.
- The mix p of S3's equation 2: other gold rows are extrapolated beside errors, each once before any
  error twice.
- `extrapolate_from`: words of rows like it, or a passage near it, in place of the gold text.
- An error that confident learning finds wrongly labelled is not extrapolated (Northcutt et al.,
  JAIR 2021).
- Balance: where cross-validation finds that the model gives labels too often or too seldom, offsets
  of their log-probabilities undo it (Alexandari et al., ICML 2020).
- The last round within one standard error of the best on `select` is kept, and where gold alone
  does clearly better, its model trains on gold alone and says so.

The constants are those of docs/protocol.md.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil, sqrt
from random import Random
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from stepsynth.curation import flag_confident
from stepsynth.errors import TooFewRowsError
from stepsynth.methods._contexts import in_passes
from stepsynth.methods._cross_fitting import SYNTHETIC_WEIGHTS, CrossFit, cross_fit
from stepsynth.methods._hints import Passages, Words
from stepsynth.methods._label_balance import Balance
from stepsynth.methods._method import Round, Setup
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.methods.s3 import SEED_SHARE, SeedData, shares
from stepsynth.metrics import SCORE_NAMES, Floats, Predictions, hits_error
from stepsynth.records import Dataset, Example, union
from stepsynth.students import FreshStudent
from stepsynth.tasks import Task

Ask = Callable[[Example, Writer], RowRequest]


class S3Plus(SeedData):
    """The `s3_plus` method."""

    name: ClassVar[str] = "s3_plus"
    kinds: ClassVar[tuple[str, ...]] = ("classification", "sentence_pair")
    sees: ClassVar[str] = "texts and labels of `mine`: trained on; some go into prompts"

    prompts: ClassVar[tuple[str, ...]] = (*SeedData.prompts, "refine")

    rounds: int = Field(default=2, ge=0, description="Rounds of extrapolation (R).")
    added_size: int | None = Field(
        default=None,
        gt=0,
        description="Rows that a round adds. Without it: as many as there are errors, divided by "
        "`error_share`.",
    )
    synthetic_weight: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        default="auto",
        description="Weight of a synthetic row beside a gold row in training; auto: chosen by "
        "cross-validation on `mine`, and 0 where gold alone is clearly best.",
    )
    plausibility: bool = Field(
        default=True,
        description="Weigh synthetic rows by how probable a model of gold rows finds their label.",
    )
    balance: Balance = Field(
        default="auto",
        description="Give labels as often as held-out gold rows have them: auto, where that "
        "clearly raises the main score on those; always, for accuracy where labels are uneven; or "
        "never.",
    )
    error_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the extrapolations that are of errors (p of Eq. 2); the others are "
        "of any gold row.",
    )
    skip_noise: bool = Field(
        default=True, description="Leave out errors whose gold label looks wrong."
    )
    extrapolate_from: Literal["text", "words", "passage"] = Field(
        default="text",
        description="What an extrapolation starts from: the gold text; words that several gold "
        "texts share, so that no gold text leaves the machine; or a passage of the corpus near it.",
    )
    keep: Literal["last", "one_se", "best_of_all"] = Field(
        default="best_of_all",
        description="Keep the last round, or the last within one standard error of the best; "
        "best_of_all: that, and gold alone where it does clearly better than with synthetic rows.",
    )

    @property
    def joins_gold(self) -> bool:
        """Whether its models are trained on gold rows beside synthetic ones."""
        return True

    @property
    def seen(self) -> str:
        """The gold rows it uses, and their purpose, given its keys."""
        if not self.rounds:
            return "texts and labels of `mine`: trained on"
        if self.extrapolate_from == "words":
            return f"{self.sees}; of classification, words that several share, and no text"
        return self.sees

    @property
    def uses_corpus(self) -> bool:
        """Whether extrapolations start from passages."""
        return self.extrapolate_from == "passage" and self.rounds > 0

    def sized(self, rows: int) -> Self:
        """Return the method with S3's shares of the rows."""
        return self.model_copy(update=shares(rows, self.rounds))

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Return those about gold in training, too: it always is."""
        why = "gold rows are always trained on; synthetic_weight weighs the others"
        found = super().idle_keys(task) | dict.fromkeys(
            ("train_on", "gold_weight", "reweight"), why
        )
        if not self.rounds:
            keys = ("added_size", "error_share", "skip_noise", "extrapolate_from")
            found |= dict.fromkeys(keys, "there are no rounds")
        elif task.has_context:
            found["extrapolate_from"] = "a pair is written for its own context"
        return found

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield round 0 (seed data) to round R, each with the model of gold and synthetic rows."""
        seed_data = Writer(setup, self.name, seen=set() if self.drop_duplicates else None)
        with seed_data.share(SEED_SHARE if self.rounds else 1.0):
            self.write_seed_data(seed_data)
        added, rows, ask = seed_data, seed_data.rows, self.asking(setup)
        for q in range(self.rounds + 1):
            fitted = self.cross_fit(rows, setup)
            yield train_with_gold(added, rows, fitted, do_no_harm=self.keep == "best_of_all")
            if q == self.rounds:
                return
            added = added.next_round()
            with added.share(1 / (self.rounds - q)):
                self.extrapolate(fitted, added, ask, setup.rng("errors", q))
            rows = union(rows, added.rows)

    def cross_fit(self, rows: Dataset, setup: Setup) -> CrossFit:
        """Return what models of gold and synthetic rows say of the gold rows they have not seen."""
        given = self.synthetic_weight
        weights = SYNTHETIC_WEIGHTS if given == "auto" else (given,)
        return cross_fit(
            rows,
            setup,
            weights=weights,
            weigh_plausibility=self.plausibility,
            balance=self.balance,
        )

    def asking(self, setup: Setup) -> Ask:
        """Return what requests a row from a gold row (T_mis, or without the gold text)."""
        if self.extrapolate_from == "text" or not self.rounds or setup.task.has_context:
            return lambda row, writer: writer.extrapolation(row)
        return (Words if self.extrapolate_from == "words" else Passages)(setup).request

    def extrapolate(self, fitted: CrossFit, added: Writer, ask: Ask, rng: Random) -> None:
        """Write rows like errors and gold rows (S3, Algorithm 2, lines 7-10, with Eq. 2's p)."""
        setup = added.setup
        errors = without_noise(fitted) if self.skip_noise else fitted.missed
        size = self.added_size or ceil(len(errors) / (self.error_share or 1.0))
        drawn = mix(errors, setup.mine, self.error_share, rng)
        phase = f"round {added.index}: extrapolate errors and gold"
        added.write_until(size, (ask(row, added) for row in drawn), phase=phase)
        if self.extrapolate_from != "text":
            added.written.note_rows("hints")

    def choose_round(self, rounds: Sequence[Round], select: Dataset) -> int:
        """Return the last round, or the last within one standard error of the best on `select`."""
        if self.keep == "last" or not select:
            return len(rounds) - 1
        best = max(done.select_score for done in rounds)
        share = min(max(best, 0.0), 1.0)
        least = best - sqrt(share * (1 - share) / len(select))
        return max(i for i, done in enumerate(rounds) if done.select_score >= least)


def mix(errors: Dataset, gold: Dataset, share: float, rng: Random) -> Iterator[Example]:
    """Yield errors and gold rows endlessly, each in shuffled passes; a `share` of errors."""
    passes = in_passes(errors, rng), in_passes(gold, rng)
    while gold:
        yield next(passes[0] if errors and rng.random() < share else passes[1])


def without_noise(fitted: CrossFit) -> Dataset:
    """Return the errors but those whose gold label confident learning finds wrong."""
    if fitted.predictions is None:
        return fitted.missed
    try:
        verdict = flag_confident(fitted.gold, fitted.predictions)
    except TooFewRowsError:
        return fitted.missed
    noise = {row.id for row, wrong in zip(fitted.gold, verdict.wrong, strict=True) if wrong}
    return Dataset(row for row in fitted.missed if row.id not in noise)


def train_with_gold(added: Writer, rows: Dataset, fitted: CrossFit, *, do_no_harm: bool) -> Round:
    """Return the round whose model is trained on gold rows, and synthetic rows by their weights.

    Args:
        added: Wrote the rows that the round adds.
        rows: All synthetic rows.
        fitted: Their weights, and what held-out models say.
        do_no_harm: Train on gold alone where it scores clearly higher on held-out gold rows.
    """
    setup, pairs = added.setup, zip(rows, fitted.weights, strict=True)
    kept = [(row, weight) for row, weight in pairs if weight]
    model = train_on_gold_and(kept, setup, fitted.offsets)
    verdict = None
    if fitted.predictions is not None and fitted.alone is not None:
        alone = train_on_gold_and([], setup, fitted.offsets_alone) if kept else model
        with_rows = held_out(fitted.predictions, model, setup)
        without = held_out(fitted.alone, alone, setup)
        verdict, is_harm = judge(with_rows, without, fitted, setup)
        model = alone if is_harm and do_no_harm else model
        if model.offsets is not None and model.offsets.any():
            verdict += " Its labels are balanced by held-out gold rows."
    return replace(added.finish(model, fitted.missed, fitted.predicted), verdict=verdict)


def train_on_gold_and(
    rows: Sequence[tuple[Example, float]], setup: Setup, offsets: Floats | None
) -> FreshStudent:
    """Return a model of the gold rows of `mine` and of weighted synthetic rows.

    Args:
        rows: Synthetic rows with their weights.
        setup: Holds the gold rows, and the student to fit.
        offsets: (n_labels,) what to add to the log-probability of each label; None: nothing.
    """
    model = setup.student.new(as_given=True)
    model.fit(
        Dataset([*setup.mine, *(row for row, _ in rows)]),
        [*(1.0 for _ in setup.mine), *(weight for _, weight in rows)],
    )
    if offsets is not None:
        model.add_offsets(offsets)
    return model


def held_out(said: Predictions, model: FreshStudent, setup: Setup) -> Predictions:
    """Return predictions for held-out gold: those given of `mine`, and a model's for `select`."""
    if setup.select == setup.mine:  # as in the paper's own splits
        return said
    selected = model.predict(setup.select)
    assert isinstance(selected, Predictions)
    both = np.concatenate([said.probabilities, selected.probabilities])
    return Predictions(said.label_names, both)


def judge(
    with_rows: Predictions, alone: Predictions, fitted: CrossFit, setup: Setup
) -> tuple[str, bool]:
    """Return whether synthetic rows help, in a sentence, and whether gold alone is clearly better.

    A difference is clear beyond one standard error of the paired difference in accuracy.

    Args:
        with_rows: Predictions for held-out gold by models of gold and synthetic rows.
        alone: Likewise, by models of gold alone.
        fitted: The weights that were tried.
        setup: The task and the gold rows.
    """
    if not fitted.weights:
        return "No synthetic row was written that could be used: the model is gold alone's.", False
    if not any(fitted.weights):
        losses = ", ".join(f"{loss:.3f} at {weight:g}" for weight, loss in fitted.tried.items())
        told = f"gold alone predicts held-out gold best (loss by weight: {losses})"
        return f"Synthesis does not help here: {told}. More labels are worth more.", True
    gold = fitted.gold if len(alone) == len(fitted.gold) else union(fitted.gold, setup.select)
    name = setup.task.score_name
    scores = [setup.task.score(gold, said)[name] for said in (with_rows, alone)]
    error = hits_error(gold.labels, with_rows, alone)
    gain = scores[0] - scores[1]
    if abs(gain) <= error:
        told = "Synthesis makes no clear difference"
    else:
        told = "Synthesis helps" if gain > 0 else "Synthesis does not help here"
    numbers = f"{100 * scores[0]:.1f} with synthetic rows, {100 * scores[1]:.1f} with gold alone"
    on = f"{SCORE_NAMES[name][0]} on {len(gold)} held-out gold rows"
    return f"{told}: {on} is {numbers}.", gain < -error
