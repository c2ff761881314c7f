"""Batch APIs of providers: half the price, hours later; the same store."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from stepsynth.llm._errors import GiveUpError, RetryLaterError
from stepsynth.llm._types import Completion, Request


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is.

    Attributes:
        status: running; ended: its results can be fetched; failed: none of it was or will be done.
        done: Requests that were answered.
        failed: Requests that were given up.
        total: All of its requests.
        message: What the provider says of it, where it failed.
    """

    status: Literal["running", "ended", "failed"]
    done: int = 0
    failed: int = 0
    total: int = 0
    message: str = ""


class BatchApi(Protocol):
    """One provider's batch API.

    Attributes:
        max_requests: Most requests in a batch.
        max_bytes: Most bytes of a batch.
    """

    max_requests: int
    max_bytes: int

    def line(self, request_id: str, request: Request) -> dict[str, Any]:
        """Return one request as it stands in a batch; its custom id is the request's."""
        ...

    async def submit(self, lines: Sequence[dict[str, Any]]) -> str:
        """Send a batch, and return the provider's id of it."""
        ...

    async def poll(self, batch: str) -> BatchState:
        """Return how far a batch is."""
        ...

    def results(
        self, batch: str
    ) -> AsyncIterator[tuple[str, Completion | RetryLaterError | GiveUpError]]:
        """Yield the request id of each result of an ended batch, and what came of it."""
        ...

    async def cancel(self, batch: str) -> None:
        """Ask the provider to stop a batch."""
        ...
