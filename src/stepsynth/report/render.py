"""The HTML report of a run. The template escapes all text of the data and the LLM."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from stepsynth._util.files import write_text
from stepsynth._util.text import visible
from stepsynth._util.words import usd, whole
from stepsynth.metrics import SCORE_NAMES, f1_interval, membership, names_in, wilson_interval
from stepsynth.records import label_from_json
from stepsynth.report import charts
from stepsynth.report.cost import cost_section
from stepsynth.report.planned import planned_section
from stepsynth.report.rows import cut
from stepsynth.report.run_tables import added_table, errors_table, unused_table
from stepsynth.run_records import RoundMetrics, Scores, Summary
from stepsynth.runfolder import RoundLineage, Run, open_run
from stepsynth.runner import against_references, label_table
from stepsynth.studies import Findings, format_cell, read_findings

DASH = "–"

FEW = 10
"""Rows up to which a table of them needs no search."""

TEMPLATES = Path(__file__).parent / "templates"


def write_report(folder: Path, path: Path | None = None) -> Path:
    """Write a run's report and return its path.

    Args:
        folder: The folder of a run that is done or was stopped.
        path: The file to write; default: `report.html` in the folder.

    Raises:
        RunFolderError: The folder holds no round, or a damaged one.
    """
    run = open_run(folder)
    path = path or run.folder.report
    write_text(path, render(run))
    return path


def write_studies(folder: Path) -> Path:
    """Write `studies.html`, the findings of studies on several runs together.

    Args:
        folder: A folder of `compare`; its `studies/*.json` are shown.

    Raises:
        RunFolderError: One of them is damaged.
    """
    path = folder / "studies.html"
    shown = [_study(findings) for findings in read_findings(folder)]
    write_text(path, render_page("studies", name=folder.resolve().name, studies=shown))
    return path


def render(run: Run) -> str:
    """Return the report as one self-contained HTML document."""
    numbers = [done.metrics for done in run.rounds]
    shown = [(key, *names) for key, names in SCORE_NAMES.items() if key in numbers[0].select]
    summary = run.summary if run.is_done else None
    rejected = sum((Counter(each.rejected) for each in numbers), Counter[str]())
    failed = sum((Counter(each.failed) for each in numbers), Counter[str]())
    scored = [each.test or each.select for each in numbers]
    has_sets = scored[0].confusion is None
    has_labels, is_tuned = "f1" not in numbers[0].select, "accuracy" in numbers[0].select
    return render_page(
        "report",
        run=run,
        summary=summary,
        against=against_references(summary) if summary else [],
        shown=shown,
        has_labels=has_labels,
        is_tuned=is_tuned,
        interval=score_interval(run, shown[0][0]) if summary and summary.test else None,
        has_test=all(each.test for each in numbers),
        numbers=numbers,
        failed=failed,
        rounds=_rounds(numbers, summary, shown, has_labels=has_labels, is_tuned=is_tuned),
        labels=label_table(summary) if summary else ([], []),
        by_label=[_by_label(each.by_label) for each in scored if each.by_label and has_sets],
        helped=_helped(run.lineage),
        errors=errors_table(run, has_labels=has_labels),
        added=added_table(run, has_labels=has_labels),
        unused=unused_table(run, has_labels=has_labels),
        charts=_draw(numbers, rejected, shown[0][0]),
        studies=[_study(findings) for findings in read_findings(run.folder.path)],
        cost=cost_section(summary, run.events) if summary else None,
        planned=planned_section(run.plan) if summary else None,
    )


def render_page(page: str, /, **values: Any) -> str:
    """Return a page as one HTML document that loads nothing and runs no script but ours.

    Args:
        page: The name of its template.
        values: The values of the template; their texts are escaped.
    """
    style, script = read_style(), Markup(_read("page.js"))
    return (
        _environment()
        .get_template(f"{page}.html.j2")
        .render(
            **values,
            style=style,
            script=script,
            digests={"style": _digest(style), "script": _digest(script)},
            contents=[],
            few=FEW,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    """Return the environment of all pages, which keeps compiled templates."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    environment.filters |= {
        "cut": cut,
        "id": _to_id,
        "said": _said,
        "percent": lambda value: f"{100 * value:.1f}",
        "usd": usd,
        "whole": whole,
    }
    return environment


def _said(message: str) -> Markup:
    """Return a message for the terminal as HTML, what stands in backticks as code."""
    parts = re.split(r"`([^`]+)`", visible(message))
    code = (Markup("<code>{}</code>").format(part) for part in parts[1::2])
    return Markup("").join(chain.from_iterable(zip_longest(parts[::2], code, fillvalue="")))


def _to_id(title: str) -> str:
    return re.sub(r"\W+", "-", title).strip("-").lower()


