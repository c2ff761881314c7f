"""Runs in processes of this machine."""

from pathlib import Path
from typing import ClassVar

from stepsynth.executors._executor import ExecutorSettings
from stepsynth.executors._pool import Pool, Processes


class Local(ExecutorSettings):
    """The `local` executor: several runs in a process each, a single one in this process."""

    name: ClassVar[str] = "local"

    def open(self, jobs: int, folder: Path) -> Pool:
        """Return a pool of processes; for one run at a time, of none."""
        return Processes(jobs, threads=self.cpus) if jobs > 1 else Pool()
