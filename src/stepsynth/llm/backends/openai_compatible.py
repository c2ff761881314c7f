"""Any chat-completions endpoint: hosted APIs, vLLM, llama.cpp, Ollama, LM Studio, ..."""

import os
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from stepsynth._util.hashing import derive_seed
from stepsynth._util.text import clean
from stepsynth.errors import ConfigError
from stepsynth.llm._backend import Backend, LLMSettings
from stepsynth.llm._errors import RetryLaterError
from stepsynth.llm._http import JsonClient
from stepsynth.llm._types import Completion, Request

PLACEHOLDER = "YOUR_MODEL"
"""What `stepsynth init` writes for a person to replace."""


class OpenAICompatible(LLMSettings):
    """Settings of an endpoint that answers `POST {base_url}/chat/completions`."""

    backend: str = "openai_compatible"
    model: str = Field(min_length=1, description="The LLM's name, as the endpoint knows it.")
    base_url: str = Field(
        default="https://api.openai.com/v1", description="The endpoint, up to and with its /v1."
    )
    api_key_env: str = Field(
        default="OPENAI_API_KEY",
        description="Environment variable that holds the key; a local server may need none.",
    )
    send_seed: bool = Field(default=True, description="Send a `seed`, another for each draw.")

    identity_keys: ClassVar[tuple[str, ...]] = (*LLMSettings.identity_keys, "base_url")

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"a URL that starts with http:// or https:// is needed, got {url!r}")
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            # The message must not repeat the URL: it may hold a key.
            raise ValueError("no name, password or query may stand in it; see api_key_env")
        return url.rstrip("/")

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: str) -> str:
        if model == PLACEHOLDER:
            raise ValueError(f"write the name of your LLM in place of {PLACEHOLDER}")
        return model

    @field_validator("api_key_env")
    @classmethod
    def _check_name(cls, name: str) -> str:
        # The message must not repeat the value: it may be the key itself.
        if not name.replace("_", "").isalnum() or not name.isupper():
            raise ValueError(
                "this must be the NAME of an environment variable (capitals, digits, _); "
                "a key must never stand in a file"
            )
        return name


class OpenAICompatibleBackend(Backend[OpenAICompatible]):
    """Sends one chat completion."""

    name = "openai_compatible"
    settings_class = OpenAICompatible

    def __init__(self, settings: OpenAICompatible, random_seed: int) -> None:
        super().__init__(settings, random_seed)
        name = settings.api_key_env
        key = os.environ.get(name, "").strip()
        if not key.isprintable() or not key.isascii():
            raise ConfigError(f"the key in the environment variable {name} has odd characters")
        self._client = JsonClient(
            settings.base_url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout_s=settings.timeout_s,
            key_hint=f"the key in the environment variable {name} is not accepted"
            if key
            else f"put the key into the environment variable {name} (llm.api_key_env names it)",
        )

    async def complete(self, request: Request) -> Completion:
        """Send one request; see `Backend.complete`."""
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [{"role": "user", "content": request.prompt}],
            **self.settings.sampling(),
        }
        if self.settings.send_seed:
            body["seed"] = derive_seed(self.random_seed, request.stream, request.draw)
        answer = await self._client.post("/chat/completions", body)
        return self._read(answer)

    def _read(self, answer: dict[str, Any]) -> Completion:
        try:
            choice = answer["choices"][0]
            content = choice["message"]["content"]
            refusal = choice["message"].get("refusal")
            text = (
                "".join(part["text"] for part in content) if isinstance(content, list) else content
            )
            if not isinstance(text, (str, type(None))):
                raise TypeError(type(text).__name__)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            said = f": {answer['error']}" if "error" in answer else ""
            raise RetryLaterError(
                "malformed", f"{self._client.base_url}: the answer holds no message{said}"
            ) from error
        usage = answer.get("usage")
        return Completion(
            # A content filter answers with no text: an answer, to be stored and then rejected.
            text=clean(text if text is not None else str(refusal or "")),
            truncated=choice.get("finish_reason") == "length",
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _count(usage: Any, key: str) -> int | None:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if isinstance(value, int) else None
