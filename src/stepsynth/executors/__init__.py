"""Where runs and tasks are done, one file each: here, or on machines of a cluster."""

from stepsynth.executors._executor import ExecutorSettings, executor_kinds, name_sections
from stepsynth.executors._pool import Pool, WorkerLostError, at_work, cores
from stepsynth.executors._tasks import DEATHS, do_tasks

__all__ = [
    "DEATHS",
    "ExecutorSettings",
    "Pool",
    "WorkerLostError",
    "at_work",
    "cores",
    "do_tasks",
    "executor_kinds",
    "name_sections",
]
