"""What a method is given, what it yields, and nothing more."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from stepsynth._util.rng import make_rng
from stepsynth.llm import LLM
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.metrics import AnyPredictions
from stepsynth.records import Context, Dataset, Provenance, Rejected
from stepsynth.registry import Registry
from stepsynth.students import Student, StudentFactory
from stepsynth.tasks import Task

if TYPE_CHECKING:
    from stepsynth.curation import Curator
    from stepsynth.retrieval import Index


class Model(Protocol):
    """What a round ends with: something that predicts."""

    def predict(self, dataset: Dataset) -> AnyPredictions:
        """Return what it says of examples, in their order."""
        ...

    @property
    def student(self) -> Student | None:
        """The trained small model; None where there is none."""
        ...


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
        index: Passages that can be searched; None: the task file names no corpus.
        given: Name of a key of the method -> the rows of the file or run that it names.
        curator: Says which rows are not kept; None: all that can be read are.
        spending: What may be spent.
        texts_per_prompt: Texts asked for in one prompt, where prompts repeat.
        text_tokens: Most tokens that one text needs; None: not known.
        journal: Takes what came of each request.
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
    index: "Index | None" = None
    given: Mapping[str, Dataset] = field(default_factory=dict)
    curator: "Curator | None" = None
    spending: SpendingLimit = field(default_factory=SpendingLimit)
    texts_per_prompt: int = 1
    text_tokens: int | None = None
    journal: "Journal" = field(default_factory=lambda: Journal())

    def rng(self, *names: object) -> Random:
        """Return a stream of randomness of that name."""
        return make_rng(self.random_seed, *names)

    def score(self, model: Model) -> float:
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
        detail: What the provider said of it: why it failed, or its word for an early stop.
    """

    rejected: Rejected
    label: str
    provenance: Provenance
    is_failed: bool = False
    context: str | None = None
    detail: str = ""


@dataclass
class Journal:
    """What came of the requests of a round in progress: all there is of it if the run ends in it.

    Attributes:
        unused: Answers that became no row, and requests without an answer.
        exchanges: Id of a request -> its prompt and what the LLM wrote, verbatim.
    """

    unused: list[Unused] = field(default_factory=list)
    exchanges: dict[str, tuple[str, str]] = field(default_factory=dict)

    def clear(self) -> None:
        """Begin the next round."""
        self.unused.clear()
        self.exchanges.clear()


@dataclass(frozen=True)
class Round:
    """One pass of a method: the model after it, what it was trained on, what it got wrong.

    Attributes:
        index: 0 for the first training.
        added: Rows that this round added.
        train: All rows that the round's model was trained on.
        model: The round's fitted student (the method `llm` has none: its model asks the LLM).
        misclassified: Gold rows of `mine` that this model gets wrong, with their gold labels.
        predicted: What the model says of each of them.
        select_score: The task's main score on `select`.
        unused: Rejected outputs and failed requests of this round.
        rationales: Label -> those that the seed data was written from, in round 0.
        asked: What the LLM wrote before the seed data (rationales, contexts, answers), in round 0,
            as recordings (`kind`, `label`, `context`, `draw`, `completion`).
        exchanges: Id of a request -> its prompt and what the LLM wrote, verbatim.
        weights: How much each row of `train` counted; None: all the same.
        notes: Name of a file -> its lines: what the method alone knows (weights, passages, ...).
    """

    index: int
    added: Dataset
    train: Dataset
    model: Model
    misclassified: Dataset
    predicted: tuple[str, ...]
    select_score: float
    unused: tuple[Unused, ...] = ()
    rationales: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked: tuple[Mapping[str, Any], ...] = ()
    exchanges: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    weights: tuple[float, ...] | None = None
    notes: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


class Method(BaseModel, ABC):
    """A method: its fields are its keys in a task file.

    One that synthesises rows extends `SynthesisMethod`, or `WritingMethod` where the LLM writes
    them.

    It writes no file, resumes nothing and never meets test data: running it again with the same
    LLM store is resuming.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    needs_llm: ClassVar[bool] = True

    kinds: ClassVar[tuple[str, ...]] = ("classification", "sentence_pair", "extractive_qa")
    """Kinds of task that its paper defines it for."""

    sees: ClassVar[str]
    """Which gold rows it uses, and for what, as `compare` says it."""

    needs_gold: ClassVar[bool] = True
    """It cannot work without rows of `mine`."""

    needs_corpus: ClassVar[bool] = False
    """It cannot work without passages (`data.corpus`)."""

    prompts: ClassVar[tuple[str, ...]] = ("seed",)
    """Names of the task's prompts that it sends."""

    data_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that name a file of rows or a run folder."""

    @property
    def joins_gold(self) -> bool:
        """Whether its models are trained on gold rows beside the synthetic ones."""
        return False

    @property
    def uses_gold(self) -> bool:
        """Whether it cannot work without gold rows, as its keys are."""
        return self.needs_gold

    @abstractmethod
    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the rounds, each with its fitted model."""

    def sized(self, rows: int) -> Self:
        """Return the method with sizes that bring about so many training rows.

        Args:
            rows: Synthetic rows of the last round; with limited requests, as many as those can
                bring.
        """
        if "seed_size" not in type(self).model_fields:
            return self
        return self.model_copy(update={"seed_size": rows})

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Return the keys that do nothing as the other keys and the task are, and why.

        A method whose keys hang together adds its own. A key that is at its default may be among
        them: nobody has asked for it.
        """
        return {}

    def choose_round(self, rounds: Sequence[Round]) -> int:
        """Return the index of the round that is kept: the last one."""
        return len(rounds) - 1


class SynthesisMethod(Method):
    """A method that synthesises rows."""

    train_on: Literal["synthetic", "both"] = Field(
        default="synthetic",
        description="What the round's model is trained on: the synthetic rows, or both those and "
        "the gold rows of `mine`. Errors are mined with a model of synthetic rows alone.",
    )
    gold_weight: float = Field(
        default=1.0, gt=0, description="With train_on: both, how much a gold row counts."
    )
    reweight: Literal["none", "density_ratio"] = Field(
        default="none",
        description="Weigh synthetic rows: density_ratio, by how much they look like gold rows of "
        "`mine` (Synt++).",
    )

    @property
    def joins_gold(self) -> bool:
        """Whether its models are trained on gold rows beside the synthetic ones."""
        return self.train_on == "both"

    @property
    def uses_gold(self) -> bool:
        """Whether it cannot work without gold rows, as its keys are."""
        return self.needs_gold or self.joins_gold or self.reweight != "none"

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Return the keys that do nothing."""
        if self.joins_gold:
            return super().idle_keys(task)
        why = "gold rows are trained on with train_on: both alone"
        return super().idle_keys(task) | {"gold_weight": why}


class WritingMethod(SynthesisMethod):
    """A method whose rows the LLM writes."""

    texts_per_prompt: int = Field(
        default=1,
        gt=0,
        le=100,
        description="Texts asked for in one prompt, where prompts repeat; the paper asks for one.",
    )


def texts_per_prompt(method: Method) -> int:
    """Return how many texts a method asks for in one prompt."""
    return method.texts_per_prompt if isinstance(method, WritingMethod) else 1


def methods() -> Registry[Method]:
    """Return the registry of methods."""
    return Registry("stepsynth.methods", "method", Method)
