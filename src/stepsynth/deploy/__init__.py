"""What leaves a run: a model for elsewhere, data cards, files for the hub, a server."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepsynth.deploy.cost import draw_rows, estimate, measure_cost, unseen_rows
from stepsynth.deploy.croissant import write_croissant
from stepsynth.deploy.fall_back import TIMEOUT_S, FallBack, read_task
from stepsynth.deploy.hub import check_license, check_name, push, write_hub_files
from stepsynth.deploy.onnx import write_onnx
from stepsynth.deploy.standalone import write_standalone

if TYPE_CHECKING:
    from stepsynth.deploy.serve import GRACE_S, ModelServer

__all__ = [
    "GRACE_S",
    "TIMEOUT_S",
    "FallBack",
    "ModelServer",
    "check_license",
    "check_name",
    "draw_rows",
    "estimate",
    "measure_cost",
    "push",
    "read_task",
    "unseen_rows",
    "write_croissant",
    "write_hub_files",
    "write_onnx",
    "write_standalone",
]

_OF_THE_SERVER = ("GRACE_S", "ModelServer")


def __getattr__(name: str) -> Any:
    """Return what only the server needs: every run writes a data card, and none serves."""
    if name not in _OF_THE_SERVER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.serve"), name)
