"""Requests to an LLM, and its answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from stepsynth.llm.core.endings import ending_of

TOKEN_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
"""Token counts of an answer, under these names in a store, a summary and a log alike."""

NO_TAGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, to be answered once.

    Attributes:
        prompt: The text of the user's message.
        stream: A named sequence of draws. The engine numbers the requests of a stream, and the
            number is part of a completion's identity: the same prompt asked again is a new draw,
            the same run repeated is not. "": no sequence; the same prompt has the same answer.
        tags: Opaque to the engine; `replay` looks recordings up by them (kind, label, context,
            source).
        draw: Position in the stream; set by the engine.
        turns: What was said after the prompt, by the LLM and the user in turn: a correction.
        schema: JSON Schema of the answer, for backends that can hold an LLM to one.
        max_tokens: Longest useful answer in tokens, where the settings set none; None for theirs.
    """

    prompt: str
    stream: str
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS, compare=False)
    draw: int = 0
    turns: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = field(default=None, compare=False)
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer of an LLM.

    Attributes:
        text: The text, verbatim.
        request_id: Digest of the request as sent and its draw: the key in the store.
        draw: Which draw of the request's stream it is.
        truncated: It is not whole: cut off, or stopped by a filter.
        prompt_tokens: The provider's count, or None.
        completion_tokens: The provider's count, or None.
        cached_tokens: Those of `prompt_tokens` that the provider had in its cache.
        reasoning_tokens: Those of `completion_tokens` that are no part of the text.
        model: Name of the LLM that answered, as in the task file.
        stop: The provider's word for why it ended, where it is not whole ("length", ...).
    """

    text: str
    request_id: str = ""
    draw: int = 0
    truncated: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    model: str = ""
    stop: str = ""

    @property
    def is_filtered(self) -> bool:
        """Whether the provider's filter stopped it, or the LLM itself refused."""
        return ending_of(self.stop) == "filtered"

    def placed(self, request_id: str, draw: int, model: str) -> "Completion":
        """Return it as the answer to a draw of a request; `dataclasses.replace` is slower."""
        return Completion(
            self.text,
            request_id,
            draw,
            self.truncated,
            self.prompt_tokens,
            self.completion_tokens,
            self.cached_tokens,
            self.reasoning_tokens,
            model,
            self.stop,
        )

    def to_stored(self) -> dict[str, Any]:
        """Return what a store keeps of it: not the model, which its settings name."""
        seldom = ("cached_tokens", "reasoning_tokens", "stop")
        return {
            "text": self.text,
            "truncated": self.truncated,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            **{name: value for name in seldom if (value := getattr(self, name))},
        }


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that was given up, and why ("exhausted", "timeout", "server_error", ...).

    `message` is what the provider said, `hint` what to do about it, `raw` what it sent last where
    that could not be read.
    """

    reason: str
    message: str
    request_id: str = ""
    draw: int = 0
    raw: str = ""
    hint: str = ""

    @property
    def detail(self) -> str:
        """What the provider said, and what to do about it."""
        return f"{self.message}; {self.hint}" if self.hint else self.message
