"""What a method is given, what it yields, and nothing more."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from stepsynth._util.rng import make_rng
from stepsynth.llm import LLM
from stepsynth.records import Context, Dataset, Provenance, Rejected
from stepsynth.registry import Registry
from stepsynth.students import StudentFactory
from stepsynth.students._student import FreshStudent
from stepsynth.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that a method may use. The test split is not here, nor anything that could load it.

    Attributes:
        task: Labels, prompts, what counts as right.
        llm: Answers requests, in order, each draw once.
        student: `new()` gives a fresh small model.
        mine: Gold rows that errors are mined from.
        select: Gold rows that choose between rounds. Never trained on, never shown to the LLM.
        contexts: What seed data is written for, where rows have a context; none: the LLM writes
            them.
        random_seed: Decides every draw of the method.
        warn: Called with a sentence that the user should read.
    """

    task: Task
    llm: LLM
    student: StudentFactory
    mine: Dataset
    select: Dataset
    random_seed: int
    warn: Callable[[str], None]
    contexts: tuple[Context, ...] = ()

    def rng(self, *names: object) -> Random:
        """Return a stream of randomness of that name."""
        return make_rng(self.random_seed, *names)

    def score(self, model: FreshStudent) -> float:
        """Return the task's main score of a model on `select`, 0-1."""
        return self.task.score(self.select, model.predict(self.select))[self.task.score_name]


@dataclass(frozen=True)
class Unused:
    """An answer that became no row, or a request that got no answer, and what it was for.

    Attributes:
        rejected: The reason, and what the LLM wrote ("" where there was no answer).
        label: The label that was asked for.
        provenance: Round, parents and request.
        is_failed: The request was given up; else it was answered with something unusable.
        context: The context that it was for, if any.
    """

    rejected: Rejected
    label: str
    provenance: Provenance
    is_failed: bool = False
    context: str | None = None


@dataclass(frozen=True)
class Round:
    """One pass of a method: the model after it, what it was trained on, what it got wrong.

    Attributes:
        index: 0 for the first training.
        added: Rows that this round added.
        train: All rows that the round's model was trained on.
        model: The round's fitted student.
        misclassified: Gold rows of `mine` that this model gets wrong, with their gold labels.
        predicted: What the model says of each of them.
        select_score: The task's main score on `select`.
        unused: Rejected outputs and failed requests of this round.
        rationales: Label -> those that the seed data was written from, in round 0.
        asked: What the LLM wrote before the seed data (rationales, contexts, answers), in round 0,
            as recordings (`kind`, `label`, `context`, `draw`, `completion`).
        exchanges: Id of a request -> its prompt and what the LLM wrote, verbatim.
    """

    index: int
    added: Dataset
    train: Dataset
    model: FreshStudent
    misclassified: Dataset
    predicted: tuple[str, ...]
    select_score: float
    unused: tuple[Unused, ...] = ()
    rationales: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked: tuple[Mapping[str, Any], ...] = ()
    exchanges: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class Method(BaseModel, ABC):
    """A method: its fields are its keys in a task file.

    It writes no file, resumes nothing and never meets test data: running it again with the same
    LLM store is resuming.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    needs_llm: ClassVar[bool] = True

    @abstractmethod
    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the rounds, each with its fitted model."""

    def choose_round(self, rounds: Sequence[Round]) -> int:
        """Return the index of the round that is kept: the last one."""
        return len(rounds) - 1


def methods() -> Registry[Method]:
    """Return the registry of methods."""
    return Registry("stepsynth.methods", "method", Method)
