"""The `data` section of a task file: files, reading options and the split of gold."""

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stepsynth.data.bad_rows import OnBadRow, Reading
from stepsynth.data.decoding import check_encoding

SHARD_ROWS = 1_000_000


class Split(BaseModel):
    """Sizes of the splits of gold: a whole number is rows, a decimal a share of gold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mine: int | float | None = Field(
        default=None, gt=0, description="Rows that errors are mined from."
    )
    select: int | float | None = Field(
        default=None, gt=0, description="Rows that choose between rounds."
    )
    test: int | float | None = Field(
        default=None, gt=0, description="Rows to test on, if no file is."
    )

    @field_validator("mine", "select", "test")
    @classmethod
    def _check_share(cls, value: float | None) -> float | None:
        if isinstance(value, float) and value > 1:
            raise ValueError(f"a share of gold is at most 1.0, got {value}; rows have no point")
        return value


class DataSection(BaseModel):
    """The `data` section: files of rows, contexts and passages, and how to read them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gold: str | None = Field(
        default=None,
        description="Labelled rows: JSONL, JSON, CSV, TSV, Parquet, .xlsx, each gzipped or not, a "
        "folder or pattern of Parquet files, also at an address (s3://...), a folder of "
        "save_to_disk, or hf:NAME[:config[:split]]. Methods that use no gold rows do "
        "with `select` and `test`.",
    )
    test: str | None = Field(
        default=None, description="Test rows; without it they are split from gold."
    )
    select: str | None = Field(default=None, description="Rows to select on; else split from gold.")
    decisions: str | None = Field(
        default=None,
        description="Decisions on doubtful gold rows, as `stepsynth audit` writes the file and you "
        "fill it in: rows of mine and select are dropped or relabelled, those of test are not.",
    )
    contexts: str = Field(
        default="gold",
        description="What seed data is written for, where rows have a context: a file, `gold` "
        "(the contexts of the mined rows), or `llm` (the LLM writes them).",
    )
    corpus: str | list[str] | None = Field(
        default=None,
        description="Unlabelled passages to retrieve from: files with a column `text` (also "
        "folders, patterns and addresses of Parquet), a folder of .txt files, or "
        "hf:NAME[:config[:split]].",
    )
    unlabelled: str | None = Field(
        default=None,
        description="Texts like those of gold, without labels, for `annotate` and `selftrain`: a "
        "file as gold may be, with the same columns; a column of labels is not read.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Field (text, label, context, answers; of a corpus passage, passage_id; in a "
        "multi_label task also each label) -> column of your files.",
    )
    encoding: str | None = Field(
        default=None,
        description="Encoding of text files that are not UTF-8 and do not begin with a mark that "
        "says theirs (cp1252, utf-16-le, shift_jis, ...); default: all are UTF-8.",
    )
    on_bad_row: OnBadRow = Field(
        default="error",
        description="A row that cannot be used is an error, or is left out and counted (skip).",
    )
    split: Split = Field(
        default_factory=Split,
        description="How gold is divided where `select` and `test` are not given.",
    )
    paper_splits: bool = Field(
        default=False, description="As in the paper: select on the mined rows."
    )

    shard_rows: int = Field(
        default=SHARD_ROWS,
        gt=0,
        description="From as many rows on, the run's data set is written as Parquet files of as "
        "many (`dataset/`), where pyarrow is installed, in place of `dataset.jsonl`.",
    )

    @property
    def reading(self) -> Reading:
        """Options for reading the files."""
        return Reading(self.encoding, self.on_bad_row)

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, name: str | None) -> str | None:
        return name and check_encoding(name)

    @model_validator(mode="after")
    def _check_gold(self) -> "DataSection":
        if self.gold is None and (self.test is None or self.select is None):
            raise ValueError("without `gold`, both `select` and `test` must be given")
        return self
