"""Runs on the nodes of a Ray cluster."""

import logging
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stepsynth._util.pretrained import need
from stepsynth.errors import ConfigError
from stepsynth.executors._executor import ExecutorSettings
from stepsynth.executors._remote import RemotePool


class Ray(ExecutorSettings):
    """The `ray` executor: first choice where runs are placed on GPUs."""

    name: ClassVar[str] = "ray"

    address: str = Field(
        default="auto",
        description="Address of the head node (HOST:6379); auto: the cluster of this machine.",
    )
    gpus: float = Field(default=0, ge=0, description="GPUs of a run; 0.5 lets two share one.")

    def open(self, jobs: int, folder: Path) -> "RayPool":
        """Return a pool; see `ExecutorSettings.open`."""
        return RayPool(self, folder)


class RayPool(RemotePool):
    """Pool of a Ray cluster."""

    def __init__(self, settings: Ray, folder: Path) -> None:
        ray, exceptions = (need(name, "ray", "executors.ray") for name in ("ray", "ray.exceptions"))
        self._ray: Any = ray
        try:
            ray.init(address=settings.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"executors.ray: no cluster answers at {settings.address}",
                hint="ray start --head starts one, ray start --address=HOST:6379 adds a node",
            ) from error
        self._options = {"num_cpus": settings.cpus or 1, "num_gpus": settings.gpus}
        lost = (
            *(exceptions.WorkerCrashedError, exceptions.NodeDiedError),
            *(exceptions.OutOfMemoryError, exceptions.ObjectLostError, BrokenExecutor),
        )
        super().__init__(folder, threads=settings.cpus or 1, lost=lost)

    def send(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have a worker call a function."""
        # Ray would begin a lost run again without a word; we count its deaths, and say so.
        task = self._ray.remote(fn).options(max_retries=0, **self._options)
        return task.remote(*args).future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the jobs and leave the cluster."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._ray.shutdown()
