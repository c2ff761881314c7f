"""Adaptive concurrency: a limit on requests in flight, learnt from their outcomes.

The limit is cut when many attempts are refused or time out, or answers take much longer than
before. The next window shows whether that helped. If as many are refused as before and throughput
fell, the endpoint was not full and the cut is undone: random refusals are no overload, and neither
is a kind of prompt that takes longer. Otherwise the limit grows again from there. Unlike AIMD, as
in TCP, growth is multiplicative too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

OVERLOAD = 0.1
"""Share of attempts refused or timed out above which the limit is cut."""
MOST_TOLERATED = 0.5
"""Largest such share that is tolerated where a cut did not help."""
SLOWER = 3.0
"""A median latency of this many times the usual one is taken for overload."""
GROWTH, FASTEST_GROWTH = 1 / 16, 1 / 2
"""Relative growth after a good window: the first, doubled up to the second while none is hurt."""
SHORTEST_WINDOW = 64
"""Fewest attempts by which the limit is judged."""


@dataclass
class _Window:
    """Outcomes of consecutive attempts.

    Attributes:
        hurt: Attempts refused as too many, or timed out.
        crowded: Attempts that ended while all slots were taken.
    """

    started: float
    latencies: list[float] = field(default_factory=list)
    attempts: int = 0
    hurt: int = 0
    crowded: int = 0


@dataclass(frozen=True)
class _Cut:
    """The state before a cut: limit, share of attempts hurt, throughput."""

    allowed: float
    share: float
    answers_per_s: float

    def was_in_vain(self, allowed: float, share: float, answers_per_s: float) -> bool:
        """Return whether half the share or more is still hurt, and throughput fell too far."""
        # A full endpoint keeps its throughput; one that was not loses as much as the limit did.
        half_way = (1 + allowed / self.allowed) / 2
        return share >= self.share / 2 and answers_per_s < self.answers_per_s * half_way


class AdaptiveConcurrency:
    """An adaptive limit on requests in flight.

    Args:
        most: First and highest value of the limit.
        now: Monotonic clock, in seconds.
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
        """Forget the usual latency: another kind of prompt has another."""
        self._usual_latency = 0.0
        self._cut, self._settling = None, 0
        self.forget()

    def forget(self) -> None:
        """Start a new window."""
        self._window = _Window(self._now())

    def count(self, taken: int, *, latency_s: float | None = None, is_hurt: bool = False) -> None:
        """Count the outcome of an attempt that has released its slot.

        Args:
            taken: Slots still taken.
            latency_s: Seconds its answer took; None if there was none.
            is_hurt: It was refused as one too many, or timed out.
        """
        window = self._window
        window.attempts += 1
        window.hurt += is_hurt
        window.crowded += taken + 1 >= int(self.allowed)
        if latency_s is not None:
            window.latencies.append(latency_s)
        if self._settling:
            # What was in flight at the cut does not show whether it helped.
            self._settling -= 1
            if not self._settling:
                self.forget()
        elif window.attempts >= SHORTEST_WINDOW and window.attempts >= 2 * self.allowed:
            self._adapt(window, taken)
            self.forget()

    def _adapt(self, window: _Window, taken: int) -> None:
        """Cut or raise the limit by the outcomes of a window."""
        share = window.hurt / window.attempts
        latency = median(window.latencies) if window.latencies else 0.0
        per_s = len(window.latencies) / max(self._now() - window.started, 1e-9)
        cut, self._cut = self._cut, None
        # With slots to spare the cut changed nothing: the share of attempts hurt decides alone.
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
