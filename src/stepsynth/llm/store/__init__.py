"""The durable store, with claims and leases for the processes that share it."""

from stepsynth.llm.store.absorb import absorb_all
from stepsynth.llm.store.gc import Chosen, collect_garbage
from stepsynth.llm.store.merge import merge
from stepsynth.llm.store.read import Stored, StoreReader
from stepsynth.llm.store.recording import bounded
from stepsynth.llm.store.store import Store
from stepsynth.llm.store.tools import UNKNOWN, explain_request, summarize

__all__ = [
    "UNKNOWN",
    "Chosen",
    "Store",
    "StoreReader",
    "Stored",
    "absorb_all",
    "bounded",
    "collect_garbage",
    "explain_request",
    "merge",
    "summarize",
]
