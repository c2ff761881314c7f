"""An LLM that follows rules: for tests, examples and trying a task file without an endpoint.

It refuses a prompt that no rule matches, so that a template that has drifted is seen at once.
"""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stepsynth._util.hashing import derive_seed
from stepsynth._util.text import shorten
from stepsynth.errors import ProviderError
from stepsynth.llm.core.backend import Backend, LiveSettings
from stepsynth.llm.core.types import Completion, Request


class Rule(BaseModel):
    """A pattern, and the answers to prompts that match it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str = Field(description="Regular expression, searched in the prompt.")
    answers: tuple[str, ...] = Field(
        min_length=1, description="One is taken by draw; \\1 or \\g<name> stand for groups."
    )

    @field_validator("pattern")
    @classmethod
    def _compile(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"this is no regular expression: {error}") from error
        return pattern


class Scripted(LiveSettings):
    """Settings of the rules; the first that matches answers."""

    backend: str = "scripted"
    model: str = "scripted"
    rules: tuple[Rule, ...] = Field(
        min_length=1, description="`pattern` that a prompt holds -> `answers`, in turn."
    )

    def answer(self, prompt: str, drawn: int) -> str | None:
        """Return an answer of the first rule that matches a prompt, or None.

        `drawn` is the answer's index, modulo their number.
        """
        for rule in self.rules:
            if match := re.search(rule.pattern, prompt):
                return match.expand(rule.answers[drawn % len(rule.answers)])
        return None

    def more_identity(self) -> dict[str, Any]:
        """Return the rules, which decide the answers."""
        return {"rules": [rule.model_dump() for rule in self.rules]}


class ScriptedBackend(Backend[Scripted]):
    """A backend that answers by the first rule that matches."""

    name = "scripted"
    settings_class = Scripted

    async def complete(self, request: Request) -> Completion:
        """Return the answer of the first rule that matches the prompt."""
        drawn = derive_seed(self.random_seed, request.stream, request.draw)
        answer = self.settings.answer(request.prompt, drawn)
        if answer is not None:
            return Completion(answer, prompt_tokens=0, completion_tokens=0)
        raise ProviderError(
            f"no rule of the scripted LLM matches this prompt: {shorten(request.prompt, 200)!r}",
            hint="add a rule to llm.rules",
        )
