"""Text classification: each text has one of any number of labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from numbers import Real
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from stepsynth._util.text import check_name, clean, compose, is_blank, normalise, shorten
from stepsynth.errors import suggest
from stepsynth.metrics import AnyPredictions, Predictions, score_classification
from stepsynth.prompts import parse_choice, parse_reasons, parse_text
from stepsynth.records import Example, Label, Rejected
from stepsynth.tasks._task import SHARED_FIELDS, Task

MOST_CHOICES = 100
"""Most label words that a JSON Schema lists; providers refuse long lists."""


class Classification(Task):
    """A task with texts that each have one label.

    Attributes:
        labels: Label as in the data -> the word for it in prompts; a list of labels will do.
    """

    name: ClassVar[str] = "classification"

    labels: dict[str, str] = Field(
        description="Label as in the data -> label word in prompts; a list will do.",
        json_schema_extra={
            "type": ["object", "array"],
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "items": {"type": ["string", "number", "boolean"]},
        },
    )

    labelled_name: str | dict[str, str] = Field(
        default="",
        description="What prompts call a text of a label: a phrase in which {label} stands for the "
        'label word ("news item about {label}"), or label -> phrase; default: the text\'s name '
        'and "that is {label}".',
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _name_labels(cls, value: object) -> dict[str, str]:
        if isinstance(value, Mapping):
            pairs = {label_text(k): label_text(k if v is None else v) for k, v in value.items()}
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if any(isinstance(label, (Mapping, list)) for label in value):
                raise ValueError("a label must be a text, not a list or a mapping")
            pairs = {label_text(label): label_text(label) for label in value}
        else:
            raise ValueError("labels must be a list, or a mapping of labels to label words")
        if len(pairs) < 2 or len(pairs) < len(value):
            raise ValueError(f"a task needs two or more different labels, got {list(value)}")
        if any(not label or not word for label, word in pairs.items()):
            raise ValueError("a label and its word must not be empty")
        _check_distinct(pairs)
        return pairs

    @field_validator("labels")
    @classmethod
    def _check_characters(cls, labels: dict[str, str]) -> dict[str, str]:
        for label, word in labels.items():
            check_name(label, "the label")
            check_name(word, "the label word")
        return labels

    @model_validator(mode="after")
    def _check_labelled_name(self) -> Self:
        phrases = self.labelled_name
        if isinstance(phrases, str):
            if phrases and "{label}" not in phrases:
                raise ValueError("labelled_name: {label} must stand in it, else all labels are one")
            return self
        if phrases.keys() != self.labels.keys():
            raise ValueError(
                f"labelled_name: a phrase is needed for each label ({', '.join(self.labels)}), "
                f"got {', '.join(phrases)}"
            )
        return self

    def labelled(self, label: str) -> str:
        """Return what prompts call a text of a label: "review that is negative"."""
        default = self.native.labelled if self.native else "{text_name} that is {label}"
        phrases = self.labelled_name or default.replace("{text_name}", self.text_name)
        phrase = phrases if isinstance(phrases, str) else phrases[label]
        return phrase.replace("{label}", self.labels[label])

    def own_prompts(self) -> dict[str, Sequence[str]]:
        """Return the three prompts of S3's Table 1 with their fields."""
        shared = (*SHARED_FIELDS, *(f for f in self._row_fields(Example("", "")) if f != "text"))
        return {
            "rationale": (*shared, "number"),
            "seed": (*shared, "rationales"),
            "extrapolate": (*shared, "text"),
        }

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the task file."""
        return tuple(self.labels)

    def label_word(self, label: str) -> str:
        """Return the word that the task file gives for a label."""
        return self.labels[label]

    def rationale_prompt(self, label: str, number: int) -> str:
        """Return T_ration: list `number` reasons why the label, or all of a set, could apply."""
        return self.prompt("rationale", Example("", label), number=number)

    def _row_fields(self, row: Example) -> dict[str, Any]:
        label = str(row.label)
        return {
            "text": row.text,
            "label_word": self.labels.get(label, ""),
            "label_words": list(self.labels.values()),
            "labelled": self.labelled(label) if label in self.labels else "",
        }

    def _answer_fields(self, name: str) -> Mapping[str, Any]:
        if name == "from_instance_seed":
            return {"text": {"type": "string"}}
        words = list(dict.fromkeys(self.labels.values()))
        choices = {"enum": words} if len(words) <= MOST_CHOICES else {}
        return {"label": {"type": "string", **choices}} if name == "decide" else {}

    def parse_example(
        self, completion: str, like: Example, *, truncated: bool
    ) -> Example | Rejected:
        """Return the row, its text without quotes, preamble and label tags."""
        text = parse_text(
            completion,
            text_name=self.text_name,
            labels=self._tags,
            truncated=truncated,
            context_name=self._row_fields(like).get("context_name", ""),
            sources=[source for source in (like.context, like.text) if source],
            asked=self._asked(str(like.label)),
        )
        return text if isinstance(text, Rejected) else replace(like, text=text)

    def parse_rationales(self, completion: str, *, truncated: bool) -> tuple[str, ...] | Rejected:
        """Return the rationales of an output, or why it holds none."""
        return parse_reasons(
            completion,
            text_name=self.text_name,
            labels=self._tags,
            asked=_normalised(self.instruction),
            truncated=truncated,
        )

    @property
    def _tags(self) -> tuple[str, ...]:
        return tuple(sorted({*self.labels, *self.labels.values()}))

    def _asked(self, label: str) -> str:
        """Return the task's words in a request for a text of a label, normalised.

        The prompt's own words are left out: they may be the user's.
        """
        return _normalised(f"{self.instruction} {self.labelled(label)} {self.asked_length}")

    def parse_decision(self, completion: str, row: Example, *, truncated: bool) -> Label | Rejected:
        """Return the label that an output names, as JSON or in words."""
        return parse_choice(completion, self.labels, truncated=truncated)

    def read_example(self, row: Mapping[str, Any]) -> Example:
        """Return the example of a row with `text` and `label`."""
        text = read_text(row, "text")
        return Example(text=text, label=self._read_label(row["label"], text))

    def _read_label(self, value: object, text: str) -> str:
        label = label_text(only_label(value))
        if not label:
            raise ValueError(f"the label of {shorten(text, 50)!r} is empty")
        return self._known(label, text)

    def _known(self, label: str, text: str) -> str:
        """Return a label of the task; another one is an error."""
        if label not in self.labels:
            known = ", ".join(map(repr, self.labels))
            near = suggest(label, self.labels)
            raise ValueError(
                f"the label {label!r} (of {shorten(text, 50)!r}) is none of the task's: {known}"
                + (f"; {near}" if near else "")
            )
        return label

    def score(self, examples: Sequence[Example], predictions: AnyPredictions) -> dict[str, Any]:
        """Return accuracy, macro-F1, AUC, n and the confusion matrix."""
        assert isinstance(predictions, Predictions)
        return score_classification([str(example.label) for example in examples], predictions)

    def is_correct(self, example: Example, predicted: str) -> bool:
        """Say whether the predicted label is the gold label."""
        return predicted == example.label


_normalised = lru_cache(maxsize=1024)(normalise)
"""Cached: the request is the same for every answer of a label."""


def _check_distinct(labels: Mapping[str, str]) -> None:
    """Make sure that no two labels share a name: an LLM could not say which it means."""
    owners: dict[str, str] = {}
    for label, word in labels.items():
        for name in (label, word):
            owner = owners.setdefault(" ".join(name.casefold().split()), label)
            if owner != label:
                raise ValueError(
                    f"the labels {owner!r} and {label!r} cannot be told apart: but for case and "
                    f"spaces both are called {name!r}; use one, or other words"
                )


def read_text(row: Mapping[str, Any], field: str) -> str:
    """Return a field of a row that must hold a text.

    Raises:
        ValueError: It is not a text, or is empty.
    """
    text = row[field]
    if not isinstance(text, str) or is_blank(text):
        raise ValueError(f"the {field} must be a text that is not empty, got {text!r}")
    return clean(text)


def label_text(value: object) -> str:
    """Return a label as text, the same from YAML, JSON and CSV: "1" for 1 and 1.0, "true" for true.

    A missing value is ""; the text "nan" is a label like any other.
    """
    if is_missing(value):
        return ""
    if isinstance(value, bool) or type(value).__name__ == "bool":  # NumPy's is no bool
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return compose(str(value)).strip()


def only_label(value: Any) -> Any:
    """Return the only label of a list; another value is returned as it is.

    Raises:
        ValueError: The list has several different labels.
    """
    labels = as_list(value)
    if not isinstance(labels, list):
        return value
    different = list(dict.fromkeys(map(label_text, labels)))
    if len(different) > 1:
        listed = shorten(", ".join(map(repr, different)), 100)
        raise ValueError(
            f"a row has one label, but of kind multi_label, and this one has several: {listed}"
        )
    return different[0] if different else None


def as_list(value: Any) -> Any:
    """Return a list, tuple or NumPy array as a list; another value is returned as it is."""
    values = value.tolist() if hasattr(value, "tolist") else value
    return list(values) if isinstance(values, (list, tuple)) else value


def is_missing(value: object) -> bool:
    """Say whether a value is missing, also in the forms of data frames."""
    is_none = value is None or type(value).__name__ in ("NAType", "NaTType")
    return is_none or (isinstance(value, Real) and value != value)
