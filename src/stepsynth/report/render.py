"""Turn a run into HTML. Everything that data or an LLM wrote is escaped by the template."""

from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from stepsynth._util.files import write_text
from stepsynth._util.text import visible
from stepsynth.metrics import SCORE_NAMES, wilson_interval
from stepsynth.report import charts
from stepsynth.report.collect import RoundView, RunView, collect, read_studies
from stepsynth.report.cost import cost_section
from stepsynth.report.planned import planned_section
from stepsynth.runfolder import RunFolder
from stepsynth.studies import Findings, format_cell

MOST_PAIRS = 100
MOST_SAMPLES = 6
TEMPLATES = Path(__file__).parent / "templates"


def write_report(folder: RunFolder, path: Path | None = None) -> Path:
    """Write a run's report and return where it is.

    Args:
        folder: A run folder, of a run that is done or was stopped.
        path: Where to; default: `report.html` in the folder.

    Raises:
        RunFolderError: The folder holds no round, or a damaged one.
    """
    path = path or folder.report
    write_text(path, render(collect(folder)))
    return path


def write_studies(folder: Path) -> Path:
    """Write `studies.html`: what studies found of several runs, which no run's report can hold.

    Args:
        folder: A folder of `compare`; its `studies/*.json` are shown.

    Raises:
        RunFolderError: One of them is damaged.
    """
    page = make_environment().get_template("studies.html.j2")
    path = folder / "studies.html"
    shown = [_study(findings) for findings in read_studies(folder)]
    write_text(path, page.render(name=folder.resolve().name, style=read_style(), studies=shown))
    return path


def render(view: RunView) -> str:
    """Return the report as one HTML document, with no script and nothing to load."""
    environment = make_environment()
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["label"] = _label
    numbers = [r.numbers for r in view.rounds]
    shown = _shown(numbers)
    rejected, failed = _counts(view.rounds, "rejected"), _counts(view.rounds, "failed")
    return environment.get_template("report.html.j2").render(
        view=view,
        summary=view.summary,
        style=read_style(),
        shown=shown,
        has_labels="accuracy" in numbers[0]["select"],
        interval=_interval(view.summary["test"], shown[0][0]) if view.summary else None,
        has_test=all("test" in n for n in numbers),
        numbers=numbers,
        rejected=rejected,
        failed=failed,
        charts=_draw(numbers, rejected, shown[0][0]),
        unused=[_sample(r) for r in view.rounds],
        studies=[_study(findings) for findings in view.studies],
        cost=cost_section(view.summary, view.events) if view.summary else None,
        planned=planned_section(view.plan) if view.summary else None,
        most_pairs=MOST_PAIRS,
        most_samples=MOST_SAMPLES,
    )


def make_environment() -> jinja2.Environment:
    """Return what renders the pages: what is filled in is escaped, a missing name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: Any) -> Any:
    """Show what would turn a line round or is no text, before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def read_style() -> Markup:
    """Return the style sheet of all pages."""
    return Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))


def _shown(numbers: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return the scores that the run has: key, name, short name."""
    scores = numbers[0]["select"]
    return [(key, *names) for key, names in SCORE_NAMES.items() if key in scores]


def _label(value: Any) -> str:
    """Return a label as text; of answers the first."""
    return value["text"][0] if isinstance(value, dict) else str(value)


def _interval(test: dict[str, Any], score: str) -> tuple[float, float]:
    """Return the 95 % interval of a share of rows: what so many test rows can tell."""
    return wilson_interval(round(test[score] * test["n"]), test["n"])


def _draw(numbers: list[dict[str, Any]], rejected: Counter[str], score: str) -> dict[str, Any]:
    """Return the SVG of each chart; the text in it was escaped by the chart library."""
    drawn = {
        "curve": Markup(charts.learning_curve(numbers, score)),
        "added": Markup(charts.label_balance(numbers, "added_labels", "rows added"))
        if any(n["added_labels"] for n in numbers)
        else None,
        "reasons": Markup(charts.reasons(rejected)) if rejected else None,
    }
    confusions = [
        Markup(charts.confusion(n["test" if "test" in n else "select"]["confusion"]))
        for n in numbers
        if 0 < len(n["select"].get("confusion", ())) <= 25
    ]
    return {**drawn, "confusions": confusions}


def _study(findings: Findings) -> dict[str, Any]:
    """Return a study's tables, their cells as text, and its charts."""
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


def _counts(rounds: list[RoundView], key: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for r in rounds:
        total.update(r.numbers[key])
    return total


def _sample(view: RoundView) -> list[dict[str, Any]]:
    """Return some rejected answers, a few of each reason."""
    taken: Counter[str] = Counter()
    sample: list[dict[str, Any]] = []
    for row in view.rejected:
        if taken[row["reason"]] < MOST_SAMPLES:
            taken[row["reason"]] += 1
            sample.append(row)
    return sample
