"""Leases on a run's caps, so that several processes together cross none.

A process leases a part of what is left before it spends it. One transaction sees what all have
spent and what the others have leased. A lease stands in the store until it is spent or returned, or
its process is gone.
"""

import sqlite3
from dataclasses import dataclass
from math import inf

from stepsynth.llm.core.usage import Spent
from stepsynth.llm.store import claims

Amounts = tuple[float, ...]
"""Requests, USD, tokens."""
NOTHING: Amounts = (0, 0.0, 0)
ROUNDING = 1e-9
"""Sums of the same amounts in another order differ by less."""


@dataclass(frozen=True)
class CapRequest:
    """A process's request for a lease.

    Attributes:
        run: Digest of the run's identity.
        caps: Caps of the run; inf where there is none.
        held: The most that requests in flight can cost; stays the process's own.
        least: The most that the next request can cost; a smaller lease is of no use.
        wanted: What to lease beside `held`, if there is as much.
        share: Fraction of what is left that may be leased; the rest is for others who may come.
    """

    run: str
    caps: Amounts
    held: Amounts
    least: Amounts
    wanted: Amounts
    share: float


@dataclass(frozen=True)
class CapGrant:
    """A lease.

    Attributes:
        more: What the process may spend beside what it holds.
        spent: What all invocations and processes of the run have spent.
        is_shared: Other processes have leases, and may return some of theirs.
    """

    more: Amounts
    spent: Amounts
    is_shared: bool


def ask(connection: sqlite3.Connection, owner: int, asked: CapRequest) -> CapGrant:
    """Lease to a process, within a transaction, what it wants or, near a cap, a share of the rest.

    Where less than the least is left, it gets nothing.
    """
    claims.drop_claims_of_the_dead(connection, owner)
    query = "SELECT requests, usd, tokens FROM spent WHERE run = ?"
    spent: Amounts = connection.execute(query, (asked.run,)).fetchone() or NOTHING
    # A lease is below zero where a provider charged more than seemed possible.
    query = (
        "SELECT total(max(requests, 0)), total(max(usd, 0)), total(max(tokens, 0)) "
        "FROM owners WHERE run = ? AND owner != ?"
    )
    others: Amounts = connection.execute(query, (asked.run, owner)).fetchone()
    free = [
        cap - gone - away - held
        for cap, gone, away, held in zip(asked.caps, spent, others, asked.held, strict=True)
    ]
    more = NOTHING
    if all(left >= least for left, least in zip(free, asked.least, strict=True)):
        shares = map(max, asked.least, (asked.share * left for left in free))
        more = tuple(map(min, asked.wanted, shares))
    part = [held + given for held, given in zip(asked.held, more, strict=True)]
    connection.execute(
        "UPDATE owners SET run = ?, requests = ?, usd = ?, tokens = ? WHERE owner = ?",
        (asked.run, *part, owner),
    )
    capped = [away for cap, away in zip(asked.caps, others, strict=True) if cap < inf]
    return CapGrant(more, spent, is_shared=max(capped) > ROUNDING)


def record(connection: sqlite3.Connection, owner: int, run: str, spent: Spent) -> None:
    """Deduct from a process's lease what it has spent, in the transaction that records that."""
    connection.execute(
        "UPDATE owners SET requests = requests - ?, usd = usd - ?, tokens = tokens - ? "
        "WHERE owner = ? AND run = ?",
        (spent.requests, spent.usd, spent.tokens, owner, run),
    )
