"""Base of the chat backends: keys and headers, refused parameters, endings of answers."""

import json
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeVar

from stepsynth._util.reasoning import split_reasoning
from stepsynth._util.text import clean, is_blank, shorten
from stepsynth.errors import ConfigError, ProviderError, StepsynthError
from stepsynth.llm.chat.http import RAW_CHARACTERS, UNPAID, JsonClient, is_unpaid
from stepsynth.llm.chat.quirks import Quirks
from stepsynth.llm.chat.settings import VARIABLE, ChatSettings
from stepsynth.llm.core.backend import Backend
from stepsynth.llm.core.batch_api import BatchApi
from stepsynth.llm.core.endings import ending_of, stop_word
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Completion, Request

FEWEST_BYTES, BYTES_A_TOKEN = 4 << 20, 64
"""Bytes that an answer may have in any case, and for each token asked for."""
MOST_TOKENS = 1 << 40
"""A larger number of tokens is not taken for a count."""
PING = Request("Say yes.", "ping")

_TOO_FEW_TOKENS = re.compile(r"max_(completion_|output_)?tokens|output limit", re.IGNORECASE)

C = TypeVar("C", bound=ChatSettings)


class ChatBackend(Backend[C]):
    """A backend that posts one body for each request, and learns what an endpoint refuses.

    Attributes:
        client: HTTP client of the endpoint; a batch API uses it too.
        quirks: Parameters that the endpoint has refused so far.
    """

    path: ClassVar[str]
    droppable: ClassVar[Mapping[str, str]]
    """Parameters that can be left out -> what that means for a run; see `Quirks`."""
    renameable: ClassVar[Mapping[str, str]] = {}
    """Parameters that cannot be left out -> their other name."""
    batches: ClassVar[Callable[..., BatchApi] | None] = None
    """Makes the provider's batch API from the backend; None: it has none."""

    def __init__(self, settings: C, random_seed: int) -> None:
        super().__init__(settings, random_seed)
        name = settings.api_key_env
        key = _read_key(name)
        own = self.own_headers()
        if key:
            is_bearer = settings.auth_header.lower() == "authorization"
            own[settings.auth_header] = f"Bearer {key}" if is_bearer else key
        secrets = [key]
        given = {name: _expand(value, secrets) for name, value in settings.headers.items()}
        replaced = {header.lower() for header in given}
        own = {header: value for header, value in own.items() if header.lower() not in replaced}
        tokens = settings.max_tokens * settings.group_size
        self.client = JsonClient(
            settings.urls,
            headers=own | given,
            secrets=secrets,
            timeout_s=settings.timeout_s,
            most_bytes=max(FEWEST_BYTES, BYTES_A_TOKEN * tokens),
            key_hint=f"the key in the environment variable {name} is not accepted"
            if key
            else f"put the key into the environment variable {name} (llm.api_key_env names it)",
        )
        self.client.on_rate_limits = lambda limits: self.on_rate_limits(limits)
        self.quirks = Quirks(self.droppable, self.renameable)

    def own_headers(self) -> dict[str, str]:
        """Return the headers that the API asks for beside the key."""
        return {}

    @abstractmethod
    def body(self, request: Request, *, max_tokens: int | None = None) -> dict[str, Any]:
        """Return what is posted for a request, without what the endpoint has refused.

        `max_tokens` overrides the settings'.
        """

    @abstractmethod
    def read(self, answer: dict[str, Any]) -> Completion:
        """Return the completion that an answer holds.

        Raises:
            RetryLaterError: It holds none, or an empty one.
        """

    def batch_api(self) -> BatchApi | None:
        """Return the provider's batch API, if completions are to come from it."""
        return self.batches(self) if self.settings.batch and self.batches else None

    async def complete(self, request: Request) -> Completion:
        """Send one request; see `Backend.complete`."""
        return self.read(await self.post(partial(self.body, request)))

    async def post(self, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Post a body, and again without what the endpoint refuses of it.

        Args:
            build: Returns the body without what was refused so far. That set only grows, so the
                loop ends.
        """
        while True:
            body = build()
            try:
                return await self.client.post(self.path, body)
            except GiveUpError as error:
                if notice := self.quirks.learn(error, body):
                    self.on_notice(f"{self.settings.model}: {notice}")
                if build() == body:
                    raise

    async def ping(self) -> None:
        """Ask for one token; what the endpoint refuses is learnt on the way."""
        most = self.settings.max_tokens
        for tokens in sorted({1, min(16, most), most}):
            try:
                self.read(await self.post(partial(self.body, PING, max_tokens=tokens)))
                return
            except RetryLaterError as error:
                if error.reason != "empty":
                    raise
                return
            except GiveUpError as error:
                # Some reasoning models refuse a limit that their thoughts would not fit in.
                if tokens == most or not _TOO_FEW_TOKENS.search(error.message):
                    raise

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    def finish(self, text: str, answer: dict[str, Any], reason: Any) -> dict[str, Any]:
        """Return a text and its ending as fields of a `Completion`.

        Args:
            text: As the LLM wrote it.
            answer: The body that holds it, for the error.
            reason: Why it ended, in the provider's word.

        Raises:
            RetryLaterError: There is no text, or it broke off by an error.
        """
        word = stop_word(reason)
        ending = ending_of(word)
        if ending == "failed":
            broken = f"the answer broke off ({self.client.mask(word)})"
            raise self.refuse("broken_off", broken, answer)
        said = split_reasoning(clean(self.client.mask(text)))
        if ending == "whole" and not said.is_open and is_blank(said.answer):
            raise self.refuse("empty", "the answer is empty", answer)
        if ending == "whole":
            return {"text": said.answer, "truncated": said.is_open}
        return {"text": said.answer, "truncated": True, "stop": self.client.mask(word)}

    def refuse(self, reason: str, message: str, answer: dict[str, Any]) -> RetryLaterError:
        """Return the error for an unusable answer, which it keeps."""
        said = shorten(self.client.mask(_find_words(answer)), 300)
        message = f"{self.client.base_url}: {message}" + (f": {said}" if said else "")
        return RetryLaterError(reason, message, raw=self._raw(answer)[:RAW_CHARACTERS])

    def miss(self, answer: dict[str, Any]) -> StepsynthError:
        """Return the error for an answer without a message: some report an error instead."""
        error = answer.get("error")
        code = error.get("code", error.get("status")) if isinstance(error, dict) else None
        url = f"{self.client.base_url}{self.path}"
        if str(code).isdigit() and 400 <= int(str(code)[:9]) < 600:
            return self.client.explain(url, int(str(code)), self._raw(answer))
        if is_unpaid(said := self.client.mask(_find_words(answer))):
            return ProviderError(f"{url}: {shorten(said, 300)}", hint=UNPAID)
        return self.refuse("malformed", "the answer holds no message", answer)

    def _raw(self, answer: dict[str, Any]) -> str:
        return self.client.mask(json.dumps(answer, ensure_ascii=False))


def _find_words(answer: dict[str, Any]) -> str:
    """Return the error message in the body of an answer; "" if there is none."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    within = first.get("error") if isinstance(first, dict) else None
    for found in (answer.get("error"), within, answer.get("base_resp"), answer.get("detail")):
        if isinstance(found, dict):
            found = found.get("message") or found.get("status_msg") or found
        if found:
            return str(found)
    return str(answer.get("message") or answer.get("msg") or "")


def make_messages(request: Request) -> list[dict[str, str]]:
    """Return the prompt and its turns as messages, the user's and the LLM's by turns."""
    if not request.turns:
        return [{"role": "user", "content": request.prompt}]
    said = (request.prompt, *request.turns)
    return [
        {"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(said)
    ]


def merge(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return both objects merged, with the objects that both hold under one key."""
    if not extra:
        return body
    merged = dict(body)
    for key, value in extra.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def count(usage: Any, *path: str) -> int | None:
    """Return a number of tokens in a provider's usage; None if it is missing or impossible."""
    for key in path:
        usage = usage.get(key) if isinstance(usage, dict) else None
    if isinstance(usage, bool) or not isinstance(usage, (int, float)):
        return None
    # NaN is in no range.
    return int(usage) if 0 <= usage <= MOST_TOKENS and usage == int(usage) else None


def _read_key(name: str) -> str:
    key = os.environ.get(name, "").strip()
    if not key.isprintable() or not key.isascii():
        raise ConfigError(f"the key in the environment variable {name} has odd characters")
    return key


def _expand(value: str, secrets: list[str]) -> str:
    """Return a header's value with its environment variables put in; these count as secrets."""

    def look_up(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in os.environ:
            raise ConfigError(
                f"llm.headers: the environment variable {name} is not set",
                hint=f"set it, as in: {name}=... stepsynth run ...",
            )
        secrets.append(_read_key(name))
        return secrets[-1]

    return VARIABLE.sub(look_up, value)
