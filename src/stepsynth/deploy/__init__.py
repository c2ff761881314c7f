"""What leaves a run: an ONNX file, cards for the Hugging Face hub, a server of its model."""

from stepsynth.deploy.hub import check_license, check_name, push, write_hub_files
from stepsynth.deploy.onnx import write_onnx
from stepsynth.deploy.serve import GRACE_S, ModelServer

__all__ = [
    "GRACE_S",
    "ModelServer",
    "check_license",
    "check_name",
    "push",
    "write_hub_files",
    "write_onnx",
]
