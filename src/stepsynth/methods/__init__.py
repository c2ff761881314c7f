"""Ways to synthesise a training set, one file each; a file reads like its paper."""

from stepsynth.methods._method import Method, Model, Round, Setup, methods

__all__ = ["Method", "Model", "Round", "Setup", "methods"]
