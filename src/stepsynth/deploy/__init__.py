"""Exports of a run: an ONNX file, and data set and model with cards for the Hugging Face hub."""

from stepsynth.deploy.hub import check_license, check_name, push, write_hub_files
from stepsynth.deploy.onnx import write_onnx

__all__ = ["check_license", "check_name", "push", "write_hub_files", "write_onnx"]
