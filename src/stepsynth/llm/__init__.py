"""Durable calls of an LLM: requests in, completions out, in the order of the requests.

An island: it knows strings and opaque tags, never examples or tasks.
"""

from stepsynth.llm.chat.chat import PING, ChatBackend
from stepsynth.llm.core.backend import (
    NAMED_LLM,
    Backend,
    LiveSettings,
    LLMSettings,
    llm_backends,
    open_backends,
)
from stepsynth.llm.core.errors import GiveUpError
from stepsynth.llm.core.presets import apply_preset, find_provider, preset_names
from stepsynth.llm.core.types import Completion, Failed, Request
from stepsynth.llm.core.usage import Spent, Status, Usage, cost
from stepsynth.llm.engine.limits import Limits
from stepsynth.llm.engine.llm import LLM
from stepsynth.llm.engine.numbering import Numbered
from stepsynth.llm.engine.shard import answer_order
from stepsynth.llm.engine.sharding import ShardOrder, ShardPlan, ShardReport

__all__ = [
    "LLM",
    "NAMED_LLM",
    "PING",
    "Backend",
    "ChatBackend",
    "Completion",
    "Failed",
    "GiveUpError",
    "LLMSettings",
    "Limits",
    "LiveSettings",
    "Numbered",
    "Request",
    "ShardOrder",
    "ShardPlan",
    "ShardReport",
    "Spent",
    "Status",
    "Usage",
    "answer_order",
    "apply_preset",
    "cost",
    "find_provider",
    "llm_backends",
    "open_backends",
    "preset_names",
]
