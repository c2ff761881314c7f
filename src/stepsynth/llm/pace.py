"""How many requests may be in flight at one endpoint, and how fast they may be sent.

`llm.concurrency` is where it starts and the most there is. It shrinks on evidence: when more than
a tenth of the attempts are refused as too many, or time out, or when answers take much longer than
before, fewer are allowed: as many as were really served at the same time (Little's law). If that
did not help, the refusals are no overload, and it goes back. Then it grows again, a little at a
time. A provider that answers nothing at all is left alone but for a probe now and then.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from stepsynth.llm._backend import LLMSettings
from stepsynth.llm._rate_headers import RateLimits

OVERLOAD = 0.1
"""Share of attempts that are refused or time out, above which fewer are sent."""
SLOWER = 3.0
"""So many times the usual time for an answer is evidence of overload."""
HELPED = 0.7
"""A cut has helped when what it was made for fell to so much of what it was."""
SHORTEST_WINDOW = 64
IN_A_ROW = 20
"""So many failures with no answer between them: the provider is down."""
FIRST_PROBE_S, LONGEST_PROBE_S, LONGEST_PAUSE_S = 1.0, 30.0, 300.0
CATCH_UP_S = 0.05
"""A sender that was late by so much may catch up, and no more."""


@dataclass
class _Window:
    """What came of some attempts, one after another."""

    started: float
    latencies: list[float] = field(default_factory=list)
    attempts: int = 0
    hurt: int = 0


@dataclass(frozen=True)
class _Cut:
    """Fewer requests were allowed, and why."""

    allowed: float
    share: float
    latency: float


class _Rate:
    """At most so many units a minute, evenly spaced."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self.at = 0.0

    def take(self, units: float, now: float) -> None:
        """Count units that are sent now; those that come next wait for their time."""
        if self._seconds_each:
            self.at = max(self.at, now - CATCH_UP_S) + units * self._seconds_each

    def correct(self, units: float) -> None:
        """Add units that were not foreseen, or take back those that were not used."""
        self.at += units * self._seconds_each


