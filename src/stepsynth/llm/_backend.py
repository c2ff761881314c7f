"""What a backend is: one file that sends one request and returns one completion."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from stepsynth.llm._types import Completion, Request
from stepsynth.registry import Registry


class Price(BaseModel):
    """What the LLM costs, in USD for a million tokens. Not known unless it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: float = Field(ge=0, description="USD for a million prompt tokens.")
    completion: float = Field(ge=0, description="USD for a million completion tokens.")

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of so many tokens in USD."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


class LLMSettings(BaseModel):
    """The `llm` section of a task file: what every backend has. Each backend adds its own keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    backend: str
    model: str = Field(default="", description="The LLM's name, as the endpoint knows it.")
    temperature: float = Field(default=0.9, ge=0, le=5, description="The paper's 0.9.")
    top_p: float = Field(default=0.95, gt=0, le=1, description="Nucleus sampling.")
    max_tokens: int = Field(default=1024, gt=0, description="Longest completion, in tokens.")
    concurrency: int = Field(default=64, gt=0, le=4096, description="Requests in flight at most.")
    max_attempts: int = Field(
        default=6, gt=0, description="Attempts at one request before it is failed."
    )
    timeout_s: float = Field(default=120, gt=0, description="Seconds to wait for one answer.")
    store: str | None = Field(
        default=None, description="A store to share; default: in the run folder."
    )
    price: Price | None = Field(
        default=None, description="USD for a million tokens; else cost is null."
    )

    sampling_keys: ClassVar[tuple[str, ...]] = ("temperature", "top_p", "max_tokens")
    identity_keys: ClassVar[tuple[str, ...]] = ("backend", "model", *sampling_keys)
    """What decides which completions come back; limits and concurrency do not."""

    stores_completions: ClassVar[bool] = True
    """Whether completions cost something and are kept in the store."""

    def identity(self) -> dict[str, Any]:
        """Return the settings that are part of a run's identity."""
        return {key: getattr(self, key) for key in self.identity_keys}

    def sampling(self) -> dict[str, Any]:
        """Return the sampling parameters as they are sent."""
        return {key: getattr(self, key) for key in self.sampling_keys}


S = TypeVar("S", bound=LLMSettings)


class Backend(ABC, Generic[S]):
    """Answers one request at a time; caching, retrying and limits are the engine's.

    A backend's file defines its settings (`settings_class`) and this class.

    Args:
        settings: The validated `llm` section.
        random_seed: The run's seed, for backends that draw by themselves.
    """

    name: ClassVar[str]
    settings_class: ClassVar[type[LLMSettings]]

    def __init__(self, settings: S, random_seed: int) -> None:
        self.settings = settings
        self.random_seed = random_seed

    @abstractmethod
    async def complete(self, request: Request) -> Completion:
        """Return the completion of a request.

        Requests arrive in order: a backend that never awaits answers them in order.

        Raises:
            RetryLaterError: It may succeed later.
            GiveUpError: This request never will.
            ProviderError: No request will; the run stops.
        """

    async def close(self) -> None:
        """Release connections."""
        return


def llm_backends() -> Registry[Backend[Any]]:
    """Return the registry of LLM backends."""
    return Registry("stepsynth.llm.backends", "LLM backend", Backend)
