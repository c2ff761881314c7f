"""Runs as jobs of Slurm."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from stepsynth._util.pretrained import need
from stepsynth.errors import ConfigError
from stepsynth.executors._executor import ExecutorSettings
from stepsynth.executors._remote import RemotePool

POLL_S = 1.0


class Slurm(ExecutorSettings):
    """The `slurm` executor, by submitit."""

    name: ClassVar[str] = "slurm"

    partition: str | None = Field(default=None, description="Partition; default: the cluster's.")
    minutes: int = Field(default=240, gt=0, description="Longest time of a run.")
    gpus: int = Field(default=0, ge=0, description="GPUs of a run.")
    memory_gb: float | None = Field(default=None, gt=0, description="Memory of a run.")
    cluster: Literal["slurm", "local"] = Field(
        default="slurm", description="local: processes of this machine, to try it out."
    )

    def open(self, jobs: int, folder: Path) -> "SlurmPool":
        """Return a pool; see `ExecutorSettings.open`."""
        return SlurmPool(self, folder)


class SlurmPool(RemotePool):
    """Pool of Slurm jobs; each run is a job, whose log is in `.slurm` of the comparison."""

    def __init__(self, settings: Slurm, folder: Path) -> None:
        submitit = need("submitit", "slurm", "executors.slurm")
        try:
            jobs: Any = submitit.AutoExecutor(folder / ".slurm", cluster=settings.cluster)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"executors.slurm: {error}", hint="run it where srun and sbatch are"
            ) from error
        given: dict[str, Any] = {"timeout_min": settings.minutes, "gpus_per_node": settings.gpus}
        given["cpus_per_task"] = settings.cpus or 1
        if settings.partition is not None and settings.cluster == "slurm":
            given["slurm_partition"] = settings.partition
        if settings.memory_gb is not None:
            given["mem_gb"] = settings.memory_gb
        jobs.update_parameters(name="stepsynth", **given)
        self._jobs = jobs
        self._sent: list[Any] = []
        lost = submitit.core.utils.UncompletedJobError, BrokenExecutor
        super().__init__(folder, threads=settings.cpus or 1, lost=lost)

    def kill(self) -> None:
        """Give up the jobs, those in the queue too."""
        super().kill()
        for job in self._sent:
            if not job.done():
                job.cancel(check=False)

    def send(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Submit a job that calls a function."""
        job, future = self._jobs.submit(fn, *args), Future[Any]()
        self._sent.append(job)

        def follow() -> None:
            while not job.done():
                time.sleep(POLL_S)
            if future.cancelled():
                return
            try:
                future.set_result(job.result())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=follow, daemon=True).start()
        return future
