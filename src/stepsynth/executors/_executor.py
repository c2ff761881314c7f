"""The base class of executors; its contract is `concurrent.futures.Executor`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from stepsynth.executors._pool import Pool
from stepsynth.registry import Registry


class ExecutorSettings(BaseModel, ABC):
    """An executor; its fields are its keys in a task file's section `executors`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    cpus: int | None = Field(
        default=None,
        gt=0,
        description="Cores of a run; default: one with ray and slurm, else those that its worker "
        "may use.",
    )

    @abstractmethod
    def open(self, jobs: int, folder: Path) -> Pool:
        """Return an open pool.

        Args:
            jobs: Number of runs at once.
            folder: Folder of the comparison, on a disk that all machines share.

        Raises:
            ConfigError: Its library is missing, or nothing answers at its address within 5 s.
        """


def executor_kinds() -> Registry[ExecutorSettings]:
    """Return the registry of executors."""
    return Registry("stepsynth.executors", "executor", ExecutorSettings)


def name_sections(given: Any) -> Any:
    """Return the section `executors` with each executor's name among its keys."""
    if not isinstance(given, Mapping):
        return given
    return {
        name: {**keys, "name": str(name)} if isinstance(keys, Mapping) else keys
        for name, keys in given.items()
    }
