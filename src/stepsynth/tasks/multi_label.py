"""Multi-label classification: each text has any number of the labels, also none of them.

A row's label is a `LabelSet`. In a prompt it is named as a whole ("message about parking and also
waste"): texts are written for sets of labels that occur together, not for one label at a time.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any, ClassVar

from pydantic import field_validator

from stepsynth._util.text import shorten
from stepsynth.metrics import AnyPredictions, MultiLabelPredictions, score_multi_label
from stepsynth.prompts import parse_choices
from stepsynth.records import NO_LABELS, SEPARATOR, Example, Label, LabelSet, Rejected, names_of
from stepsynth.tasks.classification import (
    Classification,
    as_list,
    is_missing,
    label_text,
    read_text,
)

MOST_EXPLAINED = 50
"""Most sets of labels that rationales are asked for, the commonest of gold."""
_YES = frozenset({"1", "1.0", "true", "yes"})
_NO = frozenset({"0", "0.0", "false", "no"})
FLAGS = _YES | _NO
"""Values of a column that says whether a label applies, in lower case."""


class MultiLabel(Classification):
    """A task with texts that each have any number of labels."""

    name: ClassVar[str] = "multi_label"
    columns: ClassVar[Mapping[str, str]] = {"text": "text"}
    score_name: ClassVar[str] = "micro_f1"
    has_label_sets: ClassVar[bool] = True
    templates: ClassVar[str] = "multi_label"

    @field_validator("labels")
    @classmethod
    def _check_separator(cls, labels: dict[str, str]) -> dict[str, str]:
        for label in labels:
            if SEPARATOR in label or label == NO_LABELS:
                raise ValueError(
                    f"the label {label!r}: {SEPARATOR!r} stands between the labels of a row, and "
                    f"{NO_LABELS!r} for a row without labels; rename it in the data"
                )
        return labels

    @field_validator("labelled_name")
    @classmethod
    def _check_one_phrase(cls, phrases: str | dict[str, str]) -> str | dict[str, str]:
        if not isinstance(phrases, str):
            raise ValueError("one phrase is needed, in which {label} stands for all label words")
        return phrases

    @property
    def optional_columns(self) -> Mapping[str, str]:
        """The column of labels, or one for each label that says whether it applies."""
        return {"label": "label"} | {name: name for name in self.labels if name != "text"}

    def labelled(self, label: str) -> str:
        """Return what prompts call a text of a set: "message about parking and also waste"."""
        words = [self.labels[name] for name in LabelSet.parse(label).names]
        phrase = str(self.labelled_name) or f"{self.text_name} that is {{label}}"
        # Told of "none of these", a small LLM writes about them.
        others = f"something other than {_join(list(self.labels.values()), 'or')}"
        return phrase.replace("{label}", _join(words, "and also") or others)

    def label_word(self, label: str) -> str:
        """Return the words for the labels of a set, as in a list."""
        return ", ".join(self.labels[name] for name in LabelSet.parse(label).names)

    def answer_of(self, label: Label) -> dict[str, Any]:
        """Return the JSON that the prompt `decide` wants: the words of the labels."""
        return {"labels": [self.labels[name] for name in LabelSet.parse(str(label)).names]}

    def draw_label(self, rng: Random, gold: Sequence[Label] = ()) -> Label:
        """Return the set of labels of a row that is to be written.

        It is that of a gold row, so that labels occur together as they do in gold; without gold,
        one label or two that are drawn.
        """
        if gold:
            return rng.choice(gold)
        return self._set(rng.sample(self.label_names, rng.choice((1, 2))))

    def explained_labels(self, gold: Sequence[Label]) -> tuple[str, ...]:
        """Return the sets of gold that rationales are asked for, the commonest first.

        A text without labels has none: it could be about anything.
        """
        counts = Counter(str(label) for label in gold if names_of(label))
        counts = counts or dict.fromkeys(self.label_names, 1)
        return tuple(sorted(counts, key=lambda text: (-counts[text], text))[:MOST_EXPLAINED])

    def _row_fields(self, row: Example) -> dict[str, Any]:
        names = LabelSet.parse(str(row.label)).names
        return {
            "text": row.text,
            "label_set": [self.labels[name] for name in names],
            "label_words": list(self.labels.values()),
            "labelled": self.labelled(str(row.label)),
        }

    def _answer_fields(self, name: str) -> Mapping[str, Any]:
        if name != "decide":
            return {}
        return {"labels": {"type": "array", "items": super()._answer_fields(name)["label"]}}

    def parse_decision(
        self, completion: str, row: Example, *, truncated: bool
    ) -> LabelSet | Rejected:
        """Return the labels that an output lists."""
        found = parse_choices(completion, self.labels, truncated=truncated)
        return found if isinstance(found, Rejected) else LabelSet(found)

    def read_example(self, row: Mapping[str, Any]) -> Example:
        """Return the example of a row with `text`, and `label` or a column for each label.

        `label` is a list, also one in JSON, or a text such as "a|b"; an empty one has no labels.
        """
        text = read_text(row, "text")
        lacking = [name for name in self.labels if name not in row]
        if not lacking:
            names = [name for name in self.labels if self._applies(row[name], name, text)]
        elif "label" in row:
            names = [self._known(name, text) for name in listed_labels(row["label"], text)]
        else:
            raise ValueError(
                "the row has neither the column of `label` nor one for each label, such as "
                f"{lacking[0]!r}; data.columns names them"
            )
        return Example(text=text, label=self._set(names))

    def _known(self, label: str, text: str) -> str:
        if label not in self.labels and "," in label:
            raise ValueError(
                f"the label {label!r} (of {shorten(text, 50)!r}) is none of the task's; several "
                f"are a list, or have {SEPARATOR} between them"
            )
        return super()._known(label, text)

    def _applies(self, value: object, name: str, text: str) -> bool:
        flag = label_text(value).casefold()
        if flag not in FLAGS:
            raise ValueError(
                f"the column of {name!r} says whether the label applies: 0 or 1 was expected, got "
                f"{value!r} (of {shorten(text, 50)!r})"
            )
        return flag in _YES

    def _set(self, names: Sequence[str]) -> LabelSet:
        """Return a set in the task's order."""
        return LabelSet(tuple(name for name in self.labels if name in names))

    def score(self, examples: Sequence[Example], predictions: AnyPredictions) -> dict[str, Any]:
        """Return micro-F1, macro-F1, F1 of rows, exact match, n, and scores by label."""
        assert isinstance(predictions, MultiLabelPredictions)
        return score_multi_label([str(example.label) for example in examples], predictions)

    def is_correct(self, example: Example, predicted: str) -> bool:
        """Say whether the predicted set is the gold set, exactly."""
        return predicted == str(example.label)


def _join(words: Sequence[str], last: str) -> str:
    """Return words as a sentence lists them, with `last` before the last one."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def listed_labels(value: Any, text: str) -> list[str]:
    """Return the labels that a value lists.

    Raises:
        ValueError: The value is missing.
    """
    value = as_list(value)
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):  # a label may begin with a bracket
            value = as_list(json.loads(value))
    if isinstance(value, list):
        return [label_text(each) for each in value]
    if is_missing(value):
        raise ValueError(f"{shorten(text, 50)!r} has no labels; [] says that none applies")
    return list(LabelSet.parse(label_text(value)).names)
