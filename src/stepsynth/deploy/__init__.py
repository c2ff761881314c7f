"""What leaves a run: a model for elsewhere, files for the Hugging Face hub, a server."""

from stepsynth.deploy.cost import draw_rows, estimate, measure_cost, unseen_rows
from stepsynth.deploy.fall_back import TIMEOUT_S, FallBack, read_task
from stepsynth.deploy.hub import check_license, check_name, push, write_hub_files
from stepsynth.deploy.onnx import write_onnx
from stepsynth.deploy.serve import GRACE_S, ModelServer
from stepsynth.deploy.standalone import write_standalone

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
    "write_hub_files",
    "write_onnx",
    "write_standalone",
]
