"""What the batch APIs share: requests written as lines, and results read from them."""

import json
from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from stepsynth._util.files import read_object
from stepsynth._util.text import shorten
from stepsynth.errors import ProviderError
from stepsynth.llm.chat.chat import ChatBackend
from stepsynth.llm.chat.http import RAW_CHARACTERS
from stepsynth.llm.core.batch_api import BatchApi, Outcome
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Request

ANY = Request("?", "?", schema={"type": "object"})
"""A request whose body holds every parameter that is ever sent."""
_LATER = {408, 409, 425, 429}
_FOR_ALL = {401, 402, 403, 404}


def encode_line(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object as one line, in ASCII, so that no reader breaks it elsewhere."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def read_id(answer: Any) -> str:
    """Return the id of an object that a provider has created."""
    found = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(found, str) or not found:
        raise RetryLaterError("malformed", "the provider answered without an id")
    return found


def child(value: Any, key: str) -> dict[str, Any]:
    """Return the object under a key; {} where there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def add_up(counts: Mapping[str, Any], *keys: str) -> int:
    """Return the sum of some of a provider's counts; what is no number counts as 0."""
    return sum(counts[key] for key in keys if isinstance(counts.get(key), int))


def was_cancelled(batch: str) -> ProviderError:
    """Return the error for a batch that somebody cancelled at the provider."""
    return ProviderError(
        f"batch {batch} was cancelled at the provider; what it had done is kept",
        hint="the same command sends what is missing again",
    )


def quoted(name: str) -> str:
    """Return a provider's name of something as a part of a path."""
    return quote(name, safe="")


class ChatBatches(BatchApi):
    """Batches of a chat backend's requests; results teach what the endpoint refuses, as posts do.

    Args:
        backend: Makes the requests of a batch and reads their results.
    """

    def __init__(self, backend: ChatBackend[Any]) -> None:
        self.backend, self.client = backend, backend.client
        self.provider = f"{backend.name} {backend.client.base_url}"
        self._learnt: set[str] = set()

    @abstractmethod
    def read_line(self, batch: str, line: dict[str, Any]) -> Outcome | ProviderError:
        """Return what a line of a batch's results says."""

    async def fetch(
        self, batch: str, path: str
    ) -> AsyncGenerator[tuple[str, Outcome | ProviderError]]:
        """Yield the request id and the outcome on each line of a file of results."""
        async with aclosing(self.client.lines(path)) as lines:
            async for raw in lines:
                line = read_object(raw) or {}
                if isinstance(request_id := line.get("custom_id"), str):
                    yield request_id, self.read_line(batch, line)

    def read(self, answer: dict[str, Any]) -> Outcome:
        """Return the completion in an answer, or what is wrong with it."""
        try:
            return self.backend.read(answer)
        except (RetryLaterError, GiveUpError) as error:
            return error

    def refuse(self, status: int, said: object, raw: object) -> Outcome | ProviderError:
        """Return what an error with an HTTP status means.

        Args:
            status: As it would have been outside of a batch.
            said: The provider's message.
            raw: The whole error, to be kept.
        """
        message = f"{self.client.base_url} answered {status}: {self.mask(said)}"
        text = self.client.mask(json.dumps(raw, ensure_ascii=False))[:RAW_CHARACTERS]
        if status in _FOR_ALL:
            hint = "check the key, llm.model, and your account at the provider"
            return ProviderError(message, hint=hint)
        if status in _LATER or status >= 500:
            reason = "rate_limit" if status == 429 else "server_error"
            return RetryLaterError(reason, message, raw=text)
        error = GiveUpError("refused_request", message, raw=text)
        if notice := self.backend.quirks.learn(error, self.backend.body(ANY)):
            self.backend.on_notice(f"{self.backend.settings.model}: {notice}")
            self._learnt.add(message)
        if message in self._learnt:  # a retry leaves out what is refused
            return RetryLaterError("refused_parameter", message, raw=text)
        return error

    def mask(self, said: object) -> str:
        """Return a provider's words on one line, keys masked."""
        return shorten(self.client.mask(str(said)), 300)
