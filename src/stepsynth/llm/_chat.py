"""What the backends of chat APIs share: settings, keys and headers, what an endpoint refuses."""

import json
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, JsonValue, field_validator

from stepsynth._util.text import clean, shorten
from stepsynth.errors import ConfigError
from stepsynth.llm._backend import Backend, LLMSettings
from stepsynth.llm._errors import GiveUpError, RetryLaterError
from stepsynth.llm._http import RAW_CHARACTERS, JsonClient
from stepsynth.llm._quirks import Quirks
from stepsynth.llm._thoughts import cut_thoughts
from stepsynth.llm._types import Completion, Request
from stepsynth.llm.presets import find_provider

PLACEHOLDER = "YOUR_MODEL"
"""What `stepsynth init` writes for a person to replace."""
PING = Request("Say yes.", "ping")

_VARIABLE = re.compile(r"\$(?:\{([A-Z_][A-Z0-9_]*)\}|([A-Z_][A-Z0-9_]*))")
_HEADER = re.compile(r"[A-Za-z0-9_-]+")
_CREDENTIAL = re.compile(
    r"(^|[-_])(auth(orization|entication)?|(api|access|auth)?[-_]?(key|token)|secret|password|cookie|credentials?)"
    r"([-_]|$)",
    re.IGNORECASE,
)
_LOOKS_LIKE_KEY = re.compile(r"(bearer|basic|token)\s+\S{12}|sk-|gsk_|AIza|hf_|eyJ", re.IGNORECASE)
_ENDS_AS_KEY = re.compile(r"[-_](api|access|auth)[-_]?(key|token)$", re.IGNORECASE)
_SCHEMES = ("", "bearer", "basic", "token", "key")
_TOO_FEW_TOKENS = re.compile(r"max_(completion_|output_)?tokens|output limit", re.IGNORECASE)
_RESERVED = {
    "model": "llm.model",
    "messages": "the prompts of the task",
    "n": "llm.n",
    "stream": "nothing: answers come whole",
    "seed": "llm.send_seed",
    "temperature": "llm.temperature",
    "top_p": "llm.top_p",
    "max_tokens": "llm.max_tokens",
    "max_completion_tokens": "llm.max_tokens",
    "response_format": "llm.structured",
}
"""What `extra_body` may not hold, since the engine counts on it, and what to set instead."""
_REPRICED = frozenset({"service_tier", "cache_control", "speed", "inference_geo"})
"""Keys of a body that change the price, and so make it unknown."""


class ChatSettings(LLMSettings):
    """What the settings of every chat API hold."""

    # An error of validation would else repeat the value, which may be a key in the wrong place.
    model_config = ConfigDict(hide_input_in_errors=True)

    model: str = Field(min_length=1, description="The LLM's name, as the endpoint knows it.")
    base_url: str = Field(description="The endpoint, up to and with its /v1.")
    api_key_env: str = Field(
        description="Environment variable that holds the key; a local server may need none."
    )
    auth_header: str = Field(description="Header that carries the key.")
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Further headers; $NAME stands for an environment variable and is put in as "
        "they are sent.",
    )
    extra_body: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further keys of each request, as the endpoint has them."
    )
    structured: bool = Field(
        default=True, description="Hold the LLM to a JSON Schema where a prompt has one."
    )
    batch: bool = Field(
        default=False,
        description="Send requests through the provider's batch API: half the price, up to a day "
        "later.",
    )

    identity_keys: ClassVar[tuple[str, ...]] = (*LLMSettings.identity_keys, "base_url")

    def identity(self) -> dict[str, Any]:
        """Return the settings that are part of a run's identity."""
        return super().identity() | {
            key: getattr(self, key)
            for key, default in (("extra_body", {}), ("structured", True))
            if getattr(self, key) != default
        }

    def request_identity(self, *, has_schema: bool = False) -> dict[str, Any]:
        """Return all that is sent beside the prompt and decides the answer."""
        identity = super().request_identity(has_schema=has_schema)
        if self.extra_body:
            identity["extra_body"] = self.extra_body
        if has_schema and self.structured:
            identity["structured"] = True
        return identity

    @property
    def is_batched(self) -> bool:
        """Whether completions come from a provider's batch API."""
        return self.batch

    def price_list(self) -> str:
        """Return the provider whose host the URL names; "" where the price may be another."""
        return "" if _REPRICED & set(self.extra_body) else find_provider(self.base_url)

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        # No message may repeat the URL: it may hold a key.
        if not url.startswith(("http://", "https://")):
            raise ValueError("a URL that starts with http:// or https:// is needed")
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ValueError("this is no URL") from error
        if parts.username or parts.password or parts.query:
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

    @field_validator("auth_header")
    @classmethod
    def _check_auth_header(cls, name: str) -> str:
        if not _HEADER.fullmatch(name):
            raise ValueError("this must be the name of a header, such as Authorization or api-key")
        return name

    @field_validator("headers", mode="before")
    @classmethod
    def _check_headers(cls, headers: Any) -> Any:
        for name, value in headers.items() if isinstance(headers, dict) else ():
            _check_header(name, value)
        return headers

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in extra:
            if key in _RESERVED:
                raise ValueError(f"{key!r} may not stand in it; set {_RESERVED[key]}")
        if _holds_key(extra):
            raise ValueError("a key must never stand in a file; see api_key_env and headers")
        return extra


