"""Anthropic's Message Batches: one body holds all requests, results are fetched as JSONL.

POST /messages/batches, GET /messages/batches/{id}, GET /messages/batches/{id}/results.
"""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from datetime import datetime
from typing import Any, BinaryIO, ClassVar

from stepsynth.errors import ProviderError
from stepsynth.llm.batches.lines import (
    ChatBatches,
    add_up,
    child,
    encode_line,
    quoted,
    read_id,
    was_cancelled,
)
from stepsynth.llm.core.batch_api import BatchState, Outcome, SentBatch
from stepsynth.llm.core.errors import RetryLaterError
from stepsynth.llm.core.types import Request

PATH = "/messages/batches"
EARLIER_S, LATER_S = 600, 3600
"""Seconds before and after its record within which a lost batch was created; clocks differ."""
_FAILED = ("errored", "canceled", "expired")
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Type of an error -> the status that it has outside of a batch."""


class AnthropicBatches(ChatBatches):
    """Batches of messages; see `BatchApi`."""

    max_requests: ClassVar[int] = 100_000
    max_bytes: ClassVar[int] = 256_000_000
    frame: ClassVar[tuple[bytes, bytes, bytes]] = (b'{"requests":[', b",", b"]}")

    def line(self, request_id: str, request: Request) -> bytes:
        """Return one request as it stands in the body of a batch."""
        return encode_line({"custom_id": request_id, "params": self.backend.body(request)})

    async def submit(self, file: BinaryIO, token: str) -> str:
        """Send a batch and return its id; the API has no place for our token."""
        return read_id(await self.client.post_file(PATH, file))

    async def find(self, lost: SentBatch, known: Collection[str]) -> str | None:
        """Return the id of a batch of the same size and time that the ledger does not know.

        The results of an ended one show whose it is. One that is still running is taken if it is
        the only one: should it be another's, it has no results for us, and we send ours again.
        """
        page = await self.client.get(f"{PATH}?limit=1000")
        batches: Any = page.get("data")
        running: list[str] = []
        for batch in batches if isinstance(batches, list) else ():
            name = batch.get("id") if isinstance(batch, dict) else None
            if not isinstance(name, str) or name in known or not _is_like(batch, lost):
                continue
            if batch.get("processing_status") != "ended":
                running.append(name)
            elif await self._is_ours(name, lost):
                return name
        return running[0] if len(running) == 1 else None

    async def _is_ours(self, batch: str, lost: SentBatch) -> bool:
        async with aclosing(self.results(batch)) as results:
            async for request_id, _ in results:
                return request_id in lost.requests
        return False

    async def poll(self, batch: str) -> BatchState:
        """Return how far a batch is; the API counts nothing as done before all is."""
        answer = await self.client.get(f"{PATH}/{quoted(batch)}")
        counts = child(answer, "request_counts")
        done = add_up(counts, "succeeded", *_FAILED)
        if answer.get("archived_at"):
            message = "it is archived, and its results are no longer there"
            return BatchState("failed", done, message)
        has_ended = answer.get("processing_status") == "ended"
        return BatchState("ended" if has_ended else "running", done)

    def results(self, batch: str) -> AsyncGenerator[tuple[str, Outcome | ProviderError]]:
        """Yield what came of each request."""
        # The documented path, not `results_url`: our key goes to no host that an answer names.
        return self.fetch(batch, f"{PATH}/{quoted(batch)}/results")

    def read_line(self, batch: str, line: dict[str, Any]) -> Outcome | ProviderError:
        """Return what a line of a batch's results says."""
        result = child(line, "result")
        kind = result.get("type")
        if kind == "succeeded":
            return self.read(child(result, "message"))
        if kind == "canceled":
            return was_cancelled(batch)
        if kind == "errored":
            outer = child(result, "error")
            error = child(outer, "error") or outer
            status = _STATUS.get(str(error.get("type")), 500)
            return self.refuse(status, error.get("message"), outer)
        if kind == "expired":
            return RetryLaterError("expired", f"batch {batch} expired before this request was sent")
        return RetryLaterError("malformed", f"batch {batch}: a result of unknown type {kind!r}")


def _is_like(batch: dict[str, Any], lost: SentBatch) -> bool:
    """Return whether a batch has the size and the time of a lost one."""
    try:
        created = datetime.fromisoformat(str(batch.get("created_at"))).timestamp()
    except ValueError:
        return False
    size = add_up(child(batch, "request_counts"), "processing", "succeeded", *_FAILED)
    is_then = lost.created - EARLIER_S <= created <= lost.created + LATER_S
    return is_then and size == len(lost.requests)
