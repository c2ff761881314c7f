"""Call an LLM durably: requests in, completions out, in the order of the requests.

An island: it knows strings and opaque tags, never examples or tasks.
"""

from stepsynth.llm._backend import Backend, LLMSettings, llm_backends
from stepsynth.llm._types import Completion, Failed, Request
from stepsynth.llm.engine import LLM, Usage

__all__ = [
    "LLM",
    "Backend",
    "Completion",
    "Failed",
    "LLMSettings",
    "Request",
    "Usage",
    "llm_backends",
]
