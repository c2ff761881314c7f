"""Diagnosis of time-outs: too short for the endpoint, or the end of a hang."""

from collections import deque
from collections.abc import Callable

NEAR = 0.5
"""Share of the time-out. If an answer took that much, others may need more than all of it."""
LATELY = 20
"""Latest outcomes that count for whether requests time out now."""


class TimeOuts:
    """A count of requests that an endpoint took and did not answer within `llm.timeout_s`.

    Args:
        timeout_s: Longest time for one answer, in seconds.
        concurrency: Most requests in flight; a server may queue them.
        on_notice: Told once, early, that the time-out is too short.
    """

    def __init__(
        self, timeout_s: float, concurrency: int, on_notice: Callable[[str], None]
    ) -> None:
        self._timeout_s, self._concurrency = timeout_s, concurrency
        self._on_notice = on_notice
        self._answers, self._timed_out, self._longest_s = 0, 0, 0.0
        self._lately: deque[bool] = deque(maxlen=LATELY)
        self._is_said = False

    @property
    def is_too_short(self) -> bool:
        """Whether a longer one may help: no answer came yet, or answers take nearly as long."""
        return self._timed_out > 0 and (
            not self._answers or self._longest_s >= NEAR * self._timeout_s
        )

    @property
    def note(self) -> str:
        """What to say while requests time out; "" if they do not, or no longer time would help."""
        if not self.is_too_short or not any(self._lately):
            return ""
        return f"{self._what()}: raise it"

    @property
    def advice(self) -> str:
        """What to do next; "" if a longer time-out would not help."""
        if not self.is_too_short:
            return ""
        # The time-out also runs while a request waits in the server's queue.
        queue = f", or lower llm.concurrency ({self._concurrency})" if self._concurrency > 1 else ""
        cause = "" if self._answers else "the server takes requests but is slow, or hangs: "
        return f"{cause}raise llm.timeout_s{queue}"

    def answered(self, latency_s: float) -> None:
        """Count an answer and its latency."""
        self._answers += 1
        self._longest_s = max(self._longest_s, latency_s)
        self._lately.append(False)
        self._tell()

    def timed_out(self) -> None:
        """Count a request that timed out."""
        self._timed_out += 1
        self._lately.append(True)
        self._tell()

    def _tell(self) -> None:
        """Give notice once; only later answers may show that the time-out is too short."""
        if self.note and not self._is_said:
            self._is_said = True
            paid = "a request that times out is asked, and may be paid for, again"
            taken = f", answers take up to {self._longest_s:.0f} s" if self._answers else ""
            self._on_notice(f"{self._what()}{taken}; {self.advice}; {paid}")

    def _what(self) -> str:
        limit = f"llm.timeout_s ({self._timeout_s:g} s)"
        if not self._answers:
            return f"no answer came within {limit} yet"
        asked = self._answers + self._timed_out
        return f"{self._timed_out} of {asked} requests took longer than {limit}"
