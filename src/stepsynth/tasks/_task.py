"""The base class of tasks: labels, prompts, parsing of outputs, and scores."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stepsynth._util.text import check_name
from stepsynth.metrics import AnyPredictions
from stepsynth.prompts import (
    Template,
    compile_template,
    has_built_in,
    parse_list,
    parse_text,
    read_built_in,
)
from stepsynth.records import Context, Example, Label, Rejected
from stepsynth.registry import Registry
from stepsynth.tasks._languages import NATIVE, Language
from stepsynth.tasks._prompts import GENERAL_PROMPTS, METHOD_PROMPTS

SHARED_FIELDS = ("instruction", "text_name", "language", "length")
"""Fields that every prompt may use."""


class Task(BaseModel):
    """A task without its data: labels, words, prompts, and what counts as right.

    A kind of task (one file) extends it with the columns of its rows, its prompts and its scores.
    It holds no data and calls no LLM.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    columns: ClassVar[Mapping[str, str]] = {"text": "text", "label": "label"}
    """Field of an `Example` -> its default column in the user's file."""

    score_name: ClassVar[str] = "macro_f1"
    """The score that chooses a round and decides on early stopping."""

    has_label_sets: ClassVar[bool] = False
    """A row has any number of labels, as a `LabelSet`."""

    has_context: ClassVar[bool] = False
    """Rows have a context that the LLM is given; seed data is written from contexts."""

    templates: ClassVar[str] = "classification"
    """The folder of the built-in prompts."""

    instruction: str = Field(default="", description="What is to be decided, in one sentence.")
    text_name: str = Field(
        default="text", min_length=1, description="What the LLM is asked to write."
    )
    language: str = Field(
        default="",
        description="Language to write in, where not that of the prompt. By its own name (Deutsch, "
        "日本語, العربية, 中文) it is that of prompts too.",
    )
    length: tuple[int, int] | None = Field(
        default=None,
        description="Words of a text in prompts, as [least, most]; default: as most gold texts "
        "have, where the method sees gold.",
    )
    prompts: dict[str, str] = Field(
        default_factory=dict,
        description="Own templates: seed, extrapolate, ... -> a Jinja2 file (or its text).",
    )

    @field_validator("text_name", "context_name", "language", check_fields=False)
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_name(name, "the name")

    @field_validator("length")
    @classmethod
    def _check_length(cls, length: tuple[int, int] | None) -> tuple[int, int] | None:
        if length is not None and not 0 < length[0] <= length[1]:
            raise ValueError(f"expected [least, most] words, got {list(length)}")
        return length

    @model_validator(mode="after")
    def _compile_prompts(self) -> Self:
        fields = self.prompt_fields()
        for name in self.prompts:
            if name not in fields:
                raise ValueError(f"no prompt is named {name!r}; known: {', '.join(sorted(fields))}")
        for name in fields:
            self._template(name)
        return self

    @property
    def optional_columns(self) -> Mapping[str, str]:
        """Optional field of a row -> its default column."""
        return {}

    def prompt_fields(self) -> Mapping[str, Sequence[str]]:
        """Return the prompts of this kind of task, and the fields that each may use."""
        shared = SHARED_FIELDS
        of_row = (*shared, *self._row_fields(Example("", "")))
        of_methods = {
            name: (*of_row, *fields)
            for name, fields in METHOD_PROMPTS.items()
            if has_built_in(f"{self.templates}/{name}")
        }
        general = {name: (*shared, *fields) for name, fields in GENERAL_PROMPTS.items()}
        return self.own_prompts() | of_methods | general

    @abstractmethod
    def own_prompts(self) -> dict[str, Sequence[str]]:
        """Return the prompts of S3's Table 1 for this kind of task, with their fields."""

    @abstractmethod
    def _row_fields(self, row: Example) -> dict[str, Any]:
        """Return the fields of a row that prompts of methods may use."""

    def prompt(self, name: str, row: Example, **fields: Any) -> str:
        """Return a prompt that a method sends, for the label, text and context of a row.

        Args:
            name: One of `prompt_fields`.
            row: The row that it is about; its text is "" if that is still to be written.
            fields: The prompt's own fields.
        """
        return self.render(name, **self._row_fields(row), **fields)

    def _template(self, name: str) -> Template:
        own = self.prompts.get(name)
        place = name if name in GENERAL_PROMPTS else f"{self.templates}/{name}"
        if self.native and has_built_in(f"{self.templates}/{self.native.code}/{name}"):
            place = f"{self.templates}/{self.native.code}/{name}"
        source = read_built_in(place) if own is None else own
        where = f"built-in prompt {name!r}" if own is None else f"prompt {name!r} of the task"
        return compile_template(source, tuple(self.prompt_fields()[name]), where)

    @property
    def native(self) -> Language | None:
        """The language of prompts; None: English."""
        found = NATIVE.get(self.language.strip().casefold())
        return found if found and has_built_in(f"{self.templates}/{found.code}/seed") else None

    def template_sources(self) -> dict[str, str]:
        """Return the prompt templates in force, for the manifest and the report."""
        return {name: self._template(name).source for name in self.prompt_fields()}

    @property
    def asked_length(self) -> str:
        """The length that prompts ask for, in words; "": none."""
        if self.length is None:
            return ""
        least, most = self.length
        if self.native:
            return self.native.length.format(least=least, most=most)
        return f"{least} to {most} words" if least < most else f"about {most} words"

    def render(self, prompt: str, **fields: Any) -> str:
        """Return one of the task's prompts, filled in."""
        shared = {
            "instruction": self.instruction,
            "text_name": self.text_name,
            "language": self.language,
            "length": self.asked_length,
        }
        return self._template(prompt).render(**shared, **fields)

    def answer_schema(self, name: str) -> dict[str, Any] | None:
        """Return the JSON Schema of the answer to a prompt; None: the answer is not JSON.

        A user's own prompt has none, since it may ask for anything.
        """
        fields = {} if name in self.prompts else self._answer_fields(name)
        if not fields:
            return None
        return {
            "type": "object",
            "properties": dict(fields),
            "required": list(fields),
            "additionalProperties": False,
        }

    def _answer_fields(self, name: str) -> Mapping[str, Any]:
        """Return the fields of the JSON that a built-in prompt asks for, with their schemas."""
        return {}

    def parse_rationales(self, completion: str, *, truncated: bool) -> tuple[str, ...] | Rejected:
        """Return the rationales of an output, or why it holds none."""
        return parse_list(completion, truncated=truncated)

    @property
    @abstractmethod
    def label_names(self) -> tuple[str, ...]:
        """The labels, as they stand in the data, in the order of every array of scores.

        Empty if the label is an answer that stands in the context.
        """

    def label_word(self, label: str) -> str:
        """Return the word for a label in prompts."""
        return label

    def draw_label(self, rng: Random, gold: Sequence[Label] = ()) -> Label:
        """Return the label of a row that is to be written: y ~ U(Y) (S3, Algorithm 1).

        Args:
            rng: Draws it.
            gold: The labels of the gold rows that the method may see.
        """
        return rng.choice(self.label_names)

    def explained_labels(self, gold: Sequence[Label]) -> tuple[str, ...]:
        """Return the labels that rationales are asked for, as texts: all of the task.

        Args:
            gold: The labels of the gold rows that the method may see.
        """
        return self.label_names

    def answer_of(self, label: Label) -> dict[str, Any]:
        """Return the JSON that the prompt `decide` wants for a row of this label."""
        return {"label": self.label_word(str(label))}

    @abstractmethod
    def rationale_prompt(self, label: str, number: int) -> str:
        """Return T_ration(y): list reasons why a label could apply (S3, Algorithm 1)."""

    def context_prompt(self) -> str:
        """Return the prompt for a context, for users who have none."""
        return self.render("context")

    def seed_prompt(self, like: Example, rationales: Sequence[str] = ()) -> str:
        """Return T_query: write a text of a label, for reasons or a context if any.

        Args:
            like: Has the label and context that the text is to have, and no text.
            rationales: Reasons (S3, Algorithm 1).
        """
        return self.prompt("seed", like, rationales=list(rationales))

    def extrapolation_prompt(self, example: Example) -> str:
        """Return T_mis(x, y): write another text like this one (S3, Algorithms 2 and 3)."""
        return self.prompt("extrapolate", example)

    @abstractmethod
    def parse_example(
        self, completion: str, like: Example, *, truncated: bool
    ) -> Example | Rejected:
        """Return the row that an output holds, or why it holds none.

        Args:
            completion: What the LLM wrote.
            like: Has the label and context that were asked for; the context is kept verbatim.
            truncated: The LLM was cut off.
        """

    def parse_context(self, completion: str, *, truncated: bool) -> str | Rejected:
        """Return the context that an output holds, or why it holds none."""
        return parse_text(completion, truncated=truncated)

    @abstractmethod
    def read_example(self, row: Mapping[str, Any]) -> Example:
        """Return the example of a row of data, whose keys are those of `columns`.

        Raises:
            ValueError: The row cannot be used; the message says why and what was expected.
        """

    @abstractmethod
    def parse_decision(self, completion: str, row: Example, *, truncated: bool) -> Label | Rejected:
        """Return the label or answer that an output gives for a row, or why it gives none."""

    def read_context(self, row: Mapping[str, Any]) -> Context:
        """Return the context of a row of contexts, with the label that it fixes, if any.

        Raises:
            ValueError: The row cannot be used; the message says why and what was expected.
        """
        raise ValueError(f"a {self.name} task has no contexts")

    def context_of(self, example: Example) -> Context:
        """Return the context of a gold row, for seed data."""
        return Context(example.context or "")

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: AnyPredictions) -> dict[str, Any]:
        """Return the scores of predictions for gold examples; `score_name` is among them."""

    def main_score(self, examples: Sequence[Example], predictions: AnyPredictions) -> float:
        """Return the score that chooses a round, 0-1."""
        return self.score(examples, predictions)[self.score_name]

    @abstractmethod
    def is_correct(self, example: Example, predicted: str) -> bool:
        """Say whether a prediction for a gold example is right."""


def task_kinds() -> Registry[Task]:
    """Return the registry of task kinds."""
    return Registry("stepsynth.tasks", "kind of task", Task)
