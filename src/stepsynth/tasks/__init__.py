"""Tasks: kinds are Python, one file each; recipes are YAML, one file each."""

from stepsynth.tasks._task import Task, task_kinds

__all__ = ["Task", "task_kinds"]