class Pace:
    """Says when the next request may be sent.

    Args:
        settings: concurrency, rpm, input_tpm, output_tpm, patience_s.
        now: Seconds, of a clock that only goes forward.
        on_notice: Told in a sentence what is waited for.
    """

    def __init__(
        self,
        settings: LLMSettings,
        now: Callable[[], float],
        on_notice: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self.most = settings.concurrency
        self.allowed = float(settings.concurrency)
        self.in_flight = 0
        self.note = ""
        self._now = now
        self._on_notice = on_notice
        self._patience_s = settings.patience_s
        self._requests, self._input, self._output = (
            _Rate(each) for each in (settings.rpm, settings.input_tpm, settings.output_tpm)
        )
        self._usual_output = float(settings.max_tokens) / 4
        self._waiting: deque[tuple[asyncio.Future[bool], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._window = _Window(now())
        self._cut: _Cut | None = None
        self._is_settling = False
        self._tolerated = OVERLOAD
        self._usual_latency = 0.0
        self._failed_in_a_row = 0
        self._down_since: float | None = None
        self._probe_s = FIRST_PROBE_S
        self._not_before = 0.0
        self._asked_s = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the provider has answered nothing for a while."""
        return self._down_since is not None

    async def enter(self, input_tokens: int) -> bool:
        """Wait until a request may be sent; it then counts as in flight until `leave`.

        Args:
            input_tokens: About how many tokens its prompt has.

        Returns:
            False: the run was stopped meanwhile, and the request must not be sent.
        """
        if self._waiting or self._wait_s() > 0:
            waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._waiting.append((waiting, input_tokens))
            self._release()
            return await waiting
        self._admit(input_tokens)
        return True

    def answered(self, latency_s: float, output_tokens: int | None) -> None:
        """Count an attempt that was answered; it is no longer in flight."""
        self._failed_in_a_row = 0
        if self._down_since is not None:
            self._down_since, self._probe_s, self.note = None, FIRST_PROBE_S, ""
            self._asked_s = 0.0
            self._on_notice("the provider answers again")
        if output_tokens is not None:
            self._output.correct(output_tokens - self._usual_output)
            self._usual_output += (output_tokens - self._usual_output) / 20
        self._window.latencies.append(latency_s)
        self._leave(hurt=False)

    def failed(self, reason: str, retry_after_s: float | None) -> None:
        """Count an attempt that brought no answer; it is no longer in flight."""
        self._output.correct(-self._usual_output)
        self._failed_in_a_row += 1
        if self._down_since is not None:
            if self.in_flight == 1:  # a probe, and not one of those that were out before
                self._probe_s = min(2 * self._probe_s, LONGEST_PROBE_S)
                self._wait_for_provider(retry_after_s)
        elif self._failed_in_a_row >= IN_A_ROW:
            self._down_since = self._now()
            self._wait_for_provider(retry_after_s)
        self._leave(hurt=reason in ("rate_limit", "timeout"))

    def refused(self) -> None:
        """Count an attempt whose request was refused: the provider is well."""
        self._output.correct(-self._usual_output)
        self._failed_in_a_row = 0
        self._leave(hurt=False)

    def told(self, limits: RateLimits) -> None:
        """Take what the provider's headers say is left: where that is nothing, wait."""
        for left, reset_s in (
            (limits.requests, limits.requests_reset_s),
            (limits.tokens, limits.tokens_reset_s),
        ):
            if left is not None and left <= 0 and reset_s > 0:
                until = self._now() + min(reset_s, LONGEST_PAUSE_S)
                if until > self._not_before:
                    self._not_before = until
                    self.note = f"the provider's rate limit is used up for {reset_s:.0f} s"

    @property
    def out_of_patience(self) -> bool:
        """Whether the provider is down for `llm.patience_s` longer than it asked us to wait."""
        since = self._down_since
        return since is not None and self._now() - since > self._patience_s + self._asked_s

    def begin_phase(self) -> None:
        """Forget how long answers took: another kind of prompt takes another time."""
        self._usual_latency = 0.0
        self._window = _Window(self._now())

    def stop(self) -> None:
        """Send away all who wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(False)

    def _admit(self, input_tokens: int) -> None:
        now = self._now()
        self.in_flight += 1
        self._requests.take(1, now)
        self._input.take(input_tokens, now)
        self._output.take(self._usual_output, now)

    def _wait_s(self) -> float:
        """Return the seconds until the next request may be sent; inf: until one comes back."""
        if self._down_since is not None and self.in_flight:
            return float("inf")
        if self.in_flight >= max(1, int(self.allowed)):
            return float("inf")
        at = max(self._not_before, self._requests.at, self._input.at, self._output.at)
        return at - self._now()

    def _release(self) -> None:
        while self._waiting:
            waiting, input_tokens = self._waiting[0]
            if waiting.done():
                self._waiting.popleft()
                continue
            wait_s = self._wait_s()
            if wait_s > 0:
                self._wake_after(wait_s)
                return
            self._not_before = 0.0
            if self._down_since is None:
                self.note = ""
            self._waiting.popleft()
            self._admit(input_tokens)
            waiting.set_result(True)

    def _wake_after(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait_s != float("inf"):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait_s, self._release)

    def _leave(self, *, hurt: bool) -> None:
        self.in_flight -= 1
        window = self._window
        window.attempts += 1
        window.hurt += hurt
        if self._is_settling:
            # What was out when fewer were allowed says nothing of whether that has helped.
            self._is_settling = self.in_flight > self.allowed
            self._window = _Window(self._now())
        elif window.attempts >= max(SHORTEST_WINDOW, 2 * self.allowed):
            self._adapt(window)
            self._window = _Window(self._now())
        if self._waiting:
            self._release()

    def _wait_for_provider(self, retry_after_s: float | None) -> None:
        wait_s = min(max(self._probe_s, retry_after_s or 0.0), LONGEST_PAUSE_S)
        self._not_before = self._now() + wait_s
        self._asked_s = min(max(self._asked_s, retry_after_s or 0.0), LONGEST_PAUSE_S)
        self.note = f"the provider does not answer; next try in {wait_s:.0f} s"
        if self._failed_in_a_row == IN_A_ROW:
            self._on_notice(self.note)

    def _adapt(self, window: _Window) -> None:
        """Allow fewer requests or more, by what came of the last ones."""
        share = window.hurt / window.attempts
        latency = median(window.latencies) if window.latencies else 0.0
        is_slow = self._usual_latency > 0 and latency > SLOWER * self._usual_latency
        if self._cut is not None and not self._has_helped(self._cut, share, latency):
            # As many are refused as before: they are not refused because there are too many.
            self.allowed = self._cut.allowed
            self._tolerated = max(self._tolerated, 1.5 * self._cut.share)
            self._usual_latency = latency
            self._cut = None
        elif share > self._tolerated or is_slow:
            served = sum(window.latencies) / max(self._now() - window.started, 1e-9)
            cut = self.allowed / SLOWER if is_slow else min(served, self.allowed * (1 - OVERLOAD))
            self._cut = _Cut(self.allowed, share, latency if is_slow else 0.0)
            self.allowed = max(1.0, cut)
            self._is_settling = self.in_flight > self.allowed
        else:
            self._cut = None
            self.allowed = min(self.most, self.allowed + max(1.0, self.allowed / 16))
            usual = self._usual_latency or latency
            self._usual_latency = min(usual * 1.01, latency) if latency else usual

    @staticmethod
    def _has_helped(cut: _Cut, share: float, latency: float) -> bool:
        if cut.latency:
            return latency < HELPED * cut.latency
        return share < HELPED * cut.share
