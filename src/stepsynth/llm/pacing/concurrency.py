"""How many requests an endpoint has places for, found out from what comes of them.

When many are refused or time out, or answers take much longer than before, fewer are allowed, and
it is tried whether that helps. If as many are refused as before and fewer requests bring fewer
answers, the endpoint was not full, and it goes back: random refusals are no overload, and neither
is another kind of prompt that takes longer. Otherwise it grows again from there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

OVERLOAD = 0.1
"""Share of attempts that are refused or time out, above which fewer are sent."""
MOST_TOLERATED = 0.5
"""Where it does not help to send fewer, so large a share is put up with."""
SLOWER = 3.0
"""So many times the usual time for an answer is evidence of overload."""
GROWTH, FASTEST_GROWTH = 1 / 16, 1 / 2
"""By how much more is allowed after a good window; twice as much after each without a refusal."""
SHORTEST_WINDOW = 64


@dataclass
class _Window:
    """What came of some attempts, one after another."""

    started: float
    latencies: list[float] = field(default_factory=list)
    attempts: int = 0
    hurt: int = 0
    crowded: int = 0


@dataclass(frozen=True)
class _Cut:
    """Fewer requests were allowed: what it was like before."""

    allowed: float
    share: float
    answers_per_s: float

    def was_in_vain(self, allowed: float, share: float, answers_per_s: float) -> bool:
        """Say whether as large a share is hurt as before, and fewer requests got fewer answers."""
        half_way = (1 + allowed / self.allowed) / 2
        return share >= self.share / 2 and answers_per_s < self.answers_per_s * half_way


class AdaptiveConcurrency:
    """How many requests may be in flight.

    Args:
        most: Where it starts, and the most there is.
        now: Seconds, of a clock that only goes forward.
    """

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self.most = most
        self.allowed = float(most)
        self._now = now
        self._window = _Window(now())
        self._cut: _Cut | None = None
        self._settling = 0
        self._tolerated = OVERLOAD
        self._growth = GROWTH
        self._usual_latency = 0.0

    def begin_phase(self) -> None:
        """Forget how long answers took: another kind of prompt takes another time."""
        self._usual_latency = 0.0
        self._cut, self._settling = None, 0
        self.forget()

    def forget(self) -> None:
        """Begin anew to see what comes of attempts."""
        self._window = _Window(self._now())

    def count(self, taken: int, *, latency_s: float | None = None, is_hurt: bool = False) -> None:
        """Take what came of an attempt that has given up its place.

        Args:
            taken: How many places are still taken.
            latency_s: How long its answer took; None: there was none.
            is_hurt: It was refused as one too many, or timed out.
        """
        window = self._window
        window.attempts += 1
        window.hurt += is_hurt
        window.crowded += taken + 1 >= int(self.allowed)
        if latency_s is not None:
            window.latencies.append(latency_s)
        if self._settling:
            # What was out when fewer were allowed says nothing of whether that has helped.
            self._settling -= 1
            if not self._settling:
                self.forget()
        elif window.attempts >= SHORTEST_WINDOW and window.attempts >= 2 * self.allowed:
            self._adapt(window, taken)
            self.forget()

    def _adapt(self, window: _Window, taken: int) -> None:
        """Allow fewer requests or more, by what came of the last ones."""
        share = window.hurt / window.attempts
        latency = median(window.latencies) if window.latencies else 0.0
        per_s = len(window.latencies) / max(self._now() - window.started, 1e-9)
        cut, self._cut = self._cut, None
        # Where places were left over, those that were taken away were not missed.
        is_proof = 2 * window.crowded >= window.attempts
        if cut is not None and cut.was_in_vain(self.allowed, share, per_s if is_proof else 0.0):
            self.allowed = cut.allowed
            self._tolerated = min(max(OVERLOAD, 1.5 * cut.share), MOST_TOLERATED)
            self._usual_latency = latency
            return
        is_full = share > self._tolerated
        if is_full or 0 < SLOWER * self._usual_latency < latency:
            self._cut = _Cut(self.allowed, share if is_full else 0.0, per_s)
            self.allowed = max(1.0, self.allowed * (1 - share if is_full else 0.5))
            self._settling = taken
            self._growth = GROWTH
            return
        self.allowed = min(self.most, self.allowed + max(1.0, self._growth * self.allowed))
        self._growth = GROWTH if window.hurt else min(2 * self._growth, FASTEST_GROWTH)
        self._tolerated = max(OVERLOAD, min(self._tolerated, 1.5 * share))
        usual = self._usual_latency or latency
        self._usual_latency = min(usual * 1.01, latency) if latency else usual
