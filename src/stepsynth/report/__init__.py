"""The report: a run folder as one self-contained HTML file."""

from stepsynth.report.compare_page import cost_table, problems, score_table, write_comparison
from stepsynth.report.prediction_cost import (
    COST_COLUMNS,
    PredictionCost,
    Way,
    write_prediction_cost,
)
from stepsynth.report.render import read_style, write_report, write_studies

__all__ = [
    "COST_COLUMNS",
    "PredictionCost",
    "Way",
    "cost_table",
    "problems",
    "read_style",
    "score_table",
    "write_comparison",
    "write_prediction_cost",
    "write_report",
    "write_studies",
]
