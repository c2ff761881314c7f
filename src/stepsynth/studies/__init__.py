"""What can be said of data that was synthesised, one file each: `stepsynth study NAME RUN`."""

from stepsynth.studies._study import Chart, Findings, Study, Table, format_cell, studies
from stepsynth.studies._subject import RoundRows, Subject, open_subject

__all__ = [
    "Chart",
    "Findings",
    "RoundRows",
    "Study",
    "Subject",
    "Table",
    "format_cell",
    "open_subject",
    "studies",
]
