"""Caps that are reached, raised and lowered in several commands of one run."""

from collections.abc import Callable

from benchmarks.torture import checks
from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.faults.kills import kill, strike_after, strike_at_request

USD_PER_TOKEN = 100 / 1e6


def _check(e: Episode, *, requests: float | None = None, tokens: float | None = None) -> None:
    """Check that no cap was crossed, except by requests that killed commands could not record."""
    lost, lost_tokens = checks.count_lost(e.ledger, e.losses)
    sent = len(e.ledger.asked)
    used = sum(asked.tokens for asked in e.ledger.asked)
    if requests is not None and sent > requests + lost:
        e.problems.append(f"{sent} requests were sent, {requests:.0f} were allowed, {lost} lost")
    if tokens is not None and used > tokens + lost_tokens:
        e.problems.append(f"{used} tokens were used, {tokens:.0f} were allowed, {lost_tokens} lost")


def _raise_step_by_step(
    e: Episode, key: str, needed: float, check: Callable[[float], None]
) -> None:
    """Set a cap that is too low, higher ones, a lower one again, and one that is enough."""
    steps = sorted(e.rng.uniform(0.05, 0.9) for _ in range(e.rng.randint(1, 2)))
    for share in steps:
        cap = max(needed * share, 1)
        code = e.run(0, 3, sets={key: round(cap, 6) if key == "limits.usd" else int(cap)})
        check(cap)
        if code == 0 and key == "limits.requests" and int(cap) < int(needed):
            e.problems.append(f"it came to its end with {int(cap)} of {needed} requests")
    if e.rng.random() < 0.3:
        before = len(e.ledger.asked)
        e.run(3, sets={key: 1 if key != "limits.usd" else 0.000001})
        if len(e.ledger.asked) > before + 1:
            e.problems.append("with a lower cap than is used up, requests were sent")
    e.sets[key] = 10 * needed
    e.finish()
    check(10 * needed)


@fault("caps: requests", weight=3)
def cap_requests(e: Episode) -> None:
    """Cap the requests."""
    needed = e.scene.known.requests.total()
    _raise_step_by_step(e, "limits.requests", needed, lambda cap: _check(e, requests=cap))


@fault("caps: tokens", weight=2)
def cap_tokens(e: Episode) -> None:
    """Cap the tokens."""
    _raise_step_by_step(e, "limits.tokens", e.scene.known.tokens, lambda cap: _check(e, tokens=cap))


@fault("caps: USD", weight=2)
def cap_usd(e: Episode) -> None:
    """Cap the USD."""
    needed = e.scene.known.tokens * USD_PER_TOKEN
    _raise_step_by_step(e, "limits.usd", needed, lambda cap: _check(e, tokens=cap / USD_PER_TOKEN))


@fault("caps: minutes")
def cap_minutes(e: Episode) -> None:
    """Cap the minutes so low that the run stops at once."""
    e.run(0, 3, sets={"limits.minutes": e.rng.choice([1e-6, 0.0005, 0.001])})
    e.finish()


@fault("caps: requests, with kills", weight=3)
def cap_with_kills(e: Episode) -> None:
    """Cap the requests at just enough, while commands are killed."""
    needed = e.scene.known.requests.total()
    e.sets["limits.requests"] = needed
    for _ in range(e.rng.randint(1, 3)):
        start = e.rng.choice(
            [
                lambda: strike_at_request(e, kill),
                lambda: strike_after(e, kill, e.rng.uniform(1, 4)),
            ]
        )
        if e.end(start(), 0, 3) in (0, 3):
            break
        _check(e, requests=needed)
    e.run(0, 3)
    _check(e, requests=needed)
    e.sets["limits.requests"] = 3 * needed
    e.finish()
