"""The interface of a backend: one file that sends one request and returns one completion."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from stepsynth.llm.core.prices import Price, find_price
from stepsynth.llm.core.types import Completion, Request
from stepsynth.registry import Named, Registry

if TYPE_CHECKING:
    from stepsynth.llm.core.batch_api import BatchApi
    from stepsynth.llm.core.rate_headers import RateLimits


NAMED_LLM = Named(
    lambda: llm_backends(),
    key="backend",
    by_name=False,
    keeps_key=True,
    model=lambda backend: backend.settings_class,
)


class LLMSettings(BaseModel):
    """The `llm` section of a task file: keys of every backend. Each backend adds its own.

    Settings of an LLM that is asked live, in contrast to a recording, extend `LiveSettings`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    backend: str
    model: str = Field(default="", description="The LLM's name, as the endpoint knows it.")
    phases: Mapping[
        str,
        Annotated[
            tuple[Annotated["LLMSettings", NAMED_LLM, WithJsonSchema({})], ...],
            BeforeValidator(lambda given: given if isinstance(given, list | tuple) else (given,)),
        ],
    ] = Field(
        default_factory=dict,
        description="Kind of prompt (seed, extrapolate, judge, ...) -> keys that differ for it; a "
        "list: several LLMs in turn.",
        # In a file these are the keys that differ, of one LLM or of several.
        json_schema_extra={
            "additionalProperties": {
                "anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]
            }
        },
    )

    identity_keys: ClassVar[tuple[str, ...]] = ("backend", "model")
    """Keys that decide which completions come back; limits and concurrency do not."""

    optional_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that decide it too, and are part of both identities where they are not the default."""

    stores_completions: ClassVar[bool] = False
    """Whether completions cost something and are kept in the store."""

    runs_here: ClassVar[bool] = False
    """Whether the model runs in this process: no provider charges for it."""

    def identity(self) -> dict[str, Any]:
        """Return the settings that are part of a run's identity."""
        own = {key: getattr(self, key) for key in self.identity_keys}
        phases = {kind: [t.identity() for t in self.phases[kind]] for kind in self.phases}
        free = {} if getattr(self, "structured", True) else {"structured": False}
        return own | ({"phases": phases} if phases else {}) | self.more_identity() | free

    def more_identity(self) -> dict[str, Any]:
        """Return what decides the answers beside `identity_keys`, for both identities."""
        defaults = {key: type(self).model_fields[key] for key in self.optional_keys}
        return {
            key: value
            for key, field in defaults.items()
            if (value := getattr(self, key)) != field.get_default(call_default_factory=True)
        }

    def live(self) -> "LiveSettings":
        """Return the settings that the engine asks by; the defaults where none can be set."""
        return LiveSettings(backend=self.backend, model=self.model)

    def known_price(self) -> Price | None:
        """Return the price that is set, else that of the dated table; None if not known."""
        own = self.live().price
        if self.runs_here:
            return own or Price(prompt=0, completion=0)
        return own or find_price(self.model, self.price_list(), batch=self.is_batched)

    def price_list(self) -> str:
        """Return the name of the provider in the table of prices; "" if none is known."""
        return ""

    @property
    def is_batched(self) -> bool:
        """Whether completions come from a provider's batch API."""
        return False

    @property
    def window(self) -> int | None:
        """Context in tokens, prompt and answer together; None if the settings do not say."""
        return None

    @property
    def group_size(self) -> int:
        """Draws of one prompt that one request asks for."""
        return 1

    def sampling(self) -> dict[str, Any]:
        """Return the sampling parameters as they are sent."""
        return {}

    def endpoints_of(self, kind: str) -> Sequence["LLMSettings"]:
        """Return the settings of the LLMs that answer requests of a kind."""
        return self.phases.get(kind) or (self,)

    def endpoints(self) -> list[Self]:
        """Return these settings and those of every phase."""
        return [self, *(each for phase in self.phases.values() for each in phase)]  # type: ignore[list-item]

    @property
    def num_shards(self) -> int:
        """Processes that the requests of a phase are shared out to; 1: this one answers them."""
        return 1

    def share(self, number: int) -> Self:
        """Return the settings of one of so many processes that ask together."""
        phases = {
            kind: tuple(each.share(number) for each in several)
            for kind, several in self.phases.items()
        }
        return self.model_copy(update={"phases": phases, **self._parts(number)})

    def _parts(self, number: int) -> dict[str, Any]:
        """Return the limits that hold for all processes together, divided by their number."""
        return {}

    def store_path(self, default: Path) -> Path:
        """Return the store that these settings, or those of a phase, set; else the default."""
        named = (endpoint.live().store for endpoint in self.endpoints())
        return next((Path(store) for store in named if store), default)

    def request_identity(self, *, has_schema: bool = False) -> dict[str, Any]:
        """Return all that is sent beside the prompt and decides the answer."""
        is_held = has_schema and getattr(self, "structured", False)
        return {
            "backend": self.backend,
            "base_url": getattr(self, "base_url", None),
            "model": self.model,
            "sampling": self.sampling(),
            **self.more_identity(),
            **({"structured": True} if is_held else {}),
        }


