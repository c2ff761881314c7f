"""A look at what a run sends and gets before it is paid for, or what a store has of it."""

from stepsynth.preview.preview import Preview, Previewer, Shown
from stepsynth.preview.store_explain import explain_task, find_store

__all__ = ["Preview", "Previewer", "Shown", "explain_task", "find_store"]
