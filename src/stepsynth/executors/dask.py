"""Runs on the workers of a Dask cluster."""

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from stepsynth._util.pretrained import need
from stepsynth.errors import ConfigError
from stepsynth.executors._executor import ExecutorSettings
from stepsynth.executors._pool import WorkerLostError
from stepsynth.executors._remote import RemotePool

CONNECT_S = 5


class Dask(ExecutorSettings):
    """The `dask` executor: first choice for grids on CPUs."""

    name: ClassVar[str] = "dask"

    address: str = Field(
        default="tcp://127.0.0.1:8786", description="Address of the scheduler (tcp://HOST:8786)."
    )
    resources: dict[str, float] = Field(
        default_factory=dict,
        description="What a run takes of its worker's resources, as {GPU: 1}; a worker has those "
        "it was started with (--resources GPU=1).",
    )

    def open(self, jobs: int, folder: Path) -> "DaskPool":
        """Return a pool; see `ExecutorSettings.open`."""
        return DaskPool(self, folder)


class DaskPool(RemotePool):
    """Pool of a Dask cluster, which gives a run to another worker if one dies."""

    def __init__(self, settings: Dask, folder: Path) -> None:
        dask = need("distributed", "dask", "executors.dask")
        try:
            self._client: Any = dask.Client(settings.address, timeout=CONNECT_S)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigError(
                f"executors.dask: no scheduler answers at {settings.address}",
                hint="dask scheduler starts one, dask worker ADDRESS its workers",
            ) from error
        self._executor: Any = self._client.get_executor(
            pure=False, resources=settings.resources or None
        )
        super().__init__(folder, threads=settings.cpus, lost=(dask.KilledWorker, BrokenExecutor))

    def send(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have a worker call a function."""
        return self._executor.submit(fn, *args)

    def explain_loss(self, error: BaseException) -> WorkerLostError:
        """Return the error; Dask itself has tried again where several workers have died."""
        tried = getattr(error, "allowed_failures", 0) + 1
        return WorkerLostError(str(error), deaths=tried)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the jobs and leave the cluster."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._client.close()
