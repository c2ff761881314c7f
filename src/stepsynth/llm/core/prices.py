"""Prices of LLMs: a dated table in one file, and the price that a task file gives.

A price that is not known is None, never a guess.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

TABLE = Path(__file__).with_name("prices.yaml")
_VERSION = re.compile(r"-(?:latest|\d{8}|\d{4}-\d{2}-\d{2})$")
"""Endings by which providers mark a version of a model; any other ending is another model."""


class Price(BaseModel):
    """Price of an LLM, in USD for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: float = Field(ge=0, description="USD for a million prompt tokens.")
    completion: float = Field(ge=0, description="USD for a million completion tokens.")
    cached: float | None = Field(
        default=None,
        ge=0,
        description="USD for a million prompt tokens that the provider had in its cache; "
        "default: as others.",
    )

    def usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Return the cost of these tokens in USD; cached ones are part of the prompt's."""
        cached = self.prompt if self.cached is None else self.cached
        prompt = self.prompt * (prompt_tokens - cached_tokens) + cached * cached_tokens
        return (prompt + self.completion * completion_tokens) / 1e6


@cache
def find_price(model: str, provider: str, *, batch: bool = False) -> Price | None:
    """Return the price of a provider's model in the table, or None where it is not known.

    Args:
        model: Its name, with or without the date of a version.
        provider: A name in the table.
        batch: Whether it is asked through the provider's batch API.
    """
    listed = _read_table().get(provider, {})
    models = listed.get("models", {})
    numbers = models.get(model) or models.get(_VERSION.sub("", model))
    if numbers is None or (batch and "batch" not in listed):
        return None
    prompt, completion, *cached = numbers
    share, cached_share = 1, 1
    if batch:
        share, cached_share = listed["batch"], listed.get("batch_cached")
    return Price(
        prompt=prompt * share,
        completion=completion * share,
        cached=cached[0] * cached_share if cached and cached_share else None,
    )


@cache
def _read_table() -> dict[str, dict[str, Any]]:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(TABLE)
