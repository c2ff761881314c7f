"""OpenAI's Batch API: a JSONL file is uploaded, and files of results are fetched.

POST /files (purpose=batch), POST /batches, GET /batches/{id}, GET /files/{id}/content.
"""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
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

ENDPOINT = "/v1/chat/completions"
TOKEN_KEY = "stepsynth"
"""Name of our token in a batch's metadata."""
PAGES, SLACK_S = 50, 3600
"""Pages of the newest batches that are searched for a lost one; seconds that clocks may differ."""
_ENDED = {"completed", "expired", "cancelled"}
_QUEUE_FULL = "token_limit_exceeded"


class OpenAIBatches(ChatBatches):
    """Batches of chat completions; see `BatchApi`."""

    max_requests: ClassVar[int] = 50_000
    max_bytes: ClassVar[int] = 200_000_000
    frame: ClassVar[tuple[bytes, bytes, bytes]] = (b"", b"\n", b"\n")

    def line(self, request_id: str, request: Request) -> bytes:
        """Return one request as a line of a batch."""
        body = self.backend.body(request)
        return encode_line(
            {"custom_id": request_id, "method": "POST", "url": ENDPOINT, "body": body}
        )

    async def submit(self, file: BinaryIO, token: str) -> str:
        """Upload a batch and start it; return its id."""
        uploaded = await self.client.upload("/files", {"purpose": "batch"}, file)
        answer = await self.client.post(
            "/batches",
            {
                "input_file_id": read_id(uploaded),
                "endpoint": ENDPOINT,
                "completion_window": "24h",
                "metadata": {TOKEN_KEY: token},
            },
        )
        return read_id(answer)

    async def find(self, lost: SentBatch, known: Collection[str]) -> str | None:
        """Return the id of the batch that carries our token, or None."""
        after = ""
        for _ in range(PAGES):
            page = await self.client.get(f"/batches?limit=100{after}")
            batches: Any = page.get("data")
            for batch in batches if isinstance(batches, list) else ():
                if child(batch, "metadata").get(TOKEN_KEY) == lost.token:
                    return read_id(batch)
            if not batches or not page.get("has_more"):
                return None
            created = batches[-1].get("created_at")
            if isinstance(created, int) and created < lost.created - SLACK_S:
                return None
            after = f"&after={quoted(read_id(batches[-1]))}"
        return None

    async def poll(self, batch: str) -> BatchState:
        """Return how far a batch is."""
        answer = await self.client.get(f"/batches/{quoted(batch)}")
        status, counts = answer.get("status"), child(answer, "request_counts")
        done = add_up(counts, "completed", "failed")
        if status == "failed" and not answer.get("output_file_id"):
            errors: Any = child(answer, "errors").get("data")
            errors = [each for each in errors or () if isinstance(each, dict)]
            said = "; ".join(_explain(each) for each in errors[:3])
            is_full = any(each.get("code") == _QUEUE_FULL for each in errors)
            return BatchState("failed", done, self.mask(said), is_queue_full=is_full)
        has_ended = status in _ENDED or status == "failed"
        return BatchState("ended" if has_ended else "running", done)

    async def results(self, batch: str) -> AsyncGenerator[tuple[str, Outcome | ProviderError]]:
        """Yield what came of each request, from the file of answers and that of errors."""
        answer = await self.client.get(f"/batches/{quoted(batch)}")
        for key in ("output_file_id", "error_file_id"):
            if isinstance(file := answer.get(key), str) and file:
                async with aclosing(self.fetch(batch, f"/files/{quoted(file)}/content")) as found:
                    async for each in found:
                        yield each

    def read_line(self, batch: str, line: dict[str, Any]) -> Outcome | ProviderError:
        """Return what a line of a batch's results says."""
        response, error = child(line, "response"), child(line, "error")
        status, body = response.get("status_code"), child(response, "body")
        if status == 200:
            return self.read(body)
        if isinstance(status, int):
            said = child(body, "error").get("message", response.get("body"))
            return self.refuse(status, said, response.get("body"))
        code = error.get("code")
        if code == "batch_cancelled":
            return was_cancelled(batch)
        reason = {"batch_expired": "expired", "request_timeout": "timeout"}.get(
            str(code), "server_error"
        )
        said = self.mask(error.get("message", "no result"))
        return RetryLaterError(reason, f"batch {batch}: {said}")


def _explain(error: dict[str, Any]) -> str:
    place = f"line {error['line']}: " if isinstance(error.get("line"), int) else ""
    return f"{place}{error.get('message')} ({error.get('code')})"
