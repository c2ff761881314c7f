"""Studies of synthesised data, one file each: `stepsynth study NAME RUN`."""

from stepsynth.studies._studied_run import StudiedRun, open_subject
from stepsynth.studies._study import (
    Chart,
    Findings,
    Study,
    Table,
    format_cell,
    read_findings,
    studies,
)

__all__ = [
    "Chart",
    "Findings",
    "StudiedRun",
    "Study",
    "Table",
    "format_cell",
    "open_subject",
    "read_findings",
    "studies",
]
