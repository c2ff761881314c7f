"""Hard caps: checked before the request that would cross them."""

import asyncio
from collections import deque
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


class Budget:
    """What may still be spent.

    Args:
        limits: The caps.
        now: Seconds, of a clock that only goes forward.
        elsewhere: What the run has spent in other invocations and processes.
        processes: How many are sending requests now, this one included. Each holds back no more
            than its part of what is left, since it cannot see what the others hold back.
    """

    def __init__(
        self,
        limits: Limits,
        now: Callable[[], float],
        elsewhere: Callable[[], Spent] = Spent,
        processes: Callable[[], int] = lambda: 1,
    ) -> None:
        self.limits = limits
        self._now = now
        self._elsewhere = elsewhere
        self._processes = processes
        self._requests, self._usd, self._tokens = 0, 0.0, 0
        self._usd_held = 0.0
        self._tokens_held = 0
        self._in_flight = 0
        self._started = now()
        self._is_capped = limits.usd is not None or limits.tokens is not None
        self._waiting: deque[tuple[asyncio.Future[bool], Most]] = deque()

    async def enter(self, most: Most) -> bool:
        """Hold back the most that a request can cost, and count it as sent, until `settle`.

        What is held back is more than what is spent in the end, so a cap seems nearer than it is:
        a request that fits into what is really spent waits, and does not stop the run.

        Returns:
            False: the run was stopped meanwhile, and the request must not be sent.

        Raises:
            LimitReachedError: It could cross a cap.
        """
        if not self._waiting and not self._must_wait(most):
            self.reserve(most)
            return True
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiting, most))
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self.settle(most, Spent())
            raise

    def reserve(self, most: Most) -> None:
        """Make sure that sending a request crosses no cap, and hold back the most it can cost.

        Raises:
            LimitReachedError: It could cross a cap.
        """
        limits = self.limits
        if limits.minutes is not None and self._now() - self._started >= 60 * limits.minutes:
            raise reached("minutes", f"{limits.minutes:g} minutes have passed")
        if limits.requests is not None or self._is_capped:
            self._check_spent(most)
        self.hold(most)

    def hold(self, most: Most) -> None:
        """Count a request that is sent, and hold back the most that it can cost."""
        self._requests += 1
        self._in_flight += 1
        self._usd_held += most.usd
        self._tokens_held += most.tokens

    def settle(self, most: Most, spent: Spent) -> None:
        """Replace what was held back for an attempt by what it did cost.

        Args:
            most: As given to `enter`.
            spent: USD and tokens; the request itself is counted already.
        """
        self._in_flight -= 1
        self._usd_held = self._usd_held - most.usd if self._in_flight else 0.0
        self._tokens_held -= most.tokens
        self._usd += spent.usd
        self._tokens += spent.tokens
        while self._waiting:
            waiting, asked = self._waiting[0]
            if not waiting.done():
                if self._must_wait(asked):
                    return
                try:
                    self.reserve(asked)
                    waiting.set_result(True)
                except LimitReachedError as error:
                    waiting.set_exception(error)
            self._waiting.popleft()

    def stop(self) -> None:
        """Send away all who wait."""
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(False)

    def _must_wait(self, most: Most) -> bool:
        """Say whether a request has to wait until some in flight have shown what they cost."""
        if not self._is_capped or not self._in_flight:
            return False
        elsewhere, limits, parts = self._elsewhere(), self.limits, self._processes()
        if limits.usd is not None:
            alone = self._usd + elsewhere.usd + parts * most.usd
            if alone + parts * self._usd_held > limits.usd >= alone:
                return True
        if limits.tokens is None:
            return False
        alone = self._tokens + elsewhere.tokens + parts * most.tokens
        return alone + parts * self._tokens_held > limits.tokens >= alone

    def _check_spent(self, most: Most) -> None:
        limits, elsewhere, parts = self.limits, self._elsewhere(), self._processes()
        if limits.requests is not None and self._requests + elsewhere.requests >= limits.requests:
            raise reached("requests", f"{limits.requests} requests were sent")
        usd = self._usd + elsewhere.usd
        usd_then = usd + parts * (self._usd_held + most.usd)
        if limits.usd is not None and usd_then > limits.usd:
            said = f"{usd:.4g} of {limits.usd:g} USD are spent"
            raise reached("usd", f"{said}, and the next request may cost {most.usd:.2g}")
        tokens = self._tokens + elsewhere.tokens
        tokens_then = tokens + parts * (self._tokens_held + most.tokens)
        if limits.tokens is not None and tokens_then > limits.tokens:
            said = f"{tokens} of {limits.tokens} tokens are used"
            raise reached("tokens", f"{said}, and the next request may take {most.tokens}")


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
        hint="the same command goes on where this stopped"
        if key == "minutes"
        else f"the same command with a higher limits.{key} goes on where this stopped",
    )