class LiveSettings(LLMSettings):
    """Settings of every LLM that is asked live."""

    temperature: float = Field(default=0.9, ge=0, le=5, description="The paper's 0.9.")
    top_p: float = Field(default=0.95, gt=0, le=1, description="Nucleus sampling.")
    max_tokens: int = Field(
        default=1024,
        gt=0,
        description="Longest completion, in tokens; where it is not set, a text gets what gold's "
        "lengths need.",
    )
    concurrency: int = Field(default=64, gt=0, le=4096, description="Requests in flight at most.")
    max_attempts: int = Field(
        default=6, gt=0, description="Attempts at one request before it is failed."
    )
    timeout_s: float = Field(default=120, gt=0, description="Seconds to wait for one answer.")
    patience_s: float = Field(
        default=120, gt=0, description="Seconds that a provider may be down before the run stops."
    )
    store: str | None = Field(
        default=None, description="A store to share; default: in the run folder."
    )
    price: Price | None = Field(
        default=None,
        description="USD for a million tokens; default: of the dated table, if it knows the model.",
    )

    sampling_keys: ClassVar[tuple[str, ...]] = ("temperature", "top_p", "max_tokens")
    identity_keys: ClassVar[tuple[str, ...]] = (*LLMSettings.identity_keys, *sampling_keys)
    stores_completions: ClassVar[bool] = True

    def live(self) -> "LiveSettings":
        """Return these settings."""
        return self

    @property
    def rates(self) -> tuple[float | None, float | None, float | None]:
        """Most requests, prompt tokens and completion tokens a minute; None for no limit."""
        return None, None, None

    def _parts(self, number: int) -> dict[str, Any]:
        return {"concurrency": max(1, self.concurrency // number)}

    def sampling(self) -> dict[str, Any]:
        """Return the sampling parameters as they are sent."""
        return {key: getattr(self, key) for key in self.sampling_keys}

    def longest(self, request: Request) -> int:
        """Return the most tokens of an answer: as is set, else as the request needs."""
        if request.max_tokens is None or "max_tokens" in self.model_fields_set:
            return self.max_tokens
        return min(self.max_tokens, request.max_tokens)


class RatedSettings(LiveSettings):
    """Settings of every LLM whose provider limits what is sent in a minute."""

    rpm: float | None = Field(default=None, gt=0, description="Most requests sent in a minute.")
    input_tpm: float | None = Field(
        default=None, gt=0, description="Most prompt tokens sent in a minute."
    )
    output_tpm: float | None = Field(
        default=None, gt=0, description="Most completion tokens in a minute."
    )

    @property
    def rates(self) -> tuple[float | None, float | None, float | None]:
        """Most requests, prompt tokens and completion tokens a minute; None for no limit."""
        return self.rpm, self.input_tpm, self.output_tpm

    def _parts(self, number: int) -> dict[str, Any]:
        rates = zip(("rpm", "input_tpm", "output_tpm"), self.rates, strict=True)
        parts = {key: rate / number for key, rate in rates if rate is not None}
        return super()._parts(number) | parts


S = TypeVar("S", bound=LLMSettings)


class Backend(ABC, Generic[S]):
    """An LLM that answers one request at a time; caching, retries and limits are the engine's.

    A backend's file defines its settings (`settings_class`) and this class.

    Args:
        settings: The validated `llm` section.
        random_seed: The run's seed, for backends that draw by themselves.
    """

    name: ClassVar[str]
    settings_class: ClassVar[type[LLMSettings]]
    ping_s: ClassVar[float | None] = 5.0
    """Longest time for a ping, in seconds; None for as long as it takes."""

    def __init__(self, settings: S, random_seed: int) -> None:
        self.settings = settings
        self.random_seed = random_seed
        self.on_rate_limits: Callable[[RateLimits], None] = lambda _limits: None
        self.on_notice: Callable[[str], None] = lambda _message: None

    @abstractmethod
    async def complete(self, request: Request) -> Completion:
        """Return the completion of a request.

        Requests arrive in order: a backend that never awaits answers them in order.

        Raises:
            RetryLaterError: It may succeed later.
            GiveUpError: This request never will.
            ProviderError: No request will; the run stops.
        """

    @property
    def group_size(self) -> int:
        """Draws of one prompt that `complete_group` asks for at once."""
        return self.settings.group_size

    async def complete_group(self, requests: Sequence[Request]) -> list[Completion]:
        """Return completions of requests that differ only in their draw, asked for at once.

        Their tokens add up to what the provider counted. Fewer than asked for may come back.
        """
        return [await self.complete(request) for request in requests]

    def batch_api(self) -> "BatchApi | None":
        """Return the provider's batch API, if completions are to come from it."""
        return None

    async def ping(self) -> None:
        """Ask for one token, to check key, URL and model; raises as `complete`."""
        return

    async def close(self) -> None:
        """Release connections."""
        return


def llm_backends() -> Registry[Backend[Any]]:
    """Return the registry of LLM backends."""
    return Registry("stepsynth.llm.backends", "LLM backend", Backend)


def open_backends(
    settings: LLMSettings, random_seed: int
) -> tuple[Backend[Any], dict[str, list[Backend[Any]]]]:
    """Return the backends of settings: the main one, and those of each phase.

    Raises:
        ConfigError: One of them cannot be used as it is set.
    """
    known = llm_backends()
    main = known.get(settings.backend)(settings, random_seed)
    phases = {
        kind: [known.get(each.backend)(each, random_seed) for each in several]
        for kind, several in settings.phases.items()
    }
    return main, phases
