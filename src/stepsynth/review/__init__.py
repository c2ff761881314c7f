"""A person's review of a run: decisions on its rows, the page where they are made, their use."""

from stepsynth.review.apply import apply_review
from stepsynth.review.decisions import Decision, History, Version, read_review
from stepsynth.review.formats import export_rows, import_rows, labelling_interface
from stepsynth.review.log import ReviewLog
from stepsynth.review.server import MOST_BYTES, ReviewServer
from stepsynth.review.table import Table

__all__ = [
    "MOST_BYTES",
    "Decision",
    "History",
    "ReviewLog",
    "ReviewServer",
    "Table",
    "Version",
    "apply_review",
    "export_rows",
    "import_rows",
    "labelling_interface",
    "read_review",
]
