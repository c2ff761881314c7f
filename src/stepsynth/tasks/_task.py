"""What a task is, whatever its kind: labels, prompts, how outputs are read, how rows are scored."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stepsynth.metrics import Predictions
from stepsynth.prompts.parsing import parse_list
from stepsynth.prompts.template import Template, compile_template, read_built_in
from stepsynth.records import Example, Rejected
from stepsynth.registry import Registry


class Task(BaseModel):
    """A task without its data: labels, words, prompts, and what counts as right.

    A kind of task (one file) extends it with the columns of its rows, its prompts and its scores.
    It holds no data and calls no LLM.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    columns: ClassVar[Mapping[str, str]] = {"text": "text", "label": "label"}
    """Field of an `Example` -> the column of the user's file that it is read from by default."""

    score_name: ClassVar[str] = "macro_f1"
    """The score that chooses a round and stops early."""

    instruction: str = Field(default="", description="What is to be decided, in one sentence.")
    text_name: str = Field(
        default="text", min_length=1, description="What the LLM is asked to write."
    )
    language: str = Field(
        default="", description="Language to write in, where not that of the prompt."
    )
    prompts: dict[str, str] = Field(
        default_factory=dict,
        description="Own templates: rationale, seed, extrapolate -> a Jinja2 file (or its text).",
    )

    @field_validator("prompts")
    @classmethod
    def _compile_prompts(cls, prompts: dict[str, str]) -> dict[str, str]:
        fields = cls.prompt_fields()
        for name in prompts:
            if name not in fields:
                raise ValueError(f"no prompt is named {name!r}; known: {', '.join(sorted(fields))}")
        for name in fields:
            cls._template(name, prompts)
        return prompts

    @classmethod
    @abstractmethod
    def prompt_fields(cls) -> Mapping[str, Sequence[str]]:
        """Return the prompts of this kind of task, and the fields that each may use."""

    @classmethod
    def _template(cls, name: str, prompts: Mapping[str, str]) -> Template:
        own = prompts.get(name)
        source = read_built_in(name) if own is None else own
        where = f"built-in prompt {name!r}" if own is None else f"prompt {name!r} of the task"
        return compile_template(source, tuple(cls.prompt_fields()[name]), where)

    def template_sources(self) -> dict[str, str]:
        """Return the prompt templates in force, for the manifest and the report."""
        return {name: self._template(name, self.prompts).source for name in self.prompt_fields()}

    def render(self, prompt: str, **fields: Any) -> str:
        """Return one of the task's prompts, filled in."""
        shared = {
            "instruction": self.instruction,
            "text_name": self.text_name,
            "language": self.language,
        }
        return self._template(prompt, self.prompts).render(**shared, **fields)

    def parse_rationales(self, completion: str, *, truncated: bool) -> tuple[str, ...] | Rejected:
        """Return the rationales of an output, or why it holds none."""
        return parse_list(completion, truncated=truncated)

    @property
    @abstractmethod
    def label_names(self) -> tuple[str, ...]:
        """The labels, as they stand in the data, in the order of every array of scores."""

    @abstractmethod
    def rationale_prompt(self, label: str, number: int) -> str:
        """Return T_ration(y): list reasons why a label could apply (S3, Algorithm 1)."""

    @abstractmethod
    def seed_prompt(self, label: str, rationales: Sequence[str] = ()) -> str:
        """Return T_query(r, y): write a text of a label, for reasons if any (S3, Algorithm 1)."""

    @abstractmethod
    def extrapolation_prompt(self, example: Example) -> str:
        """Return T_mis(x, y): write another text like this one (S3, Algorithms 2 and 3)."""

    @abstractmethod
    def parse_example(self, completion: str, *, truncated: bool) -> str | Rejected:
        """Return the text that an output holds, or why it holds none."""

    @abstractmethod
    def read_example(self, row: Mapping[str, Any]) -> Example:
        """Return the example of a row of data, whose keys are those of `columns`.

        Raises:
            ValueError: The row cannot be used; the message says why and what was expected.
        """

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: Predictions) -> dict[str, Any]:
        """Return the scores of predictions for gold examples; `score_name` is among them."""

    @abstractmethod
    def is_correct(self, example: Example, predicted: str) -> bool:
        """Say whether a prediction for a gold example is right."""


def task_kinds() -> Registry[Task]:
    """Return the registry of task kinds."""
    return Registry("stepsynth.tasks", "kind of task", Task)
