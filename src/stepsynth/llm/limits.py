"""Hard caps: checked before the request that would cross them."""

import time
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from stepsynth.errors import ConfigError, LimitReachedError
from stepsynth.llm._backend import LLMSettings, Price
from stepsynth.llm._types import Completion, Request
from stepsynth.llm.store import Spent


class Limits(BaseModel):
    """The `limits` section of a task file.

    USD and requests are counted over all invocations of a run, so a loop around the command
    cannot cross them; minutes are those of one invocation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: float | None = Field(default=None, gt=0, description="Most to spend; needs `llm.price`.")
    requests: int | None = Field(
        default=None, gt=0, description="Most requests to send, with retries."
    )
    minutes: float | None = Field(
        default=None, gt=0, description="Longest time for one invocation."
    )


@dataclass
class Budget:
    """What may still be spent.

    Args:
        limits: The caps.
        settings: For the price and the longest completion.
        before: What earlier invocations of the run have sent.

    Raises:
        ConfigError: A cap on USD without a price.
    """

    limits: Limits
    settings: LLMSettings
    before: Spent = field(default_factory=Spent)

    def __post_init__(self) -> None:
        is_paid = self.settings.stores_completions
        if self.limits.usd is not None and self.settings.price is None and is_paid:
            raise ConfigError(
                "limits.usd is set, but the price of the LLM is not known",
                hint="set llm.price: {prompt: ..., completion: ...} in USD for a million tokens",
            )
        self._requests = self.before.requests
        self._usd = self.before.usd
        self._reserved = 0.0
        self._started = time.monotonic()

    def must_wait(self, request: Request) -> bool:
        """Say whether this request has to wait until some in flight have shown what they cost.

        What is held back for them is the most that they can cost, so the cap seems nearer than it
        is: a request that fits into what is really spent waits, and does not stop the run.
        """
        if self.limits.usd is None or self._reserved <= 0:
            return False
        most = self._most_usd(request)
        return self._usd + self._reserved + most > self.limits.usd >= self._usd + most

    def reserve(self, request: Request) -> float:
        """Make sure that sending this request crosses no cap, and count it as sent.

        Returns:
            The most that it can cost in USD, held back until `settle`.

        Raises:
            LimitReachedError: It could cross a cap.
        """
        most = self._most_usd(request)
        if self.limits.requests is not None and self._requests >= self.limits.requests:
            raise self._reached("requests", f"{self.limits.requests} requests were sent")
        elapsed = (time.monotonic() - self._started) / 60
        if self.limits.minutes is not None and elapsed >= self.limits.minutes:
            raise self._reached("minutes", f"{self.limits.minutes:g} minutes have passed")
        usd = self._usd + self._reserved + most
        if self.limits.usd is not None and usd > self.limits.usd:
            spent = f"{self._usd:.4g} of {self.limits.usd:g} USD are spent"
            raise self._reached("usd", f"{spent}, and the next request may cost {most:.2g}")
        self._requests += 1
        self._reserved += most
        return most

    def settle(self, reserved: float, completion: Completion | None) -> Spent:
        """Replace what was held back by what an attempt did cost, and return that.

        An attempt that brought no answer may have been charged all the same, but no provider
        documents that it is; it counts as a request and as no cost.
        """
        self._reserved = max(0.0, self._reserved - reserved)
        usd = 0.0
        if completion is not None and self.settings.price is not None:
            known = cost(self.settings.price, completion)
            usd = reserved if known is None else known
        self._usd += usd
        return Spent(requests=1, usd=usd)

    def _most_usd(self, request: Request) -> float:
        """Return an upper bound: a token is a byte at least, and the answer as long as allowed."""
        if self.settings.price is None:
            return 0.0
        overhead = 64  # role marks and the like
        longest_prompt = len(request.prompt.encode("utf-8", "surrogatepass")) + overhead
        return self.settings.price.usd(longest_prompt, self.settings.max_tokens)

    @staticmethod
    def _reached(key: str, what: str) -> LimitReachedError:
        return LimitReachedError(
            f"limits.{key} is reached: {what}. What was paid for is in the store.",
            hint=f"the same command with a higher limits.{key} goes on where this stopped",
        )


def cost(price: Price, completion: Completion) -> float | None:
    """Return the cost of a completion in USD, or None where its tokens were not counted."""
    if completion.prompt_tokens is None or completion.completion_tokens is None:
        return None
    return price.usd(completion.prompt_tokens, completion.completion_tokens)
