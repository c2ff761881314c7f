"""The `curation` section of a task file."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Curation(BaseModel):
    """The filters of synthetic rows before training, the same for every method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clean: bool = Field(
        default=True,
        description="Strip wrapping quotes and markers, reject refusals and talk about being a "
        "language model; off: a text is taken as it is (JSON and answers to questions are read).",
    )
    copies: bool = Field(
        default=True,
        description="Keep copies and near copies of test and select rows out of training, prompts, "
        "corpus and contexts; off: only count them.",
    )
    min_words: int | None = Field(
        default=None,
        ge=1,
        description="Fewest words of a text; in scripts without spaces, characters.",
    )
    max_words: int | None = Field(
        default=None,
        ge=1,
        description="Most words of a text; in scripts without spaces, characters.",
    )
    duplicates: Literal["keep", "exact", "near"] = Field(
        default="keep",
        description="Reject rows that repeat one that was kept, or a gold row that they were "
        "written from or after: as normalised text (exact), or up to `similarity` (near).",
    )
    similarity: float = Field(
        default=0.7,
        ge=0.5,
        le=1.0,
        description="Jaccard similarity of word 3-grams from which a text is a near duplicate. At "
        "0.7 one word exchanged makes no new text of 19 words or more; at 0.8, of 29 or more.",
    )
    check: Literal["none", "llm", "student", "confident"] = Field(
        default="none",
        description="Label check: the LLM is asked (llm), students that have not seen the row "
        "disagree with its label (student), or confident learning finds it wrong (confident).",
    )
    on_wrong: Literal["drop", "relabel"] = Field(
        default="drop", description="What is done with a row whose label the check finds wrong."
    )
    balance: bool = Field(
        default=False,
        description="Keep as many rows of each label, counted after the filters and the LLM's "
        "label check; what students find wrong later is not replaced.",
    )

    correct: bool = Field(
        default=False,
        description="Ask once more, in the same conversation, where an answer cannot be read.",
    )

    @model_validator(mode="after")
    def _check_band(self) -> "Curation":
        if self.min_words and self.max_words and self.min_words > self.max_words:
            raise ValueError(
                f"min_words ({self.min_words}) must not be above max_words ({self.max_words})"
            )
        if self.on_wrong == "relabel" and self.check == "none":
            raise ValueError("on_wrong: relabel does nothing without a check: llm, ...")
        return self

    @classmethod
    def off(cls) -> "Curation":
        """Return the settings of a faithful rerun: every completion is kept as it is."""
        return cls(clean=False, copies=False)
