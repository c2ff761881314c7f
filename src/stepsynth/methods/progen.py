"""ProGen: progressive generation, with the most helpful rows so far as in-context examples.

Ye, Gao, Wu, Feng, Yu, Kong: "ProGen: Progressive Zero-shot Dataset Generation via In-context
Feedback", Findings of EMNLP 2022.

The LLM first writes rows as in ZeroGen. At 100 rows, and at each doubling, the small model is
trained from scratch. An influence function then scores every row: how much the loss on synthetic
validation rows would change without it. These rows have wrong labels too, so the loss is a
noise-tolerant one, the reverse cross entropy. From then on half of the prompts show 8 of the 50
most helpful rows of their label. Gold rows serve only to report a score on `select`.

Each retraining is a round.

Departures:
    - Influence is computed for a last layer on fixed features: n-grams of `linear` (also beside
      `transformer`) or vectors of `embedding`. The layer is trained to its optimum by cross
      entropy, and the Hessian system is solved by conjugate gradients. The paper uses LiSSA on
      the whole network. All rows can thus be scored; the paper scores 10,000 at most.
    - Every second one of the first 2,000 rows is a validation row, from the first retraining on.
      The paper sets aside a tenth at first, and 1,000 of 2,000 rows once these exist. Validation
      rows are not trained on while rows are scored, and are never in-context examples. The
      round's model is trained on all rows; the paper leaves validation rows out.
    - A pool holds at most the better half of its label's scored rows, but enough for a prompt:
      early on, the best 50 would be all of them.
    - The official script uses influence only above 10,000 rows; here it is used from the start.
    - There is no retraining at a size at which some label has no row yet.
    - Labels are drawn uniformly; the paper takes them in turn.
    - Movie names (first stage) and length rules (10 words) are ZeroGen's, and are not here.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import ClassVar, Self

from pydantic import Field

from stepsynth._util.text import normalise
from stepsynth.methods._drafts import draw_drafts
from stepsynth.methods._features import features_of
from stepsynth.methods._influence import influence
from stepsynth.methods._last_layer import Loss
from stepsynth.methods._method import Model, Round, Setup, WritingMethod
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.methods.fewgen import draw_shots, showable
from stepsynth.metrics import one_hot
from stepsynth.records import Dataset, Example, Rejected
from stepsynth.tasks import Task

VALIDATION = 1000
"""Most validation rows; every second row is one until this number is reached."""

COPIED = 0.9
"""A row with this share of an in-context example's words is a copy of it."""

Pools = Mapping[str, Sequence[Example]]
"""Label -> its most helpful rows, best first."""


