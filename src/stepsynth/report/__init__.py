"""The report: a run folder as one self-contained HTML file."""

from stepsynth.report.compare_page import (
    cost_table,
    problems,
    run_rows,
    score_table,
    write_comparison,
)
from stepsynth.report.prediction_cost import (
    PredictionCost,
    Way,
    write_prediction_cost,
)
from stepsynth.report.render import read_style, score_interval, write_report, write_studies
from stepsynth.report.snippets import comparison_snippet, run_snippet

__all__ = [
    "PredictionCost",
    "Way",
    "comparison_snippet",
    "cost_table",
    "problems",
    "read_style",
    "run_rows",
    "run_snippet",
    "score_interval",
    "score_table",
    "write_comparison",
    "write_prediction_cost",
    "write_report",
    "write_studies",
]
