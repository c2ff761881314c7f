"""What a method may spend, so that methods can be compared at equal cost."""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

FIRST = 32
"""Requests that are sent at once at most where USD are counted: the price of one is a guess."""


@dataclass
class SpendingLimit:
    """Requests or USD that a method may spend, and no more; without limits it is never empty.

    Every request counts, whatever becomes of its answer: those for rationales, rejected ones and
    those of a judge too, and answers that a shared store had already.

    Attributes:
        requests: Most requests; None: any number.
        usd: Most USD; None: any amount.
        spent_usd: What was spent so far, in USD.
        spent: Requests so far.
    """

    requests: int | None = None
    usd: float | None = None
    spent_usd: Callable[[], float] = lambda: 0.0
    spent: int = field(default=0, init=False)

    def affordable(self, wanted: int) -> int:
        """Return how many of the wanted requests can be paid for now.

        In USD that is an estimate from what a request has cost so far, and the next ones may be of
        another kind and cost many times as much: so they are few, and callers ask again. What is
        spent beyond the USD is the price of `FIRST` requests at most.
        """
        most = wanted
        if self.requests is not None:
            most = min(most, self.requests - self.spent)
        if self.usd is not None:
            used = self.spent_usd()
            each = used / self.spent if self.spent else 0.0
            left = self.usd - used
            if left <= 0:
                return 0
            most = min(most, FIRST, int(left / each) if each else FIRST)
        return max(0, most)

    def take(self, wanted: int) -> int:
        """Take as many of the wanted requests as can be paid for."""
        taken = self.affordable(wanted)
        self.spent += taken
        return taken

    @contextlib.contextmanager
    def part(self, share: float) -> Generator[None]:
        """Spend at most a share of what is left, within a block; the rest is for what follows."""
        whole = self.requests, self.usd
        if self.requests is not None:
            self.requests = self.spent + int(share * (self.requests - self.spent))
        if self.usd is not None:
            used = self.spent_usd()
            self.usd = used + share * (self.usd - used)
        try:
            yield
        finally:
            self.requests, self.usd = whole
