"""A comparison as files: JSON for programs, CSV for each run, Markdown and a page for people."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stepsynth._util.files import write_json, write_text
from stepsynth._util.words import markdown, markdown_row
from stepsynth.comparison import Comparison, MethodRow, RunRow
from stepsynth.metrics import SCORE_NAMES
from stepsynth.report import compare_charts
from stepsynth.report.render import render_page
from stepsynth.report.rows import Cell, Column, RowTable, make_rows
from stepsynth.runfolder import RunFolder

DASH = "–"
NOTES = (
    "Mean over random seeds, with the standard deviation over them in brackets; scores of the kept "
    "round on test.",
    "Differences are paired and in points, with a 95 % interval over random seeds (by Student's t, "
    "so that few of them make it wide) and test rows (by a bootstrap); of one random seed over "
    "test rows alone. Intervals are not corrected for the number of methods: of twenty methods "
    "that are all alike, one is expected to seem different.",
    "Rows: synthetic rows that the final model was trained on. Calls: all requests that were asked "
    "for, those for rationales, rejected ones and those of a judge too, whoever answered (the LLM, "
    "the shared store, a recording). Tokens and USD: of all answers that the run used. Seconds: "
    "of the run as it was last gone on with; what another method had paid for took none, "
    "and the first run of a process carries its start-up.",
    "Milliseconds per 1,000 predictions: of the kept student of one run, freshly loaded, on at "
    "most 200 test rows on the machine of the comparison; measured once.",
    "Training tokens: white-space tokens of the final training rows, times the student's epochs.",
)


@dataclass(frozen=True)
class TextTable:
    """Table as text.

    Attributes:
        columns: A name for each column, and whether it holds numbers.
    """

    title: str
    columns: tuple[tuple[str, bool], ...]
    rows: list[list[str]]


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write `compare.json`, `.csv`, `.md` and `.html`, and return the path of the page."""
    write_json(folder / "compare.json", comparison.to_dict())
    write_text(folder / "compare.csv", to_csv(comparison))
    write_text(folder / "compare.md", to_markdown(comparison))
    page = folder / "compare.html"
    write_text(page, to_html(comparison, folder))
    return page


def tables(comparison: Comparison) -> list[TextTable]:
    """Return the tables of scores and of costs."""
    return [score_table(comparison), cost_table(comparison)]


def score_table(comparison: Comparison) -> TextTable:
    """Return the scores of each method, with paired intervals against the reference."""
    against = comparison.against
    names = dict(comparison.scores)
    more = {"sample_f1": "sample F1", "auc": "AUC", "tuned_accuracy": "accuracy, tuned threshold"}
    names |= {k: v for k, v in more.items() if any(k in m.mean for m in comparison.methods)}
    compared = [key for key in names if any(key in m.against for m in comparison.methods)]
    columns = [
        ("method", False),
        *((f"{name} %", True) for name in names.values()),
        *((f"{names[key]} minus {against}", True) for key in compared),
        ("random seeds", True),
    ]
    rows = [
        [
            row.name,
            *(_share(row, key) for key in names),
            *(str(row.against.get(key, DASH)) for key in compared),
            f"{len(row.seeds)} of {len(comparison.random_seeds)}",
        ]
        for row in comparison.methods
    ]
    return TextTable("Scores on test", tuple(columns), rows)


def cost_table(comparison: Comparison, *, with_gold: bool = True) -> TextTable:
    """Return the usage of each method and, if wanted, which gold it saw.

    Columns that no method uses are left out.
    """
    methods = comparison.methods
    has_gold = any(m.mean.get("rows") != m.mean.get("train_size") for m in methods)
    costs = {
        "rows": "synthetic rows" if has_gold else "rows",
        **({"train_size": "training rows"} if has_gold else {}),
        "calls": "calls",
        "prompt_tokens": "prompt tokens",
        "completion_tokens": "completion tokens",
        "usd": "USD",
        "usd_per_1000_predictions": "USD per 1,000 predictions",
        "ms_per_1000_predictions": "ms per 1,000 predictions",
        "seconds": "s",
        "training_tokens": "training tokens",
    }
    costs = {key: name for key, name in costs.items() if any(m.mean.get(key) for m in methods)}
    gold = (("gold seen", False),) if with_gold else ()
    columns = (("method", False), *((name, True) for name in costs.values()), *gold)
    rows = [
        [row.name, *(_amount(row.mean, key) for key in costs), row.sees or DASH] for row in methods
    ]
    return TextTable(
        "What it took, means over random seeds", columns, [row[: len(columns)] for row in rows]
    )


def _share(row: MethodRow, key: str) -> str:
    if key not in row.mean:
        return DASH
    spread = f" ({100 * row.spread[key]:.1f})" if key in row.spread else ""
    return f"{100 * row.mean[key]:.1f}{spread}"


def _amount(mean: Mapping[str, float], key: str) -> str:
    if key not in mean:
        return DASH
    if key.startswith("usd"):
        return f"{mean[key]:,.4f}"
    return f"{mean[key]:,.1f}" if key == "seconds" else f"{mean[key]:,.0f}"


def about(comparison: Comparison) -> str:
    """Return a sentence on what was compared."""
    seeds = comparison.random_seeds
    listed = ", ".join(map(str, seeds))
    return (
        f"Student {comparison.student}; {len(seeds)} random seed{'s' * (len(seeds) > 1)} "
        f"({listed}); the same gold, LLM and student for all; equal {comparison.equal}: "
        f"{comparison.budget} a run."
    )


