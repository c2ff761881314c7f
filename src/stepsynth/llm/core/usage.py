"""Usage of the LLM: requests, tokens and USD, counted while they are spent."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stepsynth.llm.core.prices import Price
from stepsynth.llm.core.types import TOKEN_COUNTS, Completion


class Spent(NamedTuple):
    """What a run has sent and used up so far, over all its invocations."""

    requests: int = 0
    usd: float = 0.0
    tokens: int = 0

    @classmethod
    def sum(cls, several: "Iterable[Spent]") -> "Spent":
        """Return their sum."""
        return cls(*map(sum, zip(*several, strict=True)))


@dataclass
class Usage:
    """Counts of what the LLM was asked for and what that cost.

    `requests` are attempts sent in this invocation, retries included. Tokens and USD are those of
    every completion that the run used, stored ones included: what its data set cost.
    `usd` is None as soon as a completion was used whose price is not known.
    """

    requests: int = 0
    from_store: int = 0
    replayed: int = 0
    retries: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    setbacks: Counter[str] = field(default_factory=Counter)
    """Failed attempts by cause; most were made good by a later one."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    usd: float | None = 0.0

    def count(self, completion: Completion, price: Price | None) -> None:
        """Add what a completion cost."""
        for name in TOKEN_COUNTS:
            setattr(self, name, getattr(self, name) + (getattr(completion, name) or 0))
        usd = None if price is None else cost(price, completion)
        self.usd = None if usd is None or self.usd is None else self.usd + usd

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "requests": self.requests,
            "from_store": self.from_store,
            "replayed": self.replayed,
            "failed": self.failures.total(),
            "failures": dict(sorted(self.failures.items())),
            "retries": self.retries,
            "setbacks": dict(sorted(self.setbacks.items())),
            **{name: getattr(self, name) for name in TOKEN_COUNTS},
            "usd": None if self.usd is None else round(self.usd, 6),
        }


@dataclass(frozen=True, slots=True)
class Status:
    """Progress of one phase of requests; reported several times a second.

    Attributes:
        phase: What the requests are for.
        done: Requests that have their answer, or were given up; those found in the store included.
        total: All of the phase's requests; None if not known beforehand.
        in_flight: Requests that wait for their answer now.
        allowed: Limit on requests in flight now: below `llm.concurrency` where the provider is
            overloaded.
        per_second: Answers a second, over the last seconds; 0 if not known.
        usage: All that was used so far, over all phases. Copy what is kept: it goes on changing.
        note: What is waited for, if anything ("the provider is down, next try in 8 s").
    """

    phase: str
    done: int
    total: int | None
    in_flight: int
    allowed: int
    per_second: float
    usage: Usage
    note: str = ""

    @property
    def left_s(self) -> float | None:
        """Seconds until the phase is done at this rate; None if not known."""
        if self.total is None or not self.per_second:
            return None
        return (self.total - self.done) / self.per_second


def cost(price: Price, completion: Completion) -> float | None:
    """Return the cost of a completion in USD, or None where its tokens were not counted."""
    if completion.prompt_tokens is None or completion.completion_tokens is None:
        return None
    return price.usd(
        completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens
    )
