"""LLM: the LLM itself predicts every row of `select` and of test, without a small model.

Its score, and the cost of a thousand of its predictions, show whether a small model is needed at
all. It is asked in the words of the task (the prompt `decide`), with `shots: k` after k gold rows
of `mine`: in-context learning, what most people do with few labels. Sampling follows the task file:
`llm.temperature: 0` is what one would deploy.

Departures from every other method: nothing is synthesised or trained, and no budget of synthesis
applies.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field

from stepsynth.methods._decide import Decisions, ShotsFrom
from stepsynth.methods._method import Method, Round, Setup
from stepsynth.methods._reading import read_decision
from stepsynth.methods._sending import check_answered
from stepsynth.metrics import AnyPredictions, Predictions, Spans, certain, membership
from stepsynth.records import Answers, Dataset, Example, Label
from stepsynth.tasks import Task


class LLMItself(Method):
    """The `llm` method."""

    name: ClassVar[str] = "llm"
    kinds: ClassVar[tuple[str, ...]] = (*Method.kinds, "multi_label")
    sees: ClassVar[str] = "none"
    needs_gold: ClassVar[bool] = False
    prompts: ClassVar[tuple[str, ...]] = ("decide",)

    shots: int = Field(default=0, ge=0, le=100, description="Gold rows in each prompt (k).")
    shots_from: ShotsFrom = Field(
        default="nearest", description="Shots are the gold rows most like the text, or random ones."
    )

    @property
    def uses_gold(self) -> bool:
        """Whether gold rows go into prompts."""
        return self.shots > 0

    @property
    def seen(self) -> str:
        """The gold rows it uses, and their purpose."""
        return "texts and labels of `mine`: they go into prompts" if self.shots else self.sees

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Return the keys without effect, and why."""
        return {} if self.shots else {"shots_from": "there are no shots"}

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round, without rows."""
        model = AskedModel(setup, Decisions(setup, self.shots, self.shots_from))
        nothing = Dataset()
        yield Round(0, nothing, nothing, model, nothing, (), select_score=setup.score(model))


class AskedModel:
    """A model that asks the LLM about each row once."""

    def __init__(self, setup: Setup, decisions: Decisions) -> None:
        self._setup = setup
        self._decisions = decisions
        self._said: dict[tuple[str, str | None], Label | None] = {}

    @property
    def student(self) -> None:
        """None: there is nothing to save."""
        return None

    @property
    def asked(self) -> int:
        """Number of rows the LLM was asked about."""
        return len(self._said)

    def predict(self, dataset: Dataset) -> AnyPredictions:
        """Return the LLM's predictions; for an unreadable answer, a random label or no answer."""
        rows = {(row.text, row.context): row for row in dataset}
        self._ask([row for key, row in rows.items() if key not in self._said])
        said = [self._said[row.text, row.context] for row in dataset]
        task = self._setup.task
        names = task.label_names
        if not names:
            found = [label if isinstance(label, Answers) else None for label in said]
            return Spans(
                [answer.texts[0] if answer else "" for answer in found],
                [answer.starts[0] if answer else 0 for answer in found],
                [float(answer is not None) for answer in found],
            )
        rng = self._setup.rng("no decision")
        chosen = [task.draw_label(rng) if label is None else label for label in said]
        if task.has_label_sets:
            return certain(membership([str(label) for label in chosen], names), names)
        column = {name: i for i, name in enumerate(names)}
        return Predictions(names, np.eye(len(names))[[column[str(label)] for label in chosen]])

    def _ask(self, rows: list[Example]) -> None:
        missing = 0
        requests = self._decisions.requests(rows)
        answers = self._setup.llm.generate(requests, phase="decide") if rows else []
        check_answered(answers, self._setup.llm, phase="decide")
        for row, answer in zip(rows, answers, strict=True):
            found = read_decision(answer, row, self._setup.task)
            missing += found is None
            self._said[row.text, row.context] = found
        if missing:
            names = self._setup.task.label_names
            lacking = "name no label: chance decides" if names else "give no part of their passage"
            self._setup.warn(f"decide: {missing} of {len(rows)} answers {lacking}")
