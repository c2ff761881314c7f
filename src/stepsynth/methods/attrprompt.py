"""AttrPrompt: prompts with varied attributes, for varied rows.

Yu, Zhuang, Zhang, Meng, Ratner, Krishna, Shen, Zhang: "Large Language Model as Attributed Training
Data Generator: A Tale of Diversity and Bias", NeurIPS 2023, Datasets and Benchmarks.

The LLM names attribute dimensions in which texts differ (subtopic, style, place, ...). It lists
values of each: for every label if the dimension depends on the label, else once. A label's value
that also suits one of its most similar labels is dropped. Each row is then requested with one value
of every dimension, drawn uniformly, and a length band, as numbered requirements.

Departures:
    - The paper's authors choose among the dimensions that the LLM names, and know which depend on
      the class; here the LLM says which do, or the user does (`dimensions`).
    - If labels are few, all others count as similar to a label; else the LLM names similar ones.
    - As in the paper's code, one question covers five similar classes, and at most five values are
      dropped for each label and dimension.
    - Requirements are worded alike for every task; the paper words them for each data set.
    - Labels are drawn uniformly; the paper requests the same number of rows of each.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from stepsynth._util.text import normalise
from stepsynth.errors import ConfigError
from stepsynth.llm import Completion, Request
from stepsynth.methods._method import Round, Setup, WritingMethod
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.prompts import parse_choice
from stepsynth.records import Example, Rejected
from stepsynth.tasks import Task

DISCOVERY_SHARE = 0.5
"""Largest share of the budget for dimensions, values and their filter."""

BAND = 50
"""Width of a length band, in words."""

LONGEST_NAME = 6
"""Most words of a dimension's name; three are asked for, and what is longer is talk."""

Scope = Literal["shared", "by_label"]
Given = Scope | list[str] | dict[str, list[str]]
_NUMBER = re.compile(r"\A\d{1,2}[.)]\s+(?=\S)")
_YES_NO = {"yes": "yes", "no": "no"}


@dataclass
class Dimension:
    """An attribute dimension, a way in which texts differ.

    Attributes:
        name: Its name in prompts.
        values: Label -> values to draw from.
        is_by_label: Values depend on the label; False: all labels share them.
        is_given: The user gave the values: none is requested, none dropped.
    """

    name: str
    values: dict[str, list[str]]
    is_by_label: bool
    is_given: bool = False


