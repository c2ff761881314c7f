"""Hard caps: checked before the request that would cross them."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from stepsynth.errors import ConfigError, LimitReachedError
from stepsynth.llm.store import Spent


class Limits(BaseModel):
    """The `limits` section of a task file.

    USD, tokens and requests are counted over all invocations of a run, so a loop around the
    command cannot cross them; minutes are those of one invocation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: float | None = Field(
        default=None, gt=0, description="Most to spend; needs a price (`llm.price` or the table)."
    )
    tokens: int | None = Field(
        default=None, gt=0, description="Most tokens, of prompts and completions."
    )
    requests: int | None = Field(
        default=None, gt=0, description="Most requests to send, with retries."
    )
    minutes: float | None = Field(
        default=None, gt=0, description="Longest time for one invocation."
    )


@dataclass(frozen=True, slots=True)
class Most:
    """The most that one attempt can cost: held back while it is in flight."""

    usd: float = 0.0
    tokens: int = 0


@dataclass
class Budget:
    """What may still be spent.

    Args:
        limits: The caps.
        now: Seconds, of a clock that only goes forward.
        elsewhere: What the run has spent in other invocations and processes.
    """

    limits: Limits
    now: Callable[[], float]
    elsewhere: Callable[[], Spent] = Spent

    def __post_init__(self) -> None:
        self._requests, self._usd, self._tokens = 0, 0.0, 0
        self._usd_held = 0.0
        self._tokens_held = 0
        self._in_flight = 0
        self._started = self.now()
        self._is_capped = self.limits.usd is not None or self.limits.tokens is not None

    def must_wait(self, most: Most) -> bool:
        """Say whether a request has to wait until some in flight have shown what they cost.

        What is held back for them is the most that they can cost, so a cap seems nearer than it
        is: a request that fits into what is really spent waits, and does not stop the run.
        """
        if not self._is_capped or not self._in_flight:
            return False
        spent = self._spent()
        usd, tokens = self.limits.usd, self.limits.tokens
        waits = [
            cap is not None and used + held + more > cap >= used + more
            for cap, used, held, more in (
                (usd, spent.usd, self._usd_held, most.usd),
                (tokens, spent.tokens, self._tokens_held, most.tokens),
            )
        ]
        return any(waits)

    def reserve(self, most: Most) -> None:
        """Make sure that sending a request crosses no cap, and count it as sent.

        Raises:
            LimitReachedError: It could cross a cap.
        """
        limits = self.limits
        if limits.minutes is not None and self.now() - self._started >= 60 * limits.minutes:
            raise reached("minutes", f"{limits.minutes:g} minutes have passed")
        if limits.requests is not None or self._is_capped:
            self._check_spent(most)
        self._requests += 1
        self._in_flight += 1
        self._usd_held += most.usd
        self._tokens_held += most.tokens

    def _check_spent(self, most: Most) -> None:
        limits, spent = self.limits, self._spent()
        if limits.requests is not None and spent.requests >= limits.requests:
            raise reached("requests", f"{limits.requests} requests were sent")
        if limits.usd is not None and spent.usd + self._usd_held + most.usd > limits.usd:
            said = f"{spent.usd:.4g} of {limits.usd:g} USD are spent"
            raise reached("usd", f"{said}, and the next request may cost {most.usd:.2g}")
        tokens = spent.tokens + self._tokens_held + most.tokens
        if limits.tokens is not None and tokens > limits.tokens:
            said = f"{spent.tokens} of {limits.tokens} tokens are used"
            raise reached("tokens", f"{said}, and the next request may take {most.tokens}")

    def settle(self, most: Most, spent: Spent) -> None:
        """Replace what was held back for an attempt by what it did cost.

        Args:
            most: As given to `reserve`.
            spent: USD and tokens; the request itself is counted already.
        """
        self._in_flight -= 1
        self._usd_held = self._usd_held - most.usd if self._in_flight else 0.0
        self._tokens_held -= most.tokens
        self._usd += spent.usd
        self._tokens += spent.tokens

    def _spent(self) -> Spent:
        """Return what the run has used up, here and elsewhere."""
        return Spent.sum((Spent(self._requests, self._usd, self._tokens), self.elsewhere()))


def check_price(limits: Limits, *, is_known: bool) -> None:
    """Make sure that a cap on USD can be kept.

    Raises:
        ConfigError: The price of the LLM is not known.
    """
    if limits.usd is not None and not is_known:
        raise ConfigError(
            "limits.usd is set, but the price of the LLM is not known",
            hint="set llm.price: {prompt: ..., completion: ...} in USD for a million tokens",
        )


def reached(key: str, what: str) -> LimitReachedError:
    """Return the error of a cap that would be crossed."""
    return LimitReachedError(
        f"limits.{key} is reached: {what}. What was paid for is in the store.",
        hint=f"the same command with a higher limits.{key} goes on where this stopped",
    )
