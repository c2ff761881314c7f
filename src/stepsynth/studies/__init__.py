"""What can be said of data that was synthesised, one file each: `stepsynth study NAME RUN`."""

from stepsynth.studies._study import (
    Chart,
    Findings,
    Study,
    Table,
    format_cell,
    read_findings,
    studies,
)
from stepsynth.studies._subject import Subject, open_subject

__all__ = [
    "Chart",
    "Findings",
    "Study",
    "Subject",
    "Table",
    "format_cell",
    "open_subject",
    "read_findings",
    "studies",
]