class AttrPrompt(WritingMethod):
    """The `attrprompt` method."""

    name: ClassVar[str] = "attrprompt"
    kinds: ClassVar[tuple[str, ...]] = ("classification",)
    sees: ClassVar[str] = "none"
    needs_gold: ClassVar[bool] = False
    prompts: ClassVar[tuple[str, ...]] = (
        *("dimensions", "values", "similar", "suits"),
        "attributed",
    )

    seed_size: int = Field(default=1000, gt=0, description="Rows to keep.")
    dimensions: list[str] | dict[str, Given] | None = Field(
        default=None,
        description="Names of dimensions, whose values depend on the label; or name -> `by_label` "
        "or `shared` (the LLM lists values), a list of values for all labels, or label -> values. "
        "Without them the LLM names dimensions.",
    )
    num_dimensions: int = Field(
        default=4, gt=0, description="Dimensions that the LLM is asked for, length apart."
    )
    num_values: int = Field(
        default=10, gt=0, description="Values asked for, of each dimension (and label)."
    )
    num_similar: int = Field(
        default=5, gt=0, description="Similar labels that a value must not suit as well."
    )
    max_rejected: int = Field(
        default=5, ge=0, description="Most values to drop, of each label and dimension."
    )
    lengths: tuple[int, ...] = Field(
        default=(30, 100),
        description=f"A text has L to L + {BAND} words, L drawn from these; none: any length.",
    )
    many_labels: int = Field(
        default=10,
        gt=0,
        description="From so many labels on, prompts name the similar labels that a text must be "
        "irrelevant to.",
    )

    @field_validator("dimensions")
    @classmethod
    def _check_given(cls, value: Any) -> Any:
        for name, given in value.items() if isinstance(value, dict) else ():
            lists = given.values() if isinstance(given, dict) else [given]
            if not name.strip() or any(not listed for listed in lists):
                raise ValueError(f"the dimension {name!r} has no values")
        return value

    def idle_keys(self, task: Task) -> dict[str, str]:
        """Add the keys of requests that given dimensions or values make needless."""
        found = super().idle_keys(task)
        if self.dimensions is None:
            return found
        found["num_dimensions"] = "dimensions names them"
        given = self.dimensions.values() if isinstance(self.dimensions, dict) else ("by_label",)
        if not any(isinstance(values, str) for values in given):
            found["num_values"] = "dimensions has all values"
        if "by_label" not in given:
            found["max_rejected"] = "the LLM lists no values that depend on a label"
        return found

    def synthesize(self, setup: Setup) -> Iterator[Round]:
        """Yield the only round: rows with drawn attributes, and the model trained on them."""
        writer = Writer(setup, self.name)
        with writer.share(DISCOVERY_SHARE):
            dimensions = self.find_dimensions(writer)
            similar = self.find_similar(dimensions, writer)
            self.find_values(dimensions, writer)
            self.drop_shared_values(dimensions, similar, writer)
        self.write_rows(dimensions, similar, writer)
        yield writer.train()

    def find_dimensions(self, writer: Writer) -> list[Dimension]:
        """Return the dimensions, given or named by the LLM; most have no values yet."""
        if self.dimensions is None:
            return self._ask_dimensions(writer)
        scopes: Mapping[str, Given] = (
            self.dimensions
            if isinstance(self.dimensions, dict)
            else dict.fromkeys(self.dimensions, "by_label")
        )
        return [_read_given(name, scope, writer.setup) for name, scope in scopes.items()]

    def _ask_dimensions(self, writer: Writer) -> list[Dimension]:
        setup = writer.setup
        request = writer.request("dimensions", number=self.num_dimensions)
        (listed,) = writer.ask_lists([request], setup.task.parse_rationales)
        found: dict[str, Dimension] = {}
        for item in listed:
            # "style: shared"; without "shared" values depend on the label, which only costs more.
            name, _, scope = item.partition(":")
            is_by_label = normalise(scope) not in ("shared", "any label", "all labels")
            key = normalise(name)
            if key and key != "length" and len(key.split()) <= LONGEST_NAME:
                found.setdefault(key, Dimension(name.strip(" *"), {}, is_by_label))
        if not found:
            setup.warn(
                "attrprompt: the LLM named no dimension that can be read (see rounds/0/asked.jsonl "
                "and rejected.jsonl), so prompts differ in length alone; give method.dimensions"
            )
        return list(found.values())[: self.num_dimensions]

    def find_similar(self, dimensions: Sequence[Dimension], writer: Writer) -> dict[str, list[str]]:
        """Return the most similar labels of every label."""
        setup = writer.setup
        labels = setup.task.label_names
        others = {label: [other for other in labels if other != label] for label in labels}
        is_used = len(labels) >= self.many_labels or any(d.is_by_label for d in dimensions)
        if len(labels) - 1 <= self.num_similar or not is_used:
            return {label: found[: self.num_similar] for label, found in others.items()}
        requests = [writer.request("similar", label, number=self.num_similar) for label in labels]
        words = {normalise(setup.task.label_word(label)): label for label in labels}
        listed = writer.ask_lists(requests)
        for label, items in zip(labels, listed, strict=True):
            named = [words.get(normalise(item)) for item in items]
            nearest = [other for other in named if other is not None and other != label]
            others[label] = list(dict.fromkeys([*nearest, *others[label]]))
        return {label: found[: self.num_similar] for label, found in others.items()}

    def find_values(self, dimensions: Sequence[Dimension], writer: Writer) -> None:
        """Have the LLM list values: for each label, or once for a shared dimension."""
        setup = writer.setup
        labels = setup.task.label_names
        wanted = [
            (dimension, label)
            for dimension in dimensions
            if not dimension.is_given
            for label in (labels if dimension.is_by_label else ("",))
        ]
        requests = [
            writer.request(
                "values",
                label,
                tagged=["dimension"],
                dimension=dimension.name,
                number=self.num_values,
            )
            for dimension, label in wanted
        ]
        listed = writer.ask_lists(requests, setup.task.parse_rationales)
        for (dimension, label), items in zip(wanted, listed, strict=True):
            found = list(items[: self.num_values])
            dimension.values |= dict.fromkeys([label] if label else labels, found)
            if not found:
                of = f" of the label {label!r}" if label else ""
                setup.warn(
                    f"attrprompt: the LLM listed no {dimension.name}{of} that can be read; prompts "
                    "go without"
                )

    def drop_shared_values(
        self,
        dimensions: Sequence[Dimension],
        similar: Mapping[str, Sequence[str]],
        writer: Writer,
    ) -> None:
        """Drop a label's values that also suit similar labels: the class-dependent filter.

        Shared dimensions are not filtered. All dimensions are noted.
        """
        setup = writer.setup
        asked = [
            (dimension, label, value)
            for dimension in dimensions
            if dimension.is_by_label and not dimension.is_given and self.max_rejected
            for label, values in dimension.values.items()
            for value in values
        ]
        requests = [
            writer.request(
                "suits",
                label,
                tagged=["dimension", "value"],
                dimension=dimension.name,
                value=value,
                others=[setup.task.label_word(other) for other in similar[label]],
            )
            for dimension, label, value in asked
        ]
        dropped: dict[tuple[str, str], list[str]] = {}
        answers = writer.ask(requests, _parse_yes_no)
        for (dimension, label, value), suits in zip(asked, answers, strict=True):
            rejected = dropped.setdefault((dimension.name, label), [])
            if suits and len(rejected) < self.max_rejected:
                rejected.append(value)
        for dimension in dimensions:
            for label, values in dimension.values.items():
                out = dropped.get((dimension.name, label), [])
                dimension.values[label] = [value for value in values if value not in out]
                if out and not dimension.values[label]:
                    setup.warn(
                        f"attrprompt: every {dimension.name} of the label {label!r} suits another "
                        "label too and was dropped; prompts go without"
                    )
                others = list(similar[label]) if out else []
                if dimension.is_by_label or label == setup.task.label_names[0]:
                    writer.written.note(
                        "attributes",
                        dimension=dimension.name,
                        label=label if dimension.is_by_label else None,
                        values=dimension.values[label],
                        dropped=[{"value": value, "suits_one_of": others} for value in out],
                    )

    def write_rows(
        self,
        dimensions: Sequence[Dimension],
        similar: Mapping[str, Sequence[str]],
        writer: Writer,
    ) -> None:
        """Write the rows, each with one value of every dimension, drawn uniformly."""
        setup, rng = writer.setup, writer.setup.rng("attributes")
        is_many = len(setup.task.label_names) >= self.many_labels

        def draw() -> RowRequest:
            like = Example("", rng.choice(setup.task.label_names))
            label = str(like.label)
            chosen = {d.name: rng.choice(d.values[label]) for d in dimensions if d.values[label]}
            length = rng.choice(self.lengths) if self.lengths else 0
            prompt = setup.task.prompt(
                "attributed",
                like,
                attributes=chosen,
                shortest=length,
                longest=length + BAND if length else 0,
                others=[setup.task.label_word(other) for other in similar[label]]
                if is_many
                else [],
            )
            note = {"label": label, "attributes": chosen, "length": length or None}
            band = f"{length} to {length + BAND}" if length else ""
            check = partial(_read_text, chosen, band, is_english=not setup.task.language)
            return writer.row("attributed", prompt, like, note=note, check=check)

        writer.write_until(self.seed_size, iter(draw, None), phase="attributed rows")
        writer.written.note_rows("drawn")


