"""Hard caps: checked before the request that would cross them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf

from pydantic import BaseModel, ConfigDict, Field

from stepsynth.errors import ConfigError, LimitReachedError
from stepsynth.llm.core.usage import Spent
from stepsynth.llm.store.shared_caps import NOTHING, ROUNDING, Amounts, CapGrant, CapRequest

AHEAD = 256
"""Requests like the next one that a process leases caps for at once."""
_SOON = 1e-3
POLL_S = 0.2
"""Seconds until a process asks again while others have leased all that is left."""


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
    """The most that one attempt can cost; reserved while it is in flight."""

    usd: float = 0.0
    tokens: int = 0

    @property
    def amounts(self) -> Amounts:
        """One request, its USD and its tokens."""
        return 1, self.usd, self.tokens


Ask = Callable[[CapRequest], Awaitable[CapGrant]]


class Budget:
    """The budget that is left: caps less what was spent and what is reserved.

    Args:
        limits: The caps.
        now: Monotonic clock, in seconds.
        ask: Leases from the store a part of what earlier invocations and other processes have
            left; None if there are none and all of it may be spent.
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
        # The lease: what this process may spend in all, until it asks for more.
        self._ceiling = self._caps if ask is None else self._capped(NOTHING)
        self._settled = self._stops = 0
        self._lock = asyncio.Lock()
        self._started = now()
        self._waiting: deque[tuple[asyncio.Future[bool], Most]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def enter(self, most: Most) -> bool:
        """Reserve the most that a request can cost, until `settle`, and count it as sent.

        Reservations exceed what is spent in the end, so a cap seems nearer than it is. A request
        blocked by reservations alone waits, and does not stop the run.

        Returns:
            False if the run was stopped meanwhile: the request must not be sent.

        Raises:
            LimitReachedError: It could cross a cap.
            RunFolderError: The store cannot be asked.
        """
        if not self._waiting and self._fits(most.amounts):
            self._admit(most)
            return True
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiting, most))
        self._serve()
        try:
            return await waiting
        except asyncio.CancelledError:
            is_told = waiting.done() and not waiting.cancelled()
            if is_told and waiting.exception() is None and waiting.result():
                self.settle(most, Spent())
            raise

    async def reserve(self, several: Sequence[Most]) -> int:
        """Reserve the most that the requests of a batch can cost.

        Returns:
            How many of the first ones the caps allow; 0 if the run was stopped meanwhile.

        Raises:
            LimitReachedError: Not even the first one is allowed.
            RunFolderError: The store cannot be asked.
        """
        amounts = [most.amounts for most in several]
        wanted, stops = tuple(map(sum, zip(*amounts, strict=True))), self._stops
        while not self._fits(wanted):
            grant = await self._have(amounts[0], wanted, share=1)
            if self._fits(amounts[0]) or not grant.is_shared or self._in_flight:
                break
            await asyncio.sleep(POLL_S)
            if stops != self._stops:
                return 0
        self._check_time()
        for number, most in enumerate(several):
            if not self._fits(most.amounts):
                if number:
                    return number
                raise self._reached(most)
            self.hold(most)
        return len(several)

    def hold(self, most: Most) -> None:
        """Count a request as sent, whatever the caps are, and reserve the most it can cost."""
        self._requests += 1
        self._in_flight += 1
        self._usd_held += most.usd
        self._tokens_held += most.tokens

    def settle(self, most: Most, spent: Spent) -> None:
        """Replace the reservation of an attempt by its cost.

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

    def lend(self, several: Sequence[Most]) -> Limits:
        """Return reservations as the caps of a process that spends them in place of this one."""
        caps, minutes = self.limits, self.limits.minutes
        if minutes is not None:
            minutes = max(minutes - (self._now() - self._started) / 60, _SOON)
        return Limits(
            requests=None if caps.requests is None else len(several),
            usd=None if caps.usd is None else sum(most.usd for most in several) or None,
            tokens=None if caps.tokens is None else sum(most.tokens for most in several),
            minutes=minutes,
        )

    def settle_lent(self, several: Sequence[Most], spent: Spent) -> None:
        """Replace the reservations that were lent by what was spent of them in all."""
        self._requests += spent.requests - len(several)
        self._in_flight -= len(several) - 1
        most = Most(sum(each.usd for each in several), sum(each.tokens for each in several))
        self.settle(most, spent)

    async def give_back(self) -> None:
        """Return to other processes what is leased but not reserved."""
        if not self._waiting and self._ceiling != self._capped(self._committed):
            await self._have(NOTHING, NOTHING)

    def close_part(self) -> None:
        """Shrink the lease to what is committed: for more, the store is to be asked."""
        if self._ask is not None:
            self._ceiling = self._capped(self._committed)

    def stop(self) -> None:
        """Turn away all that wait in `enter`."""
        self._stops += 1
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(False)

    @property
    def is_capped(self) -> bool:
        """Whether requests, USD or tokens have a cap."""
        return self._is_capped

    @property
    def spent(self) -> Spent:
        """What the requests of this process have cost."""
        return Spent(self._requests, self._usd, self._tokens)

    @property
    def _committed(self) -> Amounts:
        """The most that all requests so far have cost or can cost."""
        return self._requests, self._usd + self._usd_held, self._tokens + self._tokens_held

    def _capped(self, amounts: Amounts) -> Amounts:
        """Return the amounts, with infinity where there is no cap."""
        pairs = zip(self._caps, amounts, strict=True)
        return tuple(inf if cap == inf else amount for cap, amount in pairs)

    def _fits(self, amounts: Amounts) -> bool:
        if not self._is_capped:
            return True
        each = zip(self._committed, amounts, self._ceiling, strict=True)
        return all(committed + needed <= ceiling + ROUNDING for committed, needed, ceiling in each)

    def _admit(self, most: Most) -> None:
        """Count a request as sent, unless it could cross a cap or the time is over."""
        self._check_time()
        if not self._fits(most.amounts):
            raise self._reached(most)
        self.hold(most)

    def _check_time(self) -> None:
        minutes = self.limits.minutes
        if minutes is not None and self._now() - self._started >= 60 * minutes:
            raise reached("minutes", f"{minutes:g} minutes have passed")

    def _serve(self) -> None:
        """Admit waiting requests in turn; lease more where the first does not fit."""
        while self._waiting:
            waiting, most = self._waiting[0]
            if not waiting.done():
                if not self._fits(most.amounts):
                    if self._asking is None or self._asking.done():
                        self._asking = asyncio.ensure_future(self._ask_for_more())
                    return
                try:
                    self._admit(most)
                    waiting.set_result(True)
                except LimitReachedError as error:
                    waiting.set_exception(error)
            self._waiting.popleft()

    async def _ask_for_more(self) -> None:
        """Lease more for the first in line, until none waits or only `settle` can make room."""
        while self._waiting:
            waiting, most = self._waiting[0]
            settled = self._settled
            try:
                self._check_time()
                grant = await self._have(most.amounts, tuple(AHEAD * each for each in most.amounts))
                if not self._fits(most.amounts) and settled == self._settled:
                    if grant.is_shared:
                        await asyncio.sleep(POLL_S)
                    elif self._in_flight:
                        return  # once one in flight has shown its cost, `settle` asks again
                    else:
                        raise self._reached(most)
            except Exception as error:  # for the request that waits: nobody awaits this task
                if not waiting.done():
                    waiting.set_exception(error)
            self._serve()

    async def _have(self, least: Amounts, wanted: Amounts, share: float = 0.5) -> CapGrant:
        """Lease what is wanted beside what is reserved; near a cap there may be less."""
        if self._ask is None:
            return CapGrant(NOTHING, NOTHING, is_shared=False)
        async with self._lock:
            # The store may lease the rest to others before its answer arrives here.
            self.close_part()
            own = (self._requests - self._in_flight, self._usd, self._tokens)
            committed, held = self._committed, (self._in_flight, self._usd_held, self._tokens_held)
            grant = await self._ask(CapRequest(self._run, self._caps, held, least, wanted, share))
            self._ceiling = self._capped(tuple(map(sum, zip(committed, grant.more, strict=True))))
            self._elsewhere = tuple(
                max(0, spent - mine) for spent, mine in zip(grant.spent, own, strict=True)
            )
        return grant

    def _reached(self, most: Most) -> LimitReachedError:
        """Return the error of the cap that a request could exceed by most."""
        limits, (_, usd, tokens) = self.limits, self._elsewhere
        then = map(sum, zip(self._committed, self._elsewhere, most.amounts, strict=True))
        over = [amount / cap for amount, cap in zip(then, self._caps, strict=True)]
        if over[1] == max(over):
            said = f"{self._usd + usd:.4g} of {limits.usd:g} USD are spent"
            return reached("usd", f"{said}, and the next request may cost {most.usd:.2g}")
        if over[2] == max(over):
            said = f"{self._tokens + int(tokens)} of {limits.tokens} tokens are used"
            return reached("tokens", f"{said}, and the next request may take {most.tokens}")
        return reached("requests", f"{limits.requests} requests were sent")


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
        cap=f"limits.{key}",
        hint="the same command goes on where this stopped"
        if key == "minutes"
        else f"the same command with a higher limits.{key} goes on where this stopped",
    )
