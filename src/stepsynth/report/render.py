"""The HTML report of a run. The template escapes all text of the data and the LLM."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from stepsynth._util.files import write_text
from stepsynth._util.text import visible
from stepsynth._util.words import usd
from stepsynth.metrics import SCORE_NAMES, wilson_interval
from stepsynth.report import charts
from stepsynth.report.cost import cost_section
from stepsynth.report.planned import planned_section
from stepsynth.run_records import RoundMetrics, Scores
from stepsynth.runfolder import RoundLineage, Run, UnusedRow, open_run
from stepsynth.runner import against_references
from stepsynth.studies import Findings, format_cell, read_findings

MOST_PAIRS = 100
MOST_SAMPLES = 6

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
    page = make_environment().get_template("studies.html.j2")
    path = folder / "studies.html"
    shown = [_study(findings) for findings in read_findings(folder)]
    write_text(path, page.render(name=folder.resolve().name, style=read_style(), studies=shown))
    return path


def render(run: Run) -> str:
    """Return the report as one self-contained HTML document, without scripts."""
    environment = make_environment()
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["usd"] = usd
    numbers = [done.metrics for done in run.rounds]
    shown = _shown(numbers[0].select)
    summary = run.summary if run.is_done else None
    rejected = sum((Counter(each.rejected) for each in numbers), Counter[str]())
    failed = sum((Counter(each.failed) for each in numbers), Counter[str]())
    return environment.get_template("report.html.j2").render(
        run=run,
        summary=summary,
        against=against_references(summary) if summary else [],
        style=read_style(),
        shown=shown,
        has_labels="accuracy" in numbers[0].select,
        interval=_interval(summary.test, shown[0][0]) if summary and summary.test else None,
        has_test=all(each.test for each in numbers),
        numbers=numbers,
        rejected=rejected,
        failed=failed,
        lineage=run.lineage,
        helped=[_helped(each) for each in run.lineage if each.newly_wrong is not None],
        charts=_draw(numbers, rejected, shown[0][0]),
        unused=[_sample(done.rejected) for done in run.rounds],
        studies=[_study(findings) for findings in read_findings(run.folder.path)],
        cost=cost_section(summary, run.events) if summary else None,
        planned=planned_section(run.plan) if summary else None,
        most_pairs=MOST_PAIRS,
        most_samples=MOST_SAMPLES,
    )


def _helped(lineage: RoundLineage) -> dict[str, Any]:
    """Return whether the rows written for a round's errors helped, in numbers."""
    written = [each for each in lineage.errors if each.rows]
    rest = [each for each in lineage.errors if not each.rows]
    return {
        "round": lineage.index,
        "errors": len(lineage.errors),
        "fixed": len(lineage.fixed),
        "still_wrong": len(lineage.still_wrong),
        "newly_wrong": len(lineage.newly_wrong or ()),
        "near": sum(len(each.near) for each in lineage.errors),
        "written": len(written),
        "written_fixed": sum(each.is_fixed is True for each in written),
        "rest": len(rest),
        "rest_fixed": sum(each.is_fixed is True for each in rest),
    }


def make_environment() -> jinja2.Environment:
    """Return the template environment: values are escaped, a missing name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: Any) -> Any:
    """Make control and direction characters visible, before the text is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def read_style() -> Markup:
    """Return the style sheet of all pages."""
    return Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))


def _shown(scores: Scores) -> list[tuple[str, str, str]]:
    """Return the key, name and short name of each score that the run has."""
    return [(key, *names) for key, names in SCORE_NAMES.items() if key in scores]


def _interval(test: Scores, score: str) -> tuple[float, float]:
    """Return the 95 % interval of a score that is a share of the test rows."""
    assert test.n is not None
    return wilson_interval(round(test[score] * test.n), test.n)


def _draw(numbers: list[RoundMetrics], rejected: Counter[str], score: str) -> dict[str, Any]:
    """Return the SVG of each chart; the text in it was escaped by the chart library."""
    drawn = {
        "curve": Markup(charts.learning_curve(numbers, score)),
        "added": Markup(charts.label_balance(numbers, "rows added"))
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
                "columns": table.columns,
                "rows": [[(format_cell(c), not isinstance(c, str)) for c in r] for r in table.rows],
                "is_number": [
                    any(not isinstance(row[i], str) for row in table.rows)
                    for i in range(len(table.columns))
                ],
            }
            for table in findings.tables
        ],
        "charts": [
            (chart.title, Markup(charts.from_spec(chart.spec))) for chart in findings.charts
        ],
    }


def _sample(rejected: Sequence[UnusedRow]) -> list[UnusedRow]:
    """Return some rejected answers, a few of each reason."""
    taken: Counter[str] = Counter()
    sample: list[UnusedRow] = []
    for row in rejected:
        if taken[row.reason] < MOST_SAMPLES:
            taken[row.reason] += 1
            sample.append(row)
    return sample
