"""Settings that the backends of chat APIs share; a key in plain sight is refused."""

import re
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from stepsynth.llm.core.backend import RatedSettings
from stepsynth.llm.core.presets import find_provider

PLACEHOLDER = "YOUR_MODEL"
"""Model name that `stepsynth init` writes, for a person to replace."""

VARIABLE = re.compile(r"\$(?:\{([A-Z_][A-Z0-9_]*)\}|([A-Z_][A-Z0-9_]*))")
_HEADER = re.compile(r"[A-Za-z0-9_-]+")
_CREDENTIAL = re.compile(
    r"(^|[-_])(auth(orization|entication)?|(api|access|auth)?[-_]?(key|token)|secret|password|cookie|credentials?)"
    r"([-_]|$)",
    re.IGNORECASE,
)
_LOOKS_LIKE_KEY = re.compile(r"(bearer|basic|token)\s+\S{12}|sk-|gsk_|AIza|hf_|eyJ", re.IGNORECASE)
_ENDS_AS_KEY = re.compile(r"[-_](api|access|auth)[-_]?(key|token)$", re.IGNORECASE)
_SCHEMES = ("", "bearer", "basic", "token", "key")
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
"""Keys that `extra_body` may not hold, since the engine relies on them -> what to set instead."""
_REPRICED = frozenset({"service_tier", "cache_control", "speed", "inference_geo"})
"""Keys of a body that change the price, so that it is no longer known."""


ENDPOINT = (
    "The endpoint, up to and with its /v1; or a list, of servers of one model: a request goes to "
    "the least busy one, and one that is down is left out for a while."
)
BaseUrl = str | Annotated[tuple[str, ...], Field(min_length=1)]


class ChatSettings(RatedSettings):
    """Settings of every chat API."""

    # Else a validation error would repeat the value, which may be a key in the wrong place.
    model_config = ConfigDict(hide_input_in_errors=True)

    model: str = Field(min_length=1, description="The LLM's name, as the endpoint knows it.")
    base_url: BaseUrl = Field(description=ENDPOINT)
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
    shards: int = Field(
        default=1,
        gt=0,
        le=64,
        description="Processes that the requests of a phase are shared out to, on this machine or, "
        "with `run --executor`, on others.",
    )

    identity_keys: ClassVar[tuple[str, ...]] = (*RatedSettings.identity_keys, "base_url")
    optional_keys: ClassVar[tuple[str, ...]] = ("extra_body",)

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers' URLs. The first one stands for all: more of them are no other LLM."""
        return (self.base_url,) if isinstance(self.base_url, str) else self.base_url

    def more_identity(self) -> dict[str, Any]:
        """Return what decides the answers, with the first server's URL for all."""
        return super().more_identity() | {"base_url": self.urls[0]}

    @property
    def num_shards(self) -> int:
        """Processes that the requests of a phase are shared out to."""
        return self.shards

    @property
    def is_batched(self) -> bool:
        """Whether completions come from a provider's batch API."""
        return self.batch

    def price_list(self) -> str:
        """Return the provider whose host the URL names; "" where its prices may not hold."""
        providers = {find_provider(url) for url in self.urls}
        return "" if _REPRICED & set(self.extra_body) or len(providers) > 1 else providers.pop()

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if self.batch and len(self.urls) > 1:
            raise ValueError("base_url: a batch API has one endpoint")
        if self.batch and self.shards > 1:
            raise ValueError("shards: a batch API takes all requests from one process")
        return self

    @field_validator("base_url")
    @classmethod
    def _check_urls(cls, given: BaseUrl) -> BaseUrl:
        return _check_url(given) if isinstance(given, str) else tuple(map(_check_url, given))

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


def _check_url(url: str) -> str:
    # No message may repeat the URL: it may hold a key.
    if not url.startswith(("http://", "https://")):
        raise ValueError("a URL that starts with http:// or https:// is needed")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError("this is no URL") from error
    if parts.username or parts.password or parts.fragment:
        raise ValueError("no name or password may stand in it; see api_key_env")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if _CREDENTIAL.search(name) or _LOOKS_LIKE_KEY.match(value):
            raise ValueError("no key may stand in it; see api_key_env and headers")
    place, mark, query = url.partition("?")
    return place.rstrip("/") + mark + query


def _check_header(name: object, value: object) -> None:
    """Refuse an invalid header, or a key in plain sight; no message repeats the value."""
    if not isinstance(name, str) or not _HEADER.fullmatch(name):
        raise ValueError("the name of a header has letters, digits and - alone")
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"the value of {name!r} must be text on one line")
    if _CREDENTIAL.search(name) or _LOOKS_LIKE_KEY.match(value):
        rest = VARIABLE.sub("", value)
        if rest == value or rest.strip().casefold() not in _SCHEMES:
            raise ValueError(
                f"{name!r} carries a key, and a key must never stand in a file: "
                "put it into an environment variable and write $NAME"
            )


def _holds_key(value: Any, name: str = "") -> bool:
    """Return whether a value holds a key, at any depth, by its name or its form."""
    if isinstance(value, dict):
        return any(_holds_key(inner, key) for key, inner in value.items())
    if isinstance(value, list):
        return any(_holds_key(each, name) for each in value)
    is_secret = _CREDENTIAL.fullmatch(name) or _ENDS_AS_KEY.search(name)
    return isinstance(value, str) and bool(is_secret or _LOOKS_LIKE_KEY.match(value))
