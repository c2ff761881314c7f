"""Sentence pairs: a given context (premise, paragraph) and a text that the LLM writes for it.

S3, section 2.4 and Algorithm 3: the context is an input of every prompt and goes into the row
verbatim; only the text is new.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from stepsynth.prompts import parse_text
from stepsynth.records import Context, Example, Rejected
from stepsynth.tasks._task import SHARED_FIELDS
from stepsynth.tasks.classification import Classification, label_text, only_label, read_text


class SentencePair(Classification):
    """A task with texts that each have one label, given a context: NLI, question and answer, ..."""

    name: ClassVar[str] = "sentence_pair"
    columns: ClassVar[Mapping[str, str]] = {
        "context": "context",
        "text": "text",
        "label": "label",
    }
    has_context: ClassVar[bool] = True
    templates: ClassVar[str] = "sentence_pair"

    context_name: str = Field(
        default="premise", min_length=1, description="What the text is written for."
    )

    def own_prompts(self) -> dict[str, Sequence[str]]:
        """Return the prompts of S3's Table 1 for pairs, and one that writes a context."""
        shared = (*SHARED_FIELDS, "context_name")
        labelled = (*shared, "label_word", "label_words", "labelled", "context")
        return {"context": shared, "seed": labelled, "extrapolate": (*labelled, "text")}

    def rationale_prompt(self, label: str, number: int) -> str:
        """Raise: pairs are written from contexts, without rationales (S3, section 2.4)."""
        raise NotImplementedError("sentence pairs have no rationales")

    def context_prompt(self) -> str:
        """Return the prompt for a context."""
        return self.render("context", context_name=self.context_name)

    def _row_fields(self, row: Example) -> dict[str, Any]:
        pair = {"context": row.context, "context_name": self.context_name}
        return super()._row_fields(row) | pair

    def parse_context(self, completion: str, *, truncated: bool) -> str | Rejected:
        """Return the context that an output holds, or why it holds none."""
        return parse_text(completion, text_name=self.context_name, truncated=truncated)

    def read_example(self, row: Mapping[str, Any]) -> Example:
        """Return the example of a row with `context`, `text` and `label`."""
        context, text = read_text(row, "context"), read_text(row, "text")
        return Example(text=text, label=self._read_label(row["label"], text), context=context)

    def read_context(self, row: Mapping[str, Any]) -> Context:
        """Return the context of a row, with its `label`, if any."""
        text = read_text(row, "context")
        has_label = label_text(only_label(row.get("label"))) != ""
        return Context(text, self._read_label(row["label"], text) if has_label else None)
