"""ZeroGen: a data set from the label-descriptive prompt alone, in a single pass.

Ye, Gao, Li, Xu, Feng, Wu, Yu, Kong: "ZeroGen: Efficient Zero-shot Learning via Dataset
Generation", EMNLP 2022.

The LLM writes `seed_size` texts for uniformly drawn labels, and the small model is trained on them.
Texts with a context are written for contexts, drawn as in S3. Gold labels serve only to report a
score on `select`.

The paper writes reviews in two stages: first movie names, then a review of a movie for a label.
`condition_name: movie` does the same: the LLM lists movies as conditions, and each text is about
one of them. `cleaning` cuts and drops texts by the paper's rules.

Departures:
    - By default there is one stage and no cleaning.
    - The LLM lists many conditions in one answer. The paper samples 800,000 names one by one and
      writes 32 texts for each; here each condition is used once before any is used again.
    - With `cleaning` a text ends at its last ".", "!" or "?"; in the paper, at its last ".".
    - Pairs are written without self-debiasing, which needs the LLM's logits.
    - Each answer in a passage gets one question, not two.
    - The final model is trained once, on all rows; the paper retrains every 10k rows. A student
      chooses its epoch on `select`, not on a held-out tenth of the synthetic rows.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import repeat
from math import ceil
from typing import ClassVar

from pydantic import Field

from stepsynth._util.text import normalise
from stepsynth.errors import ConfigError, TooFewRowsError
from stepsynth.methods._cleaning import clean_row
from stepsynth.methods._contexts import in_passes
from stepsynth.methods._drafts import draw_drafts
from stepsynth.methods._method import Round, Setup, WritingMethod
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.records import Example
from stepsynth.tasks import Task

LISTED = 20
"""Conditions requested in one answer."""

CONDITION_SHARE = 0.2
"""Largest share of a limited budget for conditions."""


class ZeroGen(WritingMethod):
    """The `zerogen` method."""

    name: ClassVar[str] = "zerogen"
    kinds: ClassVar[tuple[str, ...]] = (*WritingMethod.kinds, "multi_label")
    sees: ClassVar[str] = "none"
    needs_gold: ClassVar[bool] = False
    prompts: ClassVar[tuple[str, ...]] = (
        *("condition", "seed_conditioned"),
        *("context", "answers", "seed"),
    )

    seed_size: int = Field(default=1000, gt=0, description="Rows to keep.")
    drop_duplicates: bool = Field(default=False, description="Reject a text that is already there.")
    condition_name: str = Field(
        default="",
        description="Write in two stages: what the LLM names first and each text is about, such "
        "as `movie`. Empty: one stage. Rows with a context have that as their condition.",
    )
    num_conditions: int = Field(
        default=100, gt=0, description="With condition_name: how many of them are asked for."
    )
    cleaning: bool = Field(
        default=False,
        description="Cut and drop texts by the paper's rules: cut at the first quote or line "
        "break, or after the last full stop; drop those under 10 words (questions: 5, with a "
        "question mark, without the answer), copies of the condition, duplicates.",
    )

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Add the key of conditions, if there are none."""
        found = super().idle_keys(task)
        if not self.condition_name:
            found["num_conditions"] = "condition_name is not set, so there are no conditions"
        return found

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: rows written from their labels, and the model trained on them."""
        writer = self.new_writer(setup)
        self.write_rows(writer)
        yield writer.train()

    def new_writer(self, setup: Setup) -> Writer:
        """Return the writer of round 0."""
        is_new = self.drop_duplicates or self.cleaning
        return Writer(setup, self.name, seen=set() if is_new else None)

    def write_rows(self, writer: Writer) -> None:
        """Write the rows, one per prompt, from a label and a condition or context, if any.

        Raises:
            ConfigError: Conditions are requested, but the rows have contexts.
            TooFewRowsError: The LLM names no condition.
        """
        conditions: Iterable[str] = repeat("")
        if self.condition_name:
            with writer.share(CONDITION_SHARE):
                named = self._name_conditions(writer)
            conditions = in_passes(named, writer.setup.rng("conditions"))
        drafts = draw_drafts(writer, self.seed_size)
        requests = map(partial(self._request, writer), drafts, conditions)
        writer.write_until(self.seed_size, requests, phase="seed data")

    def _request(self, writer: Writer, like: Example, condition: str) -> RowRequest:
        task = writer.setup.task
        kind, prompt = "seed", task.seed_prompt(like)
        if condition:
            kind, name = "seed_conditioned", self.condition_name
            prompt = task.prompt(kind, like, condition_name=name, condition=condition)
        check = partial(clean_row, is_question=writes_questions(task), condition=condition)
        return writer.row(kind, prompt, like, check=check if self.cleaning else None)

    def _name_conditions(self, writer: Writer) -> list[str]:
        """Return distinct conditions that the LLM lists; ask once more if there are too few."""
        setup = writer.setup
        if setup.task.has_context:
            raise ConfigError(
                f"method.condition_name: each {setup.task.text_name} is written for a context, "
                "which is its condition",
                hint="leave condition_name out",
            )
        name = self.condition_name
        request = writer.request("condition", condition_name=name, number=LISTED)

        found: dict[str, str] = {}
        for _ in range(2):
            lists = ceil(max(0, self.num_conditions - len(found)) / LISTED)
            for items in writer.ask_lists([request] * lists, setup.task.parse_rationales):
                for item in items:
                    found.setdefault(normalise(item), item)
        if not found:
            raise TooFewRowsError(
                f"no seed data can be written: the LLM named no {name}",
                hint="leave method.condition_name out to write in one stage",
            )
        if len(found) < self.num_conditions:
            setup.warn(f"conditions: {len(found)} of {self.num_conditions} different ones")
        return list(found.values())[: self.num_conditions]


def writes_questions(task: Task) -> bool:
    """Return whether the texts of a task are questions."""
    return not task.label_names or "question" in task.text_name.casefold()
