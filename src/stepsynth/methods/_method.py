"""Base classes of methods, their input (`Setup`) and their output (`Round`)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from stepsynth._util.html import table
from stepsynth._util.rng import make_rng
from stepsynth._util.text import shorten
from stepsynth.curation import Curation, Curator
from stepsynth.errors import ConfigError
from stepsynth.llm import LLM
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.metrics import AnyPredictions, Floats
from stepsynth.records import Context, Dataset, Provenance, Rejected
from stepsynth.registry import Registry
from stepsynth.students import Student, StudentFactory
from stepsynth.tasks import Task

if TYPE_CHECKING:
    from stepsynth.retrieval import Index

SHOWN = 5
"""Misclassified rows of a round that a notebook shows."""


class Model(Protocol):
    """The result of a round: anything that predicts."""

    def predict(self, dataset: Dataset) -> AnyPredictions:
        """Return predictions for the examples, in their order."""
        ...

    @property
    def student(self) -> Student | None:
        """The trained small model; None where there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The input of a method. It holds no test split, nor anything that could load one.

    Attributes:
        task: Labels, prompts and scoring.
        llm: Answers requests, in order, each draw once.
        student: Factory of small models; `new()` gives a fresh one.
        mine: Gold rows that errors are mined from.
        select: Gold rows that choose between rounds. Never trained on, never shown to the LLM.
        contexts: Contexts that seed data is written for, if rows have one; empty: the LLM writes
            them.
        index: Searchable passages; None: the task file names no corpus.
        unlabelled: Texts of the task's own kind, with the label "".
        given: Key of the method -> rows of the file or run that the key names.
        curator: Rejects unfit rows; default: every row that can be parsed is kept.
        spending: The spending limit.
        texts_per_prompt: Texts requested in one prompt, where prompts repeat.
        text_tokens: Most tokens that one text needs; None: unknown.
        journal: Records the outcome of each request.
        random_seed: Determines every draw of the method.
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
    unlabelled: Dataset = field(default_factory=Dataset)
    given: Mapping[str, Dataset] = field(default_factory=dict)
    curator: Curator = field(default_factory=lambda: Curator(Curation()))
    spending: SpendingLimit = field(default_factory=SpendingLimit)
    texts_per_prompt: int = 1
    text_tokens: int | None = None
    journal: "Journal" = field(default_factory=lambda: Journal())

    def rng(self, *names: object) -> Random:
        """Return the random stream of that name."""
        return make_rng(self.random_seed, *names)

    def need_index(self, method: str) -> "Index":
        """Return the index, which the named method searches.

        Raises:
            ConfigError: The task file names no corpus.
        """
        if self.index is None:
            raise ConfigError(
                f"the method {method} searches a corpus, and there is none",
                hint="data: {corpus: passages.jsonl} names one",
            )
        return self.index

    def score(self, model: Model) -> float:
        """Return a model's main score on `select`, 0-1."""
        return self.task.main_score(self.select, model.predict(self.select))


@dataclass(frozen=True, slots=True)
class Unused:
    """An answer that became no row, or a request without an answer.

    Attributes:
        rejected: The reason, and the LLM's output ("" if there was no answer).
        label: The requested label.
        provenance: Round, parents and request.
        is_failed: True: the request was given up; False: its answer was unusable.
        context: The requested context, if any.
        detail: The provider's message: the cause of a failure, or of an early stop.
    """

    rejected: Rejected
    label: str
    provenance: Provenance
    is_failed: bool = False
    context: str | None = None
    detail: str = ""


@dataclass
class Journal:
    """A record of the round in progress: the only one if the run ends within the round.

    Attributes:
        unused: Answers that became no row, and requests without an answer.
        exchanges: Id of an unused answer's request -> its prompt and the LLM's output, verbatim.
    """

    unused: list[Unused] = field(default_factory=list)
    exchanges: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, unused: Sequence[Unused], exchanges: Mapping[str, tuple[str, str]]) -> None:
        """Add what requests brought that became no row."""
        self.unused += unused
        requests = {each.provenance.request for each in unused}
        self.exchanges |= {each: exchanges[each] for each in requests if each in exchanges}

    def clear(self) -> None:
        """Empty the record for the next round."""
        self.unused.clear()
        self.exchanges.clear()


