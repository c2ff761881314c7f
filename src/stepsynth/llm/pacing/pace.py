"""Pacing of one endpoint: when the next request may be sent.

`llm.concurrency` is the first and highest limit on requests in flight; `_places` adapts it. A
failed attempt keeps its slot for as long as an answer usually takes: so the share of refusals
shows how many requests are too many, and immediate refusals do not multiply. A provider that
answers nothing at all is only probed now and then.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf

from stepsynth.llm.core.backend import LiveSettings
from stepsynth.llm.core.errors import RetryLaterError
from stepsynth.llm.core.rate_headers import RateLimits
from stepsynth.llm.pacing.concurrency import AdaptiveConcurrency
from stepsynth.llm.pacing.rate import Rate

IN_A_ROW = 20
"""Consecutive failures after which the provider is taken for down."""
UNAVAILABLE_S = 3.0
"""Seconds of failures after which an absent server with nothing in flight is taken for down."""
TOLD_EVERY_S = 60.0
"""Fewest seconds between notices of outages, since an endpoint may come and go."""
FIRST_PROBE_S, LONGEST_PROBE_S, LONGEST_PAUSE_S = 1.0, 30.0, 300.0
"""Seconds to the first probe; at most to a later one; at most where a provider asks to wait."""
FIRST_USUAL_S = 0.5
"""Seconds an answer is assumed to take before there was one."""


class Pace:
    """A gate that each request to an endpoint passes.

    Args:
        settings: concurrency, rpm, input_tpm, output_tpm, max_tokens, patience_s, timeout_s.
        now: Monotonic clock, in seconds.
        on_notice: Told in a sentence what is waited for.

    Attributes:
        usual_s: Moving average of the latency, in seconds.
        down_by: Reason of the last failure while the provider is down; else "".
    """

    def __init__(
        self,
        settings: LiveSettings,
        now: Callable[[], float],
        on_notice: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self.in_flight = 0
        self.usual_s = FIRST_USUAL_S
        self._has_answered = False
        self._now = now
        self._on_notice = on_notice
        self._patience_s, self._timeout_s = settings.patience_s, settings.timeout_s
        self._places = AdaptiveConcurrency(settings.concurrency, now)
        rates = [Rate(each) for each in settings.rates]
        self._requests, self._input, self._output = rates
        self._has_rates = any(rate.is_set for rate in rates)
        self._tokens_per_character = 0.25
        self._usual_output = float(settings.max_tokens) / 4
        self._waiting: deque[tuple[asyncio.Future[bool], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._resting: deque[tuple[float, bool]] = deque()
        self._failed_in_a_row, self._failing_since = 0, 0.0
        self._down_since: float | None = None
        self.down_by = ""
        self._is_said, self._is_told, self._told_at = False, False, -inf
        self._used_up = ""
        self._probes, self._probe_at = 0, 0.0
        self._not_before = 0.0
        self._asked_s = 0.0

    @property
    def allowed(self) -> float:
        """Limit on requests in flight now."""
        return self._places.allowed

    @property
    def note(self) -> str:
        """What is waited for, in words; "" if nothing is."""
        if not self._is_said:
            return self._used_up
        now = self._now()
        wait_s = self._probe_at - now
        following = "asked again now" if self.in_flight else f"next try in {max(wait_s, 0.0):.0f} s"
        since_s = now - self._failing_since
        return f"the provider does not answer ({self.down_by}) for {since_s:.0f} s; {following}"

    @property
    def is_down(self) -> bool:
        """Whether the provider is taken for down."""
        return self._down_since is not None

    @property
    def out_of_patience(self) -> bool:
        """Whether an outage outlasts what the provider asked to wait by `llm.patience_s`."""
        if self._down_since is None:
            return False
        down_s = self._now() - self._down_since
        # Requests in flight may still be answered, until they time out.
        is_awaited = self.in_flight > 0 and down_s <= self._timeout_s
        return down_s > self._patience_s + self._asked_s and not is_awaited

    async def enter(self, characters: int) -> bool:
        """Wait until a request may be sent; it is in flight until its outcome is reported.

        Args:
            characters: Length of its prompt.

        Returns:
            False if the run was stopped meanwhile: the request must not be sent.
        """
        if not self._waiting and self._wait_s() <= 0:
            self._admit(characters)
            return True
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiting, characters))
        self._release()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.result():
                self.left()
            raise

    def answered(
        self,
        latency_s: float,
        characters: int = 0,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> None:
        """Count an attempt that was answered; it is no longer in flight.

        Args:
            latency_s: Seconds it took.
            characters: As given to `enter`.
            input_tokens: The provider's count; None if it gave none.
            output_tokens: The provider's count; None if it gave none.
        """
        self._failed_in_a_row = 0
        if self._down_since is not None:
            self._end_outage()
        self.usual_s += (latency_s - self.usual_s) / (20 if self._has_answered else 1)
        self._has_answered = True
        if self._has_rates:
            self._correct(characters, input_tokens, output_tokens)
        self.in_flight -= 1
        self._places.count(self._taken(), latency_s=latency_s)
        if self._waiting:
            self._release()

    def failed(self, error: RetryLaterError) -> None:
        """Count a failed attempt; it is no longer in flight, but keeps its slot for `usual_s`."""
        now = self._now()
        self._output.correct(0.0, self.in_flight)
        self.in_flight -= 1
        self._resting.append((now, error.reason in ("rate_limit", "timeout")))
        if not self._failed_in_a_row:
            self._failing_since = now
        self._failed_in_a_row += 1
        if self._down_since is None and self._looks_down(error, now):
            self._down_since, self._probe_at = now, now + FIRST_PROBE_S
        if self._down_since is not None:
            asked_s = min(error.retry_after_s or 0.0, LONGEST_PAUSE_S)
            self._asked_s = max(self._asked_s, asked_s)
            self._probe_at = max(self._probe_at, now + asked_s)
            self.down_by = error.reason
            if not self.in_flight:
                self._say_down(error)
        if self._waiting:
            self._release()

    def refused(self) -> None:
        """Count an attempt whose request was refused for good: the provider is up."""
        self._failed_in_a_row = 0
        if self._down_since is not None:
            self._end_outage()
        self.left()

    def left(self) -> None:
        """Take back a request that was not sent or is dropped: it says nothing of the provider."""
        self._output.correct(0.0, self.in_flight)
        self.in_flight -= 1
        self._places.count(self._taken())
        if self._waiting:
            self._release()

    def told(self, limits: RateLimits) -> None:
        """Heed the provider's rate-limit headers: where nothing is left, wait for the reset."""
        for left, reset_s in (
            (limits.requests, limits.requests_reset_s),
            (limits.tokens, limits.tokens_reset_s),
        ):
            if left is not None and left <= 0 and reset_s > 0:
                until = self._now() + min(reset_s, LONGEST_PAUSE_S)
                if until > self._not_before:
                    self._not_before = until
                    self._used_up = f"the provider's rate limit is used up for {reset_s:.0f} s"

    def begin_phase(self) -> None:
        """Forget any outage, and the latencies that adapt the limit: patience begins anew."""
        self._places.begin_phase()
        self._used_up, self._failed_in_a_row, self._is_told = "", 0, False
        self._end_outage()

    def stop(self) -> None:
        """Turn away all that wait in `enter`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(False)

    def _admit(self, characters: int) -> None:
        self.in_flight += 1
        if self._down_since is not None:
            wait_s = min(FIRST_PROBE_S * 2**self._probes, LONGEST_PROBE_S)
            self._probe_at = self._now() + wait_s
            self._probes = min(self._probes + 1, 16)
        if self._has_rates:
            now = self._now()
            self._requests.take(1, now)
            self._input.take(characters * self._tokens_per_character, now)
            self._output.take(self._usual_output, now)

    def _correct(self, characters: int, read: int | None, written: int | None) -> None:
        """Replace an attempt's estimated tokens by the counted ones, and adapt the estimates."""
        if read is not None and characters:
            self._input.correct(read, self.in_flight)
            self._tokens_per_character += (read / characters - self._tokens_per_character) / 20
        if written is not None:
            self._output.correct(written, self.in_flight)
            self._usual_output += (written - self._usual_output) / 20

    def _taken(self) -> int:
        return self.in_flight + len(self._resting)

    def _wait_s(self) -> float:
        """Return the seconds until the next request may be sent; inf until one comes back."""
        now = self._now()
        if self._resting:
            self._end_rests(now)
        if self.in_flight + len(self._resting) >= max(1, int(self._places.allowed)):
            return self._resting[0][0] + self.usual_s - now if self._resting else inf
        at = self._not_before
        if self._down_since is not None:
            at = max(at, self._probe_at)
        if self._has_rates:
            at = max(at, self._requests.at, self._input.at, self._output.at)
        return at - now

    def _end_rests(self, now: float) -> None:
        while self._resting and self._resting[0][0] + self.usual_s <= now:
            _, is_hurt = self._resting.popleft()
            if not self._probes:
                self._places.count(self._taken(), is_hurt=is_hurt)

    def _release(self) -> None:
        while self._waiting:
            waiting, characters = self._waiting[0]
            if waiting.done():
                self._waiting.popleft()
                continue
            wait_s = self._wait_s()
            if wait_s > 0:
                self._wake_after(wait_s)
                return
            self._not_before = 0.0
            self._used_up = ""
            self._waiting.popleft()
            self._admit(characters)
            waiting.set_result(True)

    def _wake_after(self, wait_s: float) -> None:
        """Release waiting requests after so many seconds, unless that is due earlier anyway."""
        if wait_s == inf:
            return
        wakes_at = self._now() + wait_s
        if self._timer is not None:
            if self._wakes_at <= wakes_at:
                return
            self._timer.cancel()
        self._wakes_at = wakes_at
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._release()

    def _looks_down(self, error: RetryLaterError, now: float) -> bool:
        """Return whether so much fails that no request would be answered now."""
        if self._failed_in_a_row >= IN_A_ROW:
            return True
        is_silent = error.is_unavailable and not self.in_flight
        return is_silent and now - self._failing_since >= UNAVAILABLE_S

    def _say_down(self, error: RetryLaterError) -> None:
        self._is_said = True
        now = self._now()
        if self._is_told or now - self._told_at < TOLD_EVERY_S:
            return
        self._is_told, self._told_at = True, now
        self._on_notice(
            f"the provider does not answer: {error.message}; it is asked now and then for "
            f"{self._patience_s:g} s (llm.patience_s) before the run stops"
        )

    def _end_outage(self) -> None:
        """Go on as before: outcomes of an outage say nothing of the concurrency limit."""
        if self._is_told:
            self._on_notice("the provider answers again")
        if self._probes:
            self._places.forget()
        self._down_since, self._asked_s, self._probes = None, 0.0, 0
        self.down_by, self._is_said, self._is_told = "", False, False
