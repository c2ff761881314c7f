"""What each process may still spend of a run's caps, so that several together cross none.

A process asks for a part of what is left before it spends it, in one transaction that sees what all
have spent and what the others may still spend. Its part stands in the store until it is spent or
given back, or the process is gone.
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
    """What a process asks for.

    Attributes:
        run: Digest of the run's identity.
        caps: Of the run; inf: none.
        held: What requests that are out can cost at most: that stays the process's own.
        least: What the next request can cost at most: less than that is of no use.
        wanted: What to have beside `held`, if there is so much.
        share: The part of what is left that may be had: the rest is for others who may come.
    """

    run: str
    caps: Amounts
    held: Amounts
    least: Amounts
    wanted: Amounts
    share: float


@dataclass(frozen=True)
class CapGrant:
    """What a process may have.

    Attributes:
        more: What it may spend beside what it holds.
        spent: What all invocations and processes of the run have spent.
        is_shared: Other processes have parts of their own, and may give of them back.
    """

    more: Amounts
    spent: Amounts
    is_shared: bool


def ask(connection: sqlite3.Connection, owner: int, asked: CapRequest) -> CapGrant:
    """Give a process its part, within a transaction: what is wanted or, near a cap, what is left.

    Where that is less than the least, it is nothing.
    """
    claims.drop_claims_of_the_dead(connection, owner)
    query = "SELECT requests, usd, tokens FROM spent WHERE run = ?"
    spent: Amounts = connection.execute(query, (asked.run,)).fetchone() or NOTHING
    # Below zero: a provider has charged more than it should have been able to.
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
    """Take from a process's part what it has spent, in the transaction that records that."""
    connection.execute(
        "UPDATE owners SET requests = requests - ?, usd = usd - ?, tokens = tokens - ? "
        "WHERE owner = ? AND run = ?",
        (spent.requests, spent.usd, spent.tokens, owner, run),
    )
