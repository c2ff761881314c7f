"""A person's review of a run: decisions on its rows, the page where they are made, their use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepsynth.review.apply import apply_review
from stepsynth.review.decisions import Decision, History, Version, read_review
from stepsynth.review.formats import export_rows, import_rows, labelling_interface
from stepsynth.review.table import Table

if TYPE_CHECKING:
    from stepsynth.review.log import ReviewLog
    from stepsynth.review.server import ReviewServer

__all__ = [
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

_OF_THE_PAGE = {"ReviewLog": "log", "ReviewServer": "server"}


def __getattr__(name: str) -> Any:
    """Return what only the page needs: every run reads decisions, and none serves a page."""
    if name not in _OF_THE_PAGE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OF_THE_PAGE[name]}"), name)