def _read_text(
    chosen: Mapping[str, str], band: str, row: Example, *, is_english: bool
) -> Example | Rejected:
    """Return the row without a requirement's number, unless it only repeats a requirement.

    Args:
        chosen: Dimension -> the value that was requested.
        band: The requested length as words: "Length: 30 to 80 words" is no text; "": none.
        row: The row as it was read.
        is_english: "1. Mai" is a date in other languages.
    """
    text = _NUMBER.sub("", row.text, count=1) if is_english else row.text
    said = normalise(text)
    repeated = (normalise(each) for pair in chosen.items() for each in (": ".join(pair), pair[1]))
    if said in repeated:
        return Rejected("echo", row.text)
    if band and band in text:
        return Rejected("meta", row.text)
    return row if text == row.text else replace(row, text=text)


def _read_given(name: str, given: Given, setup: Setup) -> Dimension:
    """Return a dimension as the user gave it."""
    labels = setup.task.label_names
    if isinstance(given, list):
        return Dimension(name, {label: list(given) for label in labels}, False, is_given=True)
    if isinstance(given, str):
        return Dimension(name, {}, given == "by_label")
    if set(given) != set(labels):
        raise ConfigError(
            f"method.dimensions: {name!r} has values for {sorted(given)}, and the task has the "
            f"labels {sorted(labels)}",
            hint="give values for every label, or one list for all of them",
        )
    return Dimension(name, {label: list(given[label]) for label in labels}, True, is_given=True)


def _parse_yes_no(answer: Completion, _: Request) -> bool | Rejected:
    """Return whether the answer is yes; an unclear answer keeps the value, as in the paper."""
    found = parse_choice(answer.text, _YES_NO, truncated=answer.truncated)
    return found if isinstance(found, Rejected) else found == "yes"