def _check_header(name: object, value: object) -> None:
    """Refuse a header that is none, or that holds a key in plain sight; repeats no value."""
    if not isinstance(name, str) or not _HEADER.fullmatch(name):
        raise ValueError("the name of a header has letters, digits and - alone")
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"the value of {name!r} must be text on one line")
    if _CREDENTIAL.search(name) or _LOOKS_LIKE_KEY.match(value):
        rest = _VARIABLE.sub("", value)
        if rest == value or rest.strip().casefold() not in _SCHEMES:
            raise ValueError(
                f"{name!r} carries a key, and a key must never stand in a file: "
                "put it into an environment variable and write $NAME"
            )


def _holds_key(value: object, name: str = "") -> bool:
    """Say whether a key stands in a value, at any depth, by its name or its form."""
    if isinstance(value, dict):
        inner = cast("dict[str, object]", value)
        return any(_holds_key(inner[each], each) for each in inner)
    if isinstance(value, list):
        return any(_holds_key(each, name) for each in cast("list[object]", value))
    is_secret = _CREDENTIAL.fullmatch(name) or _ENDS_AS_KEY.search(name)
    return isinstance(value, str) and bool(is_secret or _LOOKS_LIKE_KEY.match(value))


C = TypeVar("C", bound=ChatSettings)


class ChatBackend(Backend[C]):
    """Posts one body for each request; an endpoint's own quirks are learnt from what it refuses.

    Attributes:
        client: Speaks to the endpoint; a batch API uses it too.
        quirks: What the endpoint has refused so far.
    """

    path: ClassVar[str]
    droppable: ClassVar[Mapping[str, str]]
    """Parameters that can be left out -> what that means; see `Quirks`."""
    renameable: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Parameters that cannot be left out -> their other name."""

    def __init__(self, settings: C, random_seed: int) -> None:
        super().__init__(settings, random_seed)
        name = settings.api_key_env
        key = _read_key(name)
        own = self.own_headers()
        if key:
            is_bearer = settings.auth_header.lower() == "authorization"
            own[settings.auth_header] = f"Bearer {key}" if is_bearer else key
        given = {header: _expand(value) for header, value in settings.headers.items()}
        replaced = {header.lower() for header in given}
        own = {header: value for header, value in own.items() if header.lower() not in replaced}
        self.client = JsonClient(
            settings.base_url,
            headers=own | given,
            timeout_s=settings.timeout_s,
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

        Args:
            request: What is asked.
            max_tokens: In place of the settings'.
        """

    @abstractmethod
    def read(self, answer: dict[str, Any]) -> Completion:
        """Return the completion that an answer holds.

        Raises:
            RetryLaterError: It holds none, or an empty one.
        """

    async def complete(self, request: Request) -> Completion:
        """Send one request; see `Backend.complete`."""
        return self.read(await self.post(partial(self.body, request)))

    async def post(self, build: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Post a body, and again without what the endpoint refuses of it.

        Args:
            build: Returns the body as it is after all that was learnt. What is learnt only grows,
                so this ends.
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
        """Ask for one token; what the endpoint refuses is learnt here already."""
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

    def finish(self, text: str, answer: dict[str, Any], *, has_stopped: bool) -> tuple[str, bool]:
        """Return a text without thoughts, and whether it broke off within them.

        Args:
            text: As the LLM wrote it.
            answer: Where it stands, for the error.
            has_stopped: The LLM says that it is done, so nothing is no answer.

        Raises:
            RetryLaterError: There is no text.
        """
        said, has_thoughts = cut_thoughts(clean(text))
        is_cut = has_thoughts and "</think>" not in text
        if has_stopped and not is_cut and not said.strip():
            raise self.refuse("empty", "the answer is empty", answer)
        return said, is_cut

    def refuse(self, reason: str, message: str, answer: dict[str, Any]) -> RetryLaterError:
        """Return the error for an answer that cannot be used; it keeps the answer."""
        mask = self.client.mask
        raw = mask(json.dumps(answer, ensure_ascii=False))[:RAW_CHARACTERS]
        said = f": {shorten(mask(str(answer['error'])), 300)}" if "error" in answer else ""
        return RetryLaterError(reason, f"{self.client.base_url}: {message}{said}", raw=raw)


def make_messages(request: Request) -> list[dict[str, str]]:
    """Return the prompt and its turns as messages of the user and the LLM, one after another."""
    if not request.turns:
        return [{"role": "user", "content": request.prompt}]
    said = (request.prompt, *request.turns)
    return [
        {"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(said)
    ]


def merge(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; where both hold an object under one key, the two in one."""
    if not extra:
        return body
    merged = dict(body)
    for key, value in extra.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(cast("dict[str, Any]", below), value)
        else:
            merged[key] = value
    return merged


def count(usage: Any, *path: str) -> int | None:
    """Return a number of tokens in a provider's usage, or None where it says none."""
    for key in path:
        usage = usage.get(key) if isinstance(usage, dict) else None
    return usage if isinstance(usage, int) and not isinstance(usage, bool) and usage >= 0 else None


def _read_key(name: str) -> str:
    key = os.environ.get(name, "").strip()
    if not key.isprintable() or not key.isascii():
        raise ConfigError(f"the key in the environment variable {name} has odd characters")
    return key


def _expand(value: str) -> str:
    """Return a header's value with its environment variables put in."""

    def look_up(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in os.environ:
            raise ConfigError(
                f"llm.headers: the environment variable {name} is not set",
                hint=f"set it, as in: {name}=... stepsynth run ...",
            )
        return _read_key(name)

    return _VARIABLE.sub(look_up, value)
