"""Previews of a run: a few real requests, or a look-up of its requests in a store."""

from stepsynth.preview.preview import Preview, Previewer, Shown
from stepsynth.preview.store_explain import explain_task, find_store

__all__ = ["Preview", "Previewer", "Shown", "explain_task", "find_store"]
