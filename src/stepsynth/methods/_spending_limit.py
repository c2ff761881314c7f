"""The spending limit of a method, for comparisons at equal cost."""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

FIRST = 32
"""Most requests sent at once under a limit in USD: the price of one is an estimate."""


@dataclass
class SpendingLimit:
    """The requests or USD that a method may spend; without limits, any number.

    Every request counts, whatever becomes of its answer: also those for rationales, rejected ones,
    those of a judge, and those answered from a shared store.

    Attributes:
        requests: Most requests; None: any number.
        usd: Most USD; None: any amount.
        spent_usd: Returns the USD spent so far.
        spent: Requests so far.
    """

    requests: int | None = None
    usd: float | None = None
    spent_usd: Callable[[], float] = lambda: 0.0
    spent: int = field(default=0, init=False)

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.requests is not None or self.usd is not None

    def affordable(self, wanted: int) -> int:
        """Return how many of the wanted requests are affordable now.

        In USD this is an estimate from the mean cost of a request so far. The next ones may be of
        another kind and cost many times as much, so the number is small and callers ask again. The
        limit is exceeded by the price of `FIRST` requests at most.
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
        """Spend as many of the wanted requests as are affordable, and return their number."""
        taken = self.affordable(wanted)
        self.spent += taken
        return taken

    @contextlib.contextmanager
    def part(self, share: float) -> Generator[None]:
        """Limit a `with` block to a share of what is left; the rest is for what follows."""
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
