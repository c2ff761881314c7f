"""Extractive question answering: the answer to a question is a part of its passage.

S3, section 2.4 and Algorithm 3: the context c is a passage with an answer in it; the LLM writes the
question. A question that the student missed is extrapolated with the same answer (the paper) or
with a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from stepsynth._util.text import shorten
from stepsynth.metrics import AnyPredictions, Spans, exact_match, score_spans, token_f1
from stepsynth.prompts import parse_object, parse_text, read_answer
from stepsynth.records import Answers, Context, Example, Label, Rejected
from stepsynth.tasks._answers import (
    find_answer,
    find_entities,
    find_said,
    read_answers,
    take_question,
)
from stepsynth.tasks._task import SHARED_FIELDS, Task
from stepsynth.tasks.classification import is_missing, read_text


class ExtractiveQA(Task):
    """A task with questions, each answered by a part of its passage."""

    name: ClassVar[str] = "extractive_qa"
    columns: ClassVar[Mapping[str, str]] = {
        "context": "context",
        "text": "question",
        "answers": "answers",
    }
    score_name: ClassVar[str] = "f1"
    has_context: ClassVar[bool] = True
    templates: ClassVar[str] = "extractive_qa"

    text_name: str = Field(
        default="question", min_length=1, description="What the LLM is asked to write."
    )
    extrapolate: Literal["same_answer", "new_answer"] = Field(
        default="same_answer",
        description="What is asked for a missed question: another one with the same answer (the "
        "paper), or another one with another answer.",
    )
    error_below_f1: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="A question is missed where F1 is below this; default: no exact match.",
    )
    answers: str = Field(
        default="llm",
        description="Who proposes answers for passages that come without: `llm`, or the name or "
        "folder of a spaCy pipeline, whose entities and noun phrases are taken.",
    )

    @property
    def optional_columns(self) -> Mapping[str, str]:
        """An id for messages, and the one answer of a row of contexts."""
        return {"id": "id", "answer": "answer"}

    def own_prompts(self) -> dict[str, Sequence[str]]:
        """Return the prompts of S3's Table 1 for QA, and those that make contexts."""
        shared = SHARED_FIELDS
        asked = (*shared, "context", "answer")
        return {
            "context": shared,
            "answers": (*shared, "context", "number"),
            "seed": asked,
            "extrapolate": (*asked, "text"),
            "extrapolate_new_answer": (*asked, "text"),
        }

    @property
    def label_names(self) -> tuple[str, ...]:
        """Empty: a label is an answer."""
        return ()

    def answer_of(self, label: Label) -> dict[str, Any]:
        """Return the JSON that the prompt `decide` wants: the first answer."""
        return {"answer": str(label)}

    def rationale_prompt(self, label: str, number: int) -> str:
        """Raise: questions are written from contexts, without rationales (S3, section 2.4)."""
        raise NotImplementedError("questions have no rationales")

    def answers_prompt(self, passage: str, number: int) -> str:
        """Return the prompt for parts of a passage that could be answers."""
        return self.render("answers", context=passage, number=number)

    def extrapolation_prompt(self, example: Example) -> str:
        """Return T_mis(2): write a question similar to one that was missed."""
        return self.prompt(self._extrapolation, example)

    @property
    def _extrapolation(self) -> str:
        """The name of the prompt that extrapolates."""
        return "extrapolate_new_answer" if self.extrapolate == "new_answer" else "extrapolate"

    def answer_schema(self, name: str) -> dict[str, Any] | None:
        """Return the JSON Schema of the answer to a prompt; None: the answer is not JSON."""
        return super().answer_schema(self._extrapolation if name == "extrapolate" else name)

    def _answer_fields(self, name: str) -> Mapping[str, Any]:
        asked = {"decide": ("answer",), "extrapolate_new_answer": ("question", "answer")}
        return {field: {"type": "string"} for field in asked.get(name, ())}

    def parse_example(
        self, completion: str, like: Example, *, truncated: bool
    ) -> Example | Rejected:
        """Return the row; a new answer is looked up in the passage.

        An output with a question and an answer is read as JSON or as two lines. Its answer replaces
        the one that was asked for only if `extrapolate` is `new_answer`.
        """
        wants_answer = self.extrapolate == "new_answer" and bool(like.text)
        fields = parse_object(completion, ("question", "answer"), truncated=truncated)
        label: Label | None = like.label
        if wants_answer:
            if isinstance(fields, Rejected):
                return fields
            label = find_answer(like.context or "", fields["answer"])
        if label is None:
            return Rejected("answer_not_in_passage", completion)
        text = self._read_question(completion, fields, like, truncated)
        if isinstance(text, Rejected):
            return text
        question = take_question(text, str(label))
        if not question:
            return Rejected("bare_label", completion)
        return replace(like, text=question, label=label)

    def _read_question(
        self, completion: str, fields: dict[str, str] | Rejected, like: Example, truncated: bool
    ) -> str | Rejected:
        """Return the question of an output, with what the LLM wrote after it."""
        if not isinstance(fields, Rejected):
            return fields["question"]
        sources = [source for source in (like.context, like.text) if source]
        return parse_text(
            completion, text_name=self.text_name, truncated=truncated, sources=sources
        )

    def _row_fields(self, row: Example) -> dict[str, Any]:
        return {"text": row.text, "context": row.context, "answer": str(row.label)}

    def parse_decision(
        self, completion: str, row: Example, *, truncated: bool
    ) -> Answers | Rejected:
        """Return the answer that an output gives, as it stands in the passage.

        A part of a passage is often one too if it is cut off, so that is no answer.
        """
        fields = parse_object(completion, ("answer",), truncated=truncated)
        if truncated and isinstance(fields, Rejected):
            return fields
        said = read_answer(completion) if isinstance(fields, Rejected) else fields["answer"]
        found = find_said(row.context or "", said) if isinstance(said, str) else None
        return found or Rejected("answer_not_in_passage", completion)

    def parse_answers(
        self, completion: str, passage: str, *, truncated: bool
    ) -> list[Answers | None] | Rejected:
        """Return each proposed answer as it stands in the passage, None for one that does not.

        If none does, the output is rejected.
        """
        listed = self.parse_rationales(completion, truncated=truncated)
        if isinstance(listed, Rejected):
            return listed
        found = [
            find_answer(passage, item) or find_answer(passage, item.partition(": ")[2])
            for item in listed  # "Date: 1889"
        ]
        return found if any(found) else Rejected("answer_not_in_passage", completion)

    def propose_answers(self, passage: str) -> list[Answers]:
        """Return the entities and noun phrases of a passage, in order.

        Raises:
            ConfigError: spaCy or its pipeline is not installed.
        """
        return find_entities(self.answers, passage)

    def read_example(self, row: Mapping[str, Any]) -> Example:
        """Return the example of a row with `context`, `text` and `answers`, as in SQuAD."""
        context, text = read_text(row, "context"), read_text(row, "text")
        label = read_answers(row["answers"], context)
        if label is None:
            raise ValueError(f"the question {shorten(text, 50)!r} has no answer")
        return Example(text=text, label=label, context=context)

    def read_context(self, row: Mapping[str, Any]) -> Context:
        """Return the passage of a row, with its `answer` or `answers`, if any."""
        passage = read_text(row, "context")
        given = (row.get(name) for name in ("answers", "answer"))
        found = (read_answers(value, passage) for value in given if not is_missing(value))
        return Context(passage, next(filter(None, found), None))

    def context_of(self, example: Example) -> Context:
        """Return the passage and the first answer of a gold row."""
        assert isinstance(example.label, Answers)
        first = Answers(example.label.texts[:1], example.label.starts[:1])
        return Context(example.context or "", first)

    def score(self, examples: Sequence[Example], predictions: AnyPredictions) -> dict[str, Any]:
        """Return exact match, F1 and n."""
        assert isinstance(predictions, Spans)
        return score_spans([_references(example.label) for example in examples], predictions)

    def is_correct(self, example: Example, predicted: str) -> bool:
        """Say whether the predicted answer matches a gold answer exactly (or by F1)."""
        references = _references(example.label)
        if self.error_below_f1 is None:
            return exact_match(predicted, references) == 1.0
        return token_f1(predicted, references) >= self.error_below_f1


def _references(label: Label) -> tuple[str, ...]:
    return label.texts if isinstance(label, Answers) else (str(label),)
