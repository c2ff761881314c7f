"""The small model that comes as a package, and what runs it: tests skip where they are missing."""

import importlib.util

import pytest

from stepsynth.errors import ConfigError
from stepsynth.llm.local.llama import find_model

MODEL = "smollm2-135m-instruct"


def why_not() -> str:
    """Return what keeps the model from being run here; "" where nothing does."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "xllamacpp is not installed"
    try:
        find_model(MODEL)
    except ConfigError as error:
        return f"{error.message}: {error.hint}"
    return ""


needs_model = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it is here")
