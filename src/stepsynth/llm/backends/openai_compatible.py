"""Any chat-completions endpoint: hosted APIs, vLLM, llama.cpp, Ollama, LM Studio, ..."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from stepsynth._util.hashing import derive_seed
from stepsynth.errors import StepsynthError
from stepsynth.llm.batches.openai import OpenAIBatches
from stepsynth.llm.chat.chat import ChatBackend, count, make_messages, merge
from stepsynth.llm.chat.settings import ENDPOINT, BaseUrl, ChatSettings
from stepsynth.llm.core.types import Completion, Request

PLAIN_COUNTS = 3
"""Keys of a usage without details: tokens of the prompt, of the completion, of both."""


class OpenAICompatible(ChatSettings):
    """Settings of an endpoint that answers `POST {base_url}/chat/completions`."""

    backend: str = "openai_compatible"
    base_url: BaseUrl = Field(default="https://api.openai.com/v1", description=ENDPOINT)
    api_key_env: str = Field(
        default="OPENAI_API_KEY",
        description="Environment variable that holds the key; a local server may need none.",
    )
    auth_header: str = Field(
        default="Authorization",
        description="Header that carries the key; another than this carries it without `Bearer`.",
    )
    send_seed: bool = Field(default=True, description="Send a `seed`, another for each draw.")
    n: int = Field(
        default=1,
        gt=0,
        le=128,
        description="Completions asked for in one request, where prompts repeat.",
    )

    @property
    def group_size(self) -> int:
        """Draws of one prompt that one request asks for; always 1 in a batch."""
        return 1 if self.batch else self.n


class OpenAICompatibleBackend(ChatBackend[OpenAICompatible]):
    """A backend for chat completions."""

    name = "openai_compatible"
    settings_class = OpenAICompatible
    batches = OpenAIBatches
    path = "/chat/completions"
    droppable: ClassVar[Mapping[str, str]] = {
        "temperature": "the model samples with its own",
        "top_p": "the model samples with its own",
        "seed": "the same run may get other texts from it",
        "n": "one completion is asked for at a time",
        "stream": "answers are read whole or in parts",
        "response_format": "the prompt alone says what JSON is wanted",
    }
    # Never left out: the caps rely on it.
    renameable: ClassVar[Mapping[str, str]] = {"max_tokens": "max_completion_tokens"}

    @property
    def group_size(self) -> int:
        """Draws of one prompt that are asked for at once."""
        return self.settings.group_size if self.quirks.takes("n") else 1

    def body(
        self, request: Request, *, max_tokens: int | None = None, n: int = 1
    ) -> dict[str, Any]:
        """Return what is posted to have `n` completions; see `ChatBackend.body`."""
        settings = self.settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": make_messages(request),
            **settings.sampling(),
            "max_tokens": max_tokens or settings.longest(request),
            "stream": False,
        }
        if settings.send_seed:
            body["seed"] = derive_seed(self.random_seed, request.stream, request.draw)
        if n > 1:
            body["n"] = n
        if settings.structured and request.schema is not None:
            schema = {"name": "answer", "schema": dict(request.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return merge(self.quirks.apply(body), settings.extra_body)

    async def complete_group(self, requests: Sequence[Request]) -> list[Completion]:
        """Ask for as many completions of one prompt as there are requests; see `Backend`."""
        build = partial(self.body, requests[0], n=len(requests))
        return self._read_choices(await self.post(build), len(requests))

    def read(self, answer: dict[str, Any]) -> Completion:
        """Return the completion that an answer holds; see `ChatBackend.read`."""
        return self._read_choices(answer, 1)[0]

    def _read_choices(self, answer: dict[str, Any], most: int) -> list[Completion]:
        """Return the usable completions among the first `most` of an answer."""
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices:
            raise self.miss(answer)
        found: list[dict[str, Any]] = []
        error: StepsynthError | None = None
        for choice in choices[:most]:
            try:
                found.append(self._read_choice(choice, answer))
            except StepsynthError as caught:
                error = caught
        if error is not None and not found:
            raise error
        model, has_text = self.settings.model, any(said["text"] for said in found)
        shares = _share_tokens(answer.get("usage"), len(found), has_text=has_text)
        return [
            Completion(model=model, **said, **tokens)
            for said, tokens in zip(found, shares, strict=True)
        ]

    def _read_choice(self, choice: Any, answer: dict[str, Any]) -> dict[str, Any]:
        """Return what one choice says; see `finish`."""
        if isinstance(choice, dict) and choice.get("error"):
            raise self.refuse("broken_off", "the answer broke off", answer)
        try:
            content = choice["message"]["content"]
            refusal = choice["message"].get("refusal")
            if isinstance(content, list):
                content = "".join(map(_text_of_part, content))
            if not isinstance(content, (str, type(None))):
                raise TypeError(type(content).__name__)
        except (KeyError, TypeError, AttributeError) as error:
            raise self.miss(answer) from error
        # A content filter leaves no text: still an answer, to be stored and then rejected.
        return self.finish(content or str(refusal or ""), answer, choice.get("finish_reason"))


def _text_of_part(part: Any) -> str:
    """Return the text of a part of a message; "" for thoughts and the like."""
    if isinstance(part, str):
        return part
    return str(part["text"]) if part["type"] in ("text", "output_text") else ""


def _share_tokens(usage: Any, parts: int, *, has_text: bool) -> list[dict[str, Any]]:
    """Return the tokens that each completion of an answer counts for; they add up to the usage.

    The prompt was sent once: its tokens are the first completion's. Every text has tokens, so a
    zero beside one was not counted.
    """
    prompt = count(usage, "prompt_tokens")
    completion = count(usage, "completion_tokens")
    if has_text and not completion:
        prompt, completion = prompt or None, None
    if prompt is not None and (total := count(usage, "total_tokens")) is not None:
        # Some count the thoughts of a reasoning model in the total alone.
        completion = max(completion or 0, total - prompt) or completion
    cached, reasoning = 0, 0
    if isinstance(usage, dict) and len(usage) > PLAIN_COUNTS:
        cached = count(usage, "prompt_tokens_details", "cached_tokens") or 0
        reasoning = count(usage, "completion_tokens_details", "reasoning_tokens") or 0
    cached, reasoning = min(cached, prompt or 0), min(reasoning, completion or 0)
    return [
        {
            "prompt_tokens": prompt if i == 0 or prompt is None else 0,
            "completion_tokens": None if completion is None else _share(completion, parts, i),
            "cached_tokens": cached if i == 0 else 0,
            "reasoning_tokens": _share(reasoning, parts, i),
        }
        for i in range(parts)
    ]


def _share(whole: int, parts: int, i: int) -> int:
    """Return the i-th of `parts` whole numbers that add up to `whole`, as even as possible."""
    return whole // parts + (i < whole % parts)