@dataclass(frozen=True)
class Round:
    """One round of a method: its model, the training rows and the model's errors.

    Attributes:
        index: 0 for the first training.
        added: Rows that this round added.
        train: All rows that the round's model was trained on.
        model: The round's fitted student (the method `llm` has none: its model asks the LLM).
        misclassified: Gold rows of `mine` that this model gets wrong, with their gold labels.
        predicted: The model's prediction for each of them.
        select_score: The task's main score on `select`.
        unused: Rejected outputs and failed requests of this round.
        rationales: Label -> rationales that the seed data was written from, in round 0.
        asked: The LLM's output before the seed data (rationales, contexts, answers), in round 0,
            as recordings (`kind`, `label`, `context`, `draw`, `completion`).
        exchanges: Request id -> its prompt and the LLM's output, verbatim.
        weights: Weight of each row of `train`; None: all equal.
        offsets: (n_labels,) what was added to the model's log-probability of each label; None:
            nothing.
        verdict: Whether synthetic rows help, in a sentence; None: the method does not look.
        notes: File name -> lines that only the method can write (weights, passages, ...).
    """

    index: int
    added: Dataset
    train: Dataset
    model: Model = field(repr=False)
    misclassified: Dataset
    predicted: tuple[str, ...] = field(repr=False)
    select_score: float
    unused: tuple[Unused, ...] = field(default=(), repr=False)
    rationales: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    asked: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    exchanges: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    weights: tuple[float, ...] | None = field(default=None, repr=False)
    offsets: Floats | None = field(default=None, repr=False)
    verdict: str | None = None
    notes: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict, repr=False)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the numbers, and the first misclassified rows."""
        said = (
            f"Round {self.index}: {len(self.added)} rows added, trained on {len(self.train)}; "
            f"{len(self.misclassified)} mining rows wrong; {self.select_score:.3f} on select"
        )
        columns = [(name, False) for name in ("misclassified", "label", "taken for")]
        pairs = zip(self.misclassified, self.predicted, strict=True)
        rows = [
            (shorten(row.text, 200), shorten(str(row.label)), shorten(told))
            for row, told in islice(pairs, SHOWN)
        ]
        return f"<b>{said}</b>" + (table(columns, rows) if rows else "")


class Method(BaseModel, ABC):
    """A method; its fields are its keys in a task file.

    A method that synthesises rows extends `SynthesisMethod`, or `WritingMethod` if the LLM writes
    them.

    A method writes no files and never sees test data. To resume, run it again with the same LLM
    store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    needs_llm: ClassVar[bool] = True

    kinds: ClassVar[tuple[str, ...]] = ("classification", "sentence_pair", "extractive_qa")
    """Kinds of task that its paper covers."""

    sees: ClassVar[str]
    """The gold rows it uses, and their purpose, as `compare` words it."""

    needs_gold: ClassVar[bool] = True
    """Whether it needs rows of `mine`."""

    needs_corpus: ClassVar[bool] = False
    """Whether it needs passages (`data.corpus`)."""

    needs_unlabelled: ClassVar[bool] = False
    """Whether it needs unlabelled texts (`data.unlabelled`)."""

    needs_meaning: ClassVar[bool] = False
    """Whether it needs a student that knows the meaning of texts before it has learnt from any."""

    prompts: ClassVar[tuple[str, ...]] = ("seed",)
    """Names of the task's prompts that it sends."""

    is_reference: ClassVar[bool] = False
    """Whether it shows what there is without synthesis: a comparison passes no verdict on it."""

    data_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that name a file of rows or a run folder."""

    @property
    def joins_gold(self) -> bool:
        """Whether its models are trained on gold rows beside the synthetic ones."""
        return False

    @property
    def uses_gold(self) -> bool:
        """Whether it needs gold rows, given its keys."""
        return self.needs_gold

    @property
    def uses_corpus(self) -> bool:
        """Whether it needs passages, given its keys."""
        return self.needs_corpus

    @property
    def seen(self) -> str:
        """The gold rows it uses, and their purpose, given its keys."""
        return self.sees

    @property
    def parts(self) -> "tuple[Method, ...]":
        """The method itself, and the methods that are among its keys."""
        return (self,)

    def mapped(self, change: "Callable[[Method], Method]") -> "Method":
        """Return the method with a change to each of its parts."""
        return change(self)

    @abstractmethod
    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the rounds, each with its fitted model."""

    def sized(self, rows: int) -> Self:
        """Return the method with sizes that give this number of training rows.

        Args:
            rows: Synthetic rows of the last round; with limited requests, the most that these can
                give.
        """
        if "seed_size" not in type(self).model_fields:
            return self
        return self.model_copy(update={"seed_size": rows})

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Return the keys without effect, given the other keys and the task, and why.

        A method whose keys depend on each other adds its own. Keys at their default may be among
        them: the user did not set them.
        """
        return {}

    def choose_round(self, rounds: Sequence[Round], select: Dataset) -> int:
        """Return the index of the round to keep: the last one."""
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
        """Whether it needs gold rows, given its keys."""
        return self.needs_gold or self.joins_gold or self.reweight != "none"

    @property
    def seen(self) -> str:
        """The gold rows it uses, and their purpose, given its keys."""
        said = [] if self.sees == "none" else [self.sees]
        if self.joins_gold:
            said.append("texts and labels of `mine`: trained on too")
        if self.reweight != "none":
            said.append("texts of `mine`: synthetic rows are weighed by them")
        return "; ".join(said) or "none"

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Return the keys without effect, and why."""
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
    """Return the number of texts that a method requests in one prompt."""
    return method.texts_per_prompt if isinstance(method, WritingMethod) else 1


def best_round(rounds: Sequence[Round]) -> int:
    """Return the index of the first round with the best score on `select`."""
    return max(range(len(rounds)), key=lambda i: (rounds[i].select_score, -i))


def methods() -> Registry[Method]:
    """Return the registry of methods."""
    return Registry("stepsynth.methods", "method", Method)
