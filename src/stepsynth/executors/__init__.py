"""Where the runs of a comparison are done, one file each: here, or on machines of a cluster."""

from stepsynth.executors._executor import ExecutorSettings, executor_kinds, name_sections
from stepsynth.executors._pool import Pool, WorkerLostError, at_work

__all__ = [
    "ExecutorSettings",
    "Pool",
    "WorkerLostError",
    "at_work",
    "executor_kinds",
    "name_sections",
]
