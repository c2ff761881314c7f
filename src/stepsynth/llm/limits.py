"""Hard caps: checked before the request that would cross them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf

from pydantic import BaseModel, ConfigDict, Field

from stepsynth.errors import ConfigError, LimitReachedError, StepsynthError
from stepsynth.llm._allowance import NOTHING, Amounts, Grant, Wish
from stepsynth.llm.usage import Spent

AHEAD = 256
"""For so many requests like the next one a process asks at once."""
POLL_S = 0.2
"""How often a process asks again while others have all that is left."""


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

    @property
    def amounts(self) -> Amounts:
        """Of one request."""
        return 1, self.usd, self.tokens


Ask = Callable[[Wish], Awaitable[Grant]]


class Budget:
    """What may still be spent.

    Args:
        limits: The caps.
        now: Seconds, of a clock that only goes forward.
        ask: Asks the store for a part of what earlier invocations and other processes have left;
            None: there are none, and all of it may be spent.
        run: Digest of the run's identity, for `ask`.
    """

    def __init__(
        self, limits: Limits, now: Callable[[], float], ask: Ask | None = None, run: str = ""
    ) -> None:
        self.limits = limits
        self._now = now
        self._ask = ask
        self._run = run
        caps = (limits.requests, limits.usd, limits.tokens)
        self._is_capped = any(cap is not None for cap in caps)
        self._caps = tuple(inf if cap is None else cap for cap in caps)
        self._requests, self._usd, self._tokens = 0, 0.0, 0
        self._in_flight, self._usd_held, self._tokens_held = 0, 0.0, 0
        self._elsewhere = NOTHING
        # What this process may spend in all; where that is not enough, more is asked for.
        self._ceiling = self._caps if ask is None else self._capped(NOTHING)
        self._settled = 0
        self._started = now()
        self._waiting: deque[tuple[asyncio.Future[bool], Most]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def enter(self, most: Most) -> bool:
        """Hold back the most that a request can cost, and count it as sent, until `settle`.

        What is held back is more than what is spent in the end, so a cap seems nearer than it is:
        a request that fits into what is really spent waits, and does not stop the run.

        Returns:
            False: the run was stopped meanwhile, and the request must not be sent.

        Raises:
            LimitReachedError: It could cross a cap.
            RunFolderError: The store cannot be asked.
        """
        if not self._waiting and self._fits(most):
            self.reserve(most)
            return True
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiting, most))
        self._serve()
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
        minutes = self.limits.minutes
        if minutes is not None and self._now() - self._started >= 60 * minutes:
            raise reached("minutes", f"{minutes:g} minutes have passed")
        if not self._fits(most):
            raise self._reached(most)
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
        self._settled += 1
        if self._waiting:
            self._serve()

    async def extend(self, several: Sequence[Most]) -> None:
        """Ask for what several requests can cost together, before they are given to `reserve`."""
        if several and self._is_capped:
            usd, tokens = sum(most.usd for most in several), sum(most.tokens for most in several)
            await self._have(several[0].amounts, (len(several), usd, tokens), share=1)

    async def give_back(self) -> None:
        """Let other processes have what this one holds back for no request."""
        if not self._waiting and self._ceiling != self._capped(self._committed):
            self.forget()
            await self._have(NOTHING, NOTHING)

    def forget(self) -> None:
        """Ask again before the next request: the store no longer knows of this process's part."""
        if self._ask is not None:
            self._ceiling = self._capped(self._committed)

    def stop(self) -> None:
        """Send away all who wait."""
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(False)

    @property
    def _committed(self) -> Amounts:
        """The most that all that was sent so far has cost or can cost."""
        return self._requests, self._usd + self._usd_held, self._tokens + self._tokens_held

    def _capped(self, amounts: Amounts) -> Amounts:
        """Return amounts, and infinity where there is no cap."""
        pairs = zip(self._caps, amounts, strict=True)
        return tuple(inf if cap == inf else amount for cap, amount in pairs)

    def _fits(self, most: Most) -> bool:
        if not self._is_capped:
            return True
        amounts = zip(self._committed, most.amounts, self._ceiling, strict=True)
        return all(committed + needed <= ceiling for committed, needed, ceiling in amounts)

    def _serve(self) -> None:
        """Let those who wait go on, in turn; ask for more where there is not enough for one."""
        while self._waiting:
            waiting, most = self._waiting[0]
            if not waiting.done():
                if not self._fits(most):
                    if self._asking is None or self._asking.done():
                        self._asking = asyncio.ensure_future(self._ask_for_more())
                    return
                try:
                    self.reserve(most)
                    waiting.set_result(True)
                except LimitReachedError as error:
                    waiting.set_exception(error)
            self._waiting.popleft()

    async def _ask_for_more(self) -> None:
        """Ask until the first in line may go on, or nobody is left who could make room for it."""
        while self._waiting:
            waiting, most = self._waiting[0]
            settled = self._settled
            try:
                grant = await self._have(most.amounts, tuple(AHEAD * each for each in most.amounts))
                if not self._fits(most) and settled == self._settled:
                    if self._in_flight:
                        return  # when one has shown what it costs, it is asked again
                    if not grant.is_shared:
                        raise self._reached(most)
                    await asyncio.sleep(POLL_S)
            except StepsynthError as error:
                if not waiting.done():
                    waiting.set_exception(error)
            self._serve()

    async def _have(self, least: Amounts, wanted: Amounts, share: float = 0.5) -> Grant:
        """Ask for what is wanted beside what is held back; near a cap there may be less."""
        own = (self._requests - self._in_flight, self._usd, self._tokens)
        if self._ask is None:
            return Grant(NOTHING, own, is_shared=False)
        committed, held = self._committed, (self._in_flight, self._usd_held, self._tokens_held)
        grant = await self._ask(Wish(self._run, self._caps, held, least, wanted, share))
        self._ceiling = self._capped(tuple(map(sum, zip(committed, grant.more, strict=True))))
        self._elsewhere = tuple(
            max(0, spent - mine) for spent, mine in zip(grant.spent, own, strict=True)
        )
        return grant

    def _reached(self, most: Most) -> LimitReachedError:
        """Return the error of the first cap that a request could cross."""
        requests, usd, tokens = self.limits.requests, self.limits.usd, self.limits.tokens
        _, usd_elsewhere, tokens_elsewhere = self._elsewhere
        then = map(sum, zip(self._committed, self._elsewhere, most.amounts, strict=True))
        is_short = [amount > cap for amount, cap in zip(then, self._caps, strict=True)]
        if is_short[1]:
            said = f"{self._usd + usd_elsewhere:.4g} of {usd:g} USD are spent"
            return reached("usd", f"{said}, and the next request may cost {most.usd:.2g}")
        if is_short[2]:
            said = f"{self._tokens + tokens_elsewhere:g} of {tokens} tokens are used"
            return reached("tokens", f"{said}, and the next request may take {most.tokens}")
        return reached("requests", f"{requests} requests were sent")


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