def problems(comparison: Comparison) -> list[str]:
    """Return what is missing: methods without a result and why, and whether it was stopped."""
    said = [f"{m.name}: no result: {error}" for m in comparison.methods for error in m.errors]
    if not any(m.seeds for m in comparison.methods if m.name == comparison.against):
        said.append(f"{comparison.against}, which the others are compared with, has no result.")
    left = sum(not run.is_done and not run.error for run in comparison.runs)
    if comparison.stopped is not None:
        said.append(
            f"This comparison was stopped ({comparison.stopped}); {left} of "
            f"{len(comparison.runs)} runs are not done. The same command goes on with it."
        )
    return said


def to_markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown."""
    lines = [f"# {comparison.task}: methods compared", "", about(comparison), ""]
    lines += [f"- {markdown(said)}" for said in (*comparison.verdict, *problems(comparison))]
    for table in tables(comparison):
        marks = ["---:" if is_number else "---" for _, is_number in table.columns]
        rows = [[name for name, _ in table.columns], marks, *table.rows]
        lines += ["", f"## {table.title}", ""]
        lines += map(markdown_row, rows)
    lines += ["", *(f"{note}\n" for note in NOTES)]
    if comparison.warnings:
        lines += ["## Warnings", "", *(f"- {markdown(said)}" for said in comparison.warnings)]
    return "\n".join(lines).rstrip() + "\n"


def to_csv(comparison: Comparison) -> str:
    """Return the runs as CSV, a line each."""
    text = io.StringIO()
    rows = run_rows(comparison)
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def run_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the runs as rows of one set of keys: scores, usage, error, folder."""
    keys = sorted({key for run in comparison.runs for key in run.scores}, key=_place_of_score)
    costs = (
        *("rows", "train_size", "calls", "sent", "prompt_tokens", "completion_tokens", "usd"),
        *("seconds", "training_tokens", "usd_per_1000_predictions"),
    )
    return [
        {
            "method": run.method,
            "random_seed": run.random_seed,
            **{key: run.scores.get(key) for key in keys},
            **{name: getattr(run, name) if run.is_done else None for name in costs},
            "error": run.error,
            "folder": run.folder,
        }
        for run in comparison.runs
    ]


def _place_of_score(key: str) -> tuple[int, str]:
    known = list(SCORE_NAMES)
    return (known.index(key) if key in known else len(known), key)


def to_html(comparison: Comparison, folder: Path) -> str:
    """Return the comparison as one self-contained HTML document.

    Args:
        comparison: The comparison.
        folder: The folder of the page, which decides its links to the reports of runs.
    """
    scores, costs = tables(comparison)
    return render_page(
        "compare",
        comparison=comparison,
        about=about(comparison),
        problems=problems(comparison),
        scores=_to_rows("scores", scores, comparison.against),
        costs=_to_rows("costs", costs, comparison.against),
        runs=_list_runs(comparison, folder),
        notes=NOTES,
        charts=_draw(comparison),
        most_labels=compare_charts.MOST_LABELS,
    )


def _to_rows(name: str, table: TextTable, marked: str) -> RowTable:
    """Return a table of methods for the page, in which the reference stands out."""
    columns = (Column(title, "number" if is_n else "text") for title, is_n in table.columns)
    return make_rows(f"{name}-rows", tuple(columns), table.rows, marked=marked)


def _list_runs(comparison: Comparison, folder: Path) -> RowTable:
    """Return the runs for the page, with links to the reports that there are."""
    score = comparison.score
    columns = (
        Column("method", is_choice=True),
        Column("random seed", "number", is_choice=True),
        Column(f"{comparison.scores.get(score, score)} on test, %", "number"),
        Column("calls", "number"),
        Column("state", is_choice=True, tones={"no result": "wrong"}),
        Column("report", "link"),
    )
    rows: Iterator[list[Cell]] = (
        [
            run.method,
            run.random_seed,
            f"{100 * run.scores[score]:.1f}" if run.is_done else DASH,
            f"{run.calls:,}" if run.is_done else DASH,
            "done" if run.is_done else "no result" if run.error else "not done",
            _link(run, folder),
        ]
        for run in comparison.runs
    )
    return make_rows("run-rows", columns, rows)


def _link(run: RunRow, folder: Path) -> str:
    """Return the address of a run's report in the page; "": there is none."""
    report = RunFolder(Path(run.folder)).report if run.folder else None
    if report is None or not report.exists() or not report.is_relative_to(folder):
        return ""
    return report.relative_to(folder).as_posix()


def _draw(comparison: Comparison) -> dict[str, Markup]:
    """Return the SVG of each chart that has data."""
    done: Sequence[MethodRow] = [m for m in comparison.methods if m.curve]
    charts: dict[str, str] = {}
    if any(comparison.score in m.against for m in done):
        charts["differences"] = compare_charts.differences(comparison)
    if done:
        charts["calls"] = compare_charts.score_against(comparison, "calls", "calls, all kinds")
        charts["rows"] = compare_charts.score_against(comparison, "rows", "training rows")
    if any(m.by_label for m in done):
        charts["f1"] = compare_charts.label_gains(comparison, "f1")
        charts["recall"] = compare_charts.label_gains(comparison, "recall")
    return {name: Markup(svg) for name, svg in charts.items()}