def _digest(text: str) -> str:
    """Return the digest by which a content security policy knows a script or style sheet."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _visible(value: Any) -> Any:
    """Make control and direction characters visible, before the text is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def read_style() -> Markup:
    """Return the style sheet of all pages."""
    return Markup(_read("report.css"))


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _rounds(
    numbers: Sequence[RoundMetrics],
    summary: Summary | None,
    shown: Sequence[tuple[str, str, str]],
    *,
    has_labels: bool,
    is_tuned: bool,
) -> dict[str, Any]:
    """Return the table of the rounds, after the references that they are to beat."""
    names = ["round", "rows added", "training rows", "duplicates", "mining rows wrong"]
    names += [f"{split} {short} %" for split in ("select", "test") for _, _, short in shown]
    if is_tuned:
        names.append("test acc. %, tuned threshold")
    elif not has_labels:
        names.append("answers repaired")

    def score(*of: Scores | None) -> list[str]:
        return [f"{100 * found[key]:.1f}" if found else DASH for found in of for key, *_ in shown]

    rows: list[list[Any]] = [
        [each.name, DASH, each.train_size, DASH, DASH, *score(each.select, each.test)]
        for each in (summary.references if summary else ())
    ]
    for row in numbers:
        counts = [row.round, row.added, row.train_size, row.duplicates, row.misclassified]
        tuned = f"{100 * row.test['tuned_accuracy']:.1f}" if is_tuned and row.test else DASH
        rows.append([*counts, *score(row.select, row.test), tuned if is_tuned else row.repaired])
    columns = [(name, name != "round") for name in names]
    # A reference lacks the last cells, and a row of labels has one too many.
    filled = [[*row, *[DASH] * len(columns)][: len(columns)] for row in rows]
    return {"columns": columns, "rows": filled}


def _by_label(scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return the table of a round's scores by label."""
    keys = ("precision", "recall", "f1")
    names = ("label", "gold rows", "precision %", "recall %", "F1 %")
    rows = [
        [label, int(row["rows"]), *(f"{100 * row[key]:.1f}" for key in keys)]
        for label, row in scores.items()
    ]
    return {"columns": [(name, name != "label") for name in names], "rows": rows}


def _helped(lineage: Sequence[RoundLineage]) -> dict[str, Any] | None:
    """Return the table of whether the rows written for each round's errors helped."""
    names = ("errors of round", "errors", "right now", "still wrong", "newly wrong")
    names += ("of them near an error", "right now, with rows", "right now, without")
    rows: list[list[Any]] = []
    for traced in lineage:
        if traced.newly_wrong is None:
            continue
        counts = (traced.index, len(traced.errors), len(traced.fixed), len(traced.still_wrong))
        near = sum(len(each.near) for each in traced.errors)
        written = [each for each in traced.errors if each.rows]
        rest = [each for each in traced.errors if not each.rows]
        shares = [
            f"{sum(each.is_fixed is True for each in of)} of {len(of)}" if of else DASH
            for of in (written, rest)
        ]
        rows.append([*counts, len(traced.newly_wrong), near, *shares])
    return {"columns": [(name, True) for name in names], "rows": rows} if rows else None


def score_interval(run: Run, score: str) -> tuple[float, float]:
    """Return the 95 % interval of the first score: a share of the test rows, or micro-F1."""
    test = run.summary.test
    assert test is not None
    assert test.n is not None
    if score != "micro_f1":
        return wilson_interval(round(test[score] * test.n), test.n)
    answers = run.kept.answers
    gold = [str(label_from_json(own)) for own in answers.gold]
    names = names_in((*gold, *answers.predicted))
    own, said = membership(gold, names), membership(answers.predicted, names)
    found = f1_interval(own, said, average="micro")
    return found.low, found.high


def _draw(numbers: list[RoundMetrics], rejected: Counter[str], score: str) -> dict[str, Any]:
    """Return the SVG of each chart; the text in it was escaped by the chart library."""
    drawn = {
        "curve": Markup(charts.learning_curve(numbers, score)),
        "added": Markup(charts.label_balance(numbers))
        if any(n.added_labels for n in numbers)
        else None,
        "reasons": Markup(charts.reasons(rejected)) if rejected else None,
    }
    matrices = [(n.test or n.select).confusion or {} for n in numbers]
    shown = [Markup(charts.confusion(each)) for each in matrices if 0 < len(each) <= 25]
    return {**drawn, "confusions": shown}


def _study(findings: Findings) -> dict[str, Any]:
    """Return the tables of a study with cells as text, and its charts."""
    return {
        "name": findings.study,
        "warnings": findings.warnings,
        "tables": [
            {
                "title": table.title,
                "note": table.note,
                "columns": [
                    (name, any(not isinstance(row[i], str) for row in table.rows))
                    for i, name in enumerate(table.columns)
                ],
                "rows": [[format_cell(cell) for cell in row] for row in table.rows],
            }
            for table in findings.tables
        ],
        "charts": [
            (chart.title, Markup(charts.from_spec(chart.spec))) for chart in findings.charts
        ],
    }
