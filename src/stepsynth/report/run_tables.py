"""The tables of a run's rows: errors and what was written for them, added and unused rows."""

from collections.abc import Iterator

from stepsynth.report.rows import Cell, Column, Part, RowTable, cut, make_rows, texts
from stepsynth.runfolder import ErrorLineage, Run

ROUND = Column("round", "number", is_choice=True)
FIXED, WRONG = "right", "still wrong"


def errors_table(run: Run, *, has_labels: bool) -> RowTable:
    """Return the misclassified gold rows of each round, with what was written for them."""
    tones = {FIXED: "right", WRONG: "wrong"}
    columns = (
        ROUND,
        Column("label" if has_labels else "answer", is_choice=has_labels),
        Column("taken for" if has_labels else "answered as", is_choice=has_labels),
        Column("next round", is_choice=True, tones=tones),
        Column("gold row", "texts"),
        Column("written for it", "texts"),
    )
    rows: Iterator[list[Cell]] = (
        _error(traced.index, error, has_labels) for traced in run.lineage for error in traced.errors
    )
    return make_rows("error-rows", columns, rows, source="rounds/*/misclassified.jsonl")


def _error(index: int, error: ErrorLineage, has_labels: bool) -> list[Cell]:
    gold = error.missed.example
    outcome = {True: FIXED, False: WRONG, None: "–"}[error.is_fixed]
    near: list[Part] = [
        (
            f"newly wrong, and near it ({each.cosine:.2f}): taken for {cut(each.missed.predicted)}",
            each.missed.example.text,
        )
        for each in error.near
    ]
    mistaken: list[Part] = [
        ("", f"{what.replace('_', ' ')}: {', '.join(names)}")
        for what, names in error.missed.differences.items()
        if names
    ]
    written: list[Part] = [("" if has_labels else str(row.label), row.text) for row in error.rows]
    unused: list[Part] = [
        (f"not used: {row.reason}", row.completion or "(nothing)") for row in error.unused
    ]
    asked: list[Part] = [("what was asked", prompt, "folded") for prompt in error.prompts]
    return [
        index,
        cut(gold.label),
        cut(error.missed.predicted),
        outcome,
        texts(
            ("", gold.text), *mistaken, ("for this context", gold.context or "", "folded"), *near
        ),
        texts(*written, *unused, *asked),
    ]


def added_table(run: Run, *, has_labels: bool) -> RowTable:
    """Return the rows that the rounds added."""
    columns = (
        ROUND,
        Column("kind", is_choice=True),
        Column("label" if has_labels else "answer", is_choice=has_labels),
        Column("text", "texts"),
    )
    rows: Iterator[list[Cell]] = (
        [
            done.index,
            cut(row.provenance.kind),
            cut(row.label),
            texts(("", row.text), ("for this context", row.context or "", "folded")),
        ]
        for done in run.rounds
        for row in done.rows
    )
    return make_rows("added-rows", columns, rows, source="rounds/*/examples.jsonl")


def unused_table(run: Run, *, has_labels: bool) -> RowTable:
    """Return the answers that became no row, and the requests that got no answer."""
    columns = (
        ROUND,
        Column("reason", is_choice=True),
        Column("asked for", is_choice=has_labels),
        Column("the LLM wrote", "texts"),
    )
    rows: Iterator[list[Cell]] = (
        [
            done.index,
            cut(row.reason),
            cut(row.label),
            texts(("", row.completion or "(nothing)"), ("why", row.detail, "folded")),
        ]
        for done in run.rounds
        for row in (*done.rejected, *done.failed)
    )
    return make_rows("unused-rows", columns, rows, source="rounds/*/rejected.jsonl, failed.jsonl")
