"""Anthropic's Messages API (`POST /v1/messages`), version 2023-06-01."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from stepsynth.llm.batches.anthropic import AnthropicBatches
from stepsynth.llm.chat.chat import ChatBackend, count, make_messages, merge
from stepsynth.llm.chat.settings import ENDPOINT, BaseUrl, ChatSettings
from stepsynth.llm.core.types import Completion, Request


class Anthropic(ChatSettings):
    """Settings of an endpoint that answers `POST {base_url}/messages`."""

    backend: str = "anthropic"
    temperature: float = Field(default=0.9, ge=0, le=1, description="The paper's 0.9.")
    base_url: BaseUrl = Field(default="https://api.anthropic.com/v1", description=ENDPOINT)
    api_key_env: str = Field(
        default="ANTHROPIC_API_KEY", description="Environment variable that holds the key."
    )
    auth_header: str = Field(
        default="x-api-key",
        description="Header that carries the key; Authorization carries it after `Bearer`.",
    )


class AnthropicBackend(ChatBackend[Anthropic]):
    """A backend for messages. The API has no seed: the same request may get another text."""

    name = "anthropic"
    settings_class = Anthropic
    batches = AnthropicBatches
    path = "/messages"
    droppable: ClassVar[Mapping[str, str]] = {
        "temperature": "the model samples with its own",
        "top_p": "the model samples with its own",
        "output_config": "the prompt alone says what JSON is wanted",
    }

    def own_headers(self) -> dict[str, str]:
        """Return the header that names the version of the API."""
        return {"anthropic-version": "2023-06-01"}

    def body(self, request: Request, *, max_tokens: int | None = None) -> dict[str, Any]:
        """Return what is posted for a request, without what the endpoint has refused."""
        settings = self.settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": make_messages(request),
            **settings.sampling(),
            "max_tokens": max_tokens or settings.longest(request),
        }
        if settings.structured and request.schema is not None:
            form = {"type": "json_schema", "schema": dict(request.schema)}
            body["output_config"] = {"format": form}
        return merge(self.quirks.apply(body), settings.extra_body)

    def read(self, answer: dict[str, Any]) -> Completion:
        """Return the completion that an answer holds; see `ChatBackend.read`."""
        try:
            # Thoughts stand in blocks of their own.
            text = "".join(str(b["text"]) for b in answer["content"] if b["type"] == "text")
        except (KeyError, TypeError) as error:
            raise self.miss(answer) from error
        said = self.finish(text, answer, answer.get("stop_reason"))
        usage = answer.get("usage")
        new = count(usage, "input_tokens")
        cached = count(usage, "cache_read_input_tokens") or 0
        written = count(usage, "cache_creation_input_tokens") or 0
        return Completion(
            **said,
            prompt_tokens=None if new is None else new + cached + written,
            # Every text has tokens: a zero beside one was not counted.
            completion_tokens=count(usage, "output_tokens") or (None if said["text"] else 0),
            cached_tokens=0 if new is None else cached,
            model=self.settings.model,
        )
