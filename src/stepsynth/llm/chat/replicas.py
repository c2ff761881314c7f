"""Several servers of one LLM: a request goes to the least busy one that is up."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
"""Seconds for which a server that cannot be used is left out, doubled each time."""


@dataclass
class Replica:
    """A server.

    Attributes:
        url: Its base URL.
        busy: Requests that it has now.
        pause_s: Seconds for which it was left out last; 0: it is up.
        down_until: Time until which it is left out.
    """

    url: str
    busy: int = 0
    pause_s: float = 0.0
    down_until: float = 0.0

    def fail(self) -> None:
        """Leave it out for a while."""
        now = monotonic()
        if now >= self.down_until:  # several requests may see the same failure
            self.pause_s = min(max(FIRST_PAUSE_S, 2 * self.pause_s), LONGEST_PAUSE_S)
            self.down_until = now + self.pause_s

    @contextmanager
    def asked(self) -> Generator[None]:
        """Count a request as its own for the duration of a `with` block."""
        self.busy += 1
        try:
            yield
            self.pause_s = 0.0
        finally:
            self.busy -= 1


class Replicas:
    """The servers of one LLM, by their base URLs."""

    def __init__(self, urls: Iterable[str]) -> None:
        self.all = [Replica(url) for url in urls]

    def next(self, tried: list[Replica]) -> Replica | None:
        """Return the least busy server that is up, else the one that may be up soonest.

        Args:
            tried: Those that could not be used for this request; None is left of them.
        """
        if len(self.all) == 1:
            return None if tried else self.all[0]
        now = monotonic()
        left = [each for each in self.all if each not in tried]
        if not left:
            return None
        up = [each for each in left if each.down_until <= now]
        if up:
            return min(up, key=lambda each: each.busy)
        return None if tried else min(left, key=lambda each: each.down_until)
