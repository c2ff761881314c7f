"""Results as HTML for the cell of a notebook: a table and its chart, without style or scripts."""

from stepsynth._util.html import table, to_html
from stepsynth.comparison import Comparison
from stepsynth.metrics import SCORE_NAMES
from stepsynth.report import charts, compare_charts
from stepsynth.report.compare_page import about, problems, score_table
from stepsynth.runfolder import Run
from stepsynth.runner import against_references, label_table


def run_snippet(run: Run) -> str:
    """Return a finished run as HTML: what it is worth, its rounds and its learning curve.

    Raises:
        RunFolderError: The run is not done, or damaged.
    """
    summary, numbers = run.summary, [done.metrics for done in run.rounds]
    keys = [key for key in SCORE_NAMES if key in numbers[0].select]
    columns = [(name, True) for name in ("round", "added", "training rows", "mining rows wrong")]
    for split in ("select", "test"):
        columns += [(f"{split} {SCORE_NAMES[key][1]} %", True) for key in keys]
    rows = [
        [
            *map(str, (row.round, row.added, row.train_size, row.misclassified)),
            *(
                f"{100 * scores[key]:.1f}" if scores else "–"
                for scores in (row.select, row.test)
                for key in keys
            ),
            "kept" if row.round == summary.kept_round else "",
        ]
        for row in numbers
    ]
    title = f"{summary.task}: {summary.method} with {summary.student}"
    said = [line for line in (summary.verdict, *against_references(summary)) if line]
    labels = label_table(summary)
    place = f"Run folder: {run.folder.path}"
    return "".join(
        (
            f"<b>{to_html(title)}</b>",
            *map(_line, said),
            table([*columns, ("", False)], rows),
            charts.learning_curve(numbers, keys[0]),
            *((_line("F1 by label on test, %"), table(*labels)) if labels[1] else ()),
            _line(place),
        )
    )


def comparison_snippet(comparison: Comparison) -> str:
    """Return a comparison as HTML: its verdict, its scores and the score against rows."""
    scores = score_table(comparison)
    has_curve = any(method.curve for method in comparison.methods)
    return "".join(
        (
            f"<b>{to_html(f'{comparison.task}: methods compared')}</b>",
            *map(_line, (about(comparison), *comparison.verdict, *problems(comparison))),
            table(scores.columns, scores.rows),
            compare_charts.score_against(comparison, "rows", "training rows") if has_curve else "",
            _line(f"Page: {comparison.folder}/compare.html"),
        )
    )


def _line(text: str) -> str:
    return f"<div>{to_html(text)}</div>"