class ProGen(WritingMethod):
    """The `progen` method; its defaults are the paper's, except the size."""

    name: ClassVar[str] = "progen"
    kinds: ClassVar[tuple[str, ...]] = ("classification", "sentence_pair")
    sees: ClassVar[str] = "none"
    needs_gold: ClassVar[bool] = False
    prompts: ClassVar[tuple[str, ...]] = ("context", "seed", "few_shot")

    size: int = Field(default=1000, gt=0, description="Rows to keep in the end.")
    initial: int = Field(default=100, gt=0, description="Rows before the first retraining.")
    interval: int | None = Field(
        default=None, gt=0, description="Rows between retrainings; default: at each doubling."
    )
    shots: int = Field(default=8, gt=0, description="Helpful rows of one label in a prompt.")
    feedback: float = Field(
        default=0.5, ge=0, le=1, description="Share of prompts with helpful rows."
    )
    pool: int = Field(default=50, gt=0, description="Most helpful rows kept of each label.")
    loss: Loss = Field(
        default="reverse_cross_entropy",
        description="Loss of the validation rows: the robust one, or cross_entropy to see what "
        "that is for.",
    )

    def sized(self, rows: int) -> Self:
        """Return ProGen with this final size, and feedback from a quarter of it at the latest."""
        initial = min(self.initial, max(1, rows // 4))
        return self.model_copy(update={"size": rows, "initial": initial})

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Add the keys of feedback, if there is none."""
        found = super().idle_keys(task)
        keys = ("shots", "pool", "loss")
        if not self.feedback:
            found |= dict.fromkeys(keys, "feedback is 0")
        if self.initial >= self.size:
            why = f"all {self.size} rows are there before the first retraining (initial)"
            found |= dict.fromkeys(("interval", "feedback", *keys), why)
        return found

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield a round for each retraining; the last one has all rows."""
        rows: list[Example] = []
        pools: Pools = {}
        writer = Writer(setup, self.name, seen=set())
        drafts = draw_drafts(writer, self.size)
        rng = setup.rng("shots")
        for target in self.stops():
            wanted, before = target - len(rows), len(writer.rows)
            requests = map(partial(self._request, writer, pools, rng), drafts)
            writer.write_until(wanted, requests, phase=f"rows up to {target}")
            batch = writer.rows[before:]
            rows += batch
            is_last = target == self.size or not batch or not setup.spending.affordable(1)
            if not is_last and set(setup.task.label_names) - {str(row.label) for row in rows}:
                continue
            for request, note in writer.written.known.items():
                writer.written.note("shots", request=request, **note)
            done = writer.train(Dataset(rows))
            if not is_last:
                pools = self._choose_pools(Dataset(rows), done.model, writer)
            yield done
            if is_last:
                return
            writer = writer.next_round()

    def stops(self) -> list[int]:
        """Return the numbers of rows at which the student is retrained; the last is the size."""
        stops, now = list[int](), self.initial
        while now < self.size:
            stops.append(now)
            now += self.interval or now
        return [*stops, self.size]

    def _request(self, writer: Writer, pools: Pools, rng: Random, like: Example) -> RowRequest:
        """Return the request for a row, with or without helpful rows of its label."""
        task = writer.setup.task
        wants_shots = bool(pools) and rng.random() < self.feedback
        shots = draw_shots(pools, like, self.shots, rng) if wants_shots else []
        if not shots:
            return writer.row("seed", task.seed_prompt(like), like)
        prompt = task.prompt("few_shot", like, shots=shots)
        note = {"shots": [shot.id for shot in shots]}
        check = partial(reject_copy, shots=shots)
        return writer.row("few_shot", prompt, like, check=check, note=note)

    def _choose_pools(
        self, rows: Dataset, model: Model, writer: Writer
    ) -> dict[str, list[Example]]:
        """Return the most helpful rows of each label: those with the lowest influence."""
        names = writer.setup.task.label_names
        train, valid = split_validation(len(rows))
        X, Y = features_of(rows, model.student, names), one_hot(rows.labels, names).astype(float)
        scores = influence(X[train], Y[train], X[valid], Y[valid], loss=self.loss)
        scored = [(float(score), rows[i]) for score, i in zip(scores, train, strict=True)]
        for score, row in scored:
            writer.written.note("influence", row=row.id, label=row.label, influence=score)
        best_first = Dataset(row for _, row in sorted(scored, key=lambda pair: pair[0]))
        return {
            label: best[: min(self.pool, max(self.shots, len(best) // 2))]
            for label, best in showable(best_first, writer.setup).by_label().items()
        }


def split_validation(number: int) -> tuple[list[int], list[int]]:
    """Return the indices of the rows to score, and of the validation rows."""
    valid = list(range(1, min(number, 2 * VALIDATION), 2))
    held_out = set(valid)
    return [i for i in range(number) if i not in held_out], valid


def reject_copy(row: Example, *, shots: Sequence[Example]) -> Example | Rejected:
    """Return the row, or reject it if it has nine tenths of an in-context example's words."""
    words = set(normalise(row.text).split())
    for shot in shots:
        theirs = set(normalise(shot.text).split())
        if len(words & theirs) >= COPIED * len(theirs):
            return Rejected("copy_of_shot", row.text)
    return row
