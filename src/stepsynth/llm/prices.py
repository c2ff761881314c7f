"""What LLMs cost: a dated table in one file, and the price that a task file gives.

A price that is not known is None, never a guess.
"""

from pydantic import BaseModel, ConfigDict, Field


class Price(BaseModel):
    """What the LLM costs, in USD for a million tokens."""

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
        """Return the cost of so many tokens in USD; the cached ones are some of the prompt's."""
        cached = self.prompt if self.cached is None else self.cached
        prompt = self.prompt * (prompt_tokens - cached_tokens) + cached * cached_tokens
        return (prompt + self.completion * completion_tokens) / 1e6


def find_price(model: str, provider: str) -> Price | None:
    """Return the price of a provider's model in the table, or None."""
    return None
