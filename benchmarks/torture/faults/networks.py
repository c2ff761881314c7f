"""Broken networks: names, TLS, refusals, floods of 429, silence."""

from typing import Any

from benchmarks.torture import hooks
from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.server import Asked, Fault, Reply, as_usual, http


def failure(status: int, **headers: str) -> Reply:
    """Return a reply with an error."""
    return Reply(http(status, b'{"error":{"message":"not now"}}', **headers))


@fault("net: no TLS, no such host, no such port", weight=3)
def wrong_url(e: Episode) -> None:
    """Start with a wrong URL, then with the right one."""
    url = e.rng.choice(
        [
            e.server_url.replace("http:", "https:"),
            "http://no-such-host.invalid/v1",
            "http://localhost:9/v1",
        ]
    )
    e.run(4, sets={"llm.base_url": url})
    e.finish()


@fault("net: names lost", weight=2)
def lose_names(e: Episode) -> None:
    """Make look-ups of the host fail for a while during a run."""
    first = e.rng.randrange(1, 6)
    e.run(0, 4, orders=[hooks.names_lost(first, first + e.rng.randrange(1, 5))])
    e.finish()


def hit(share: float, attempts: int, reply: Reply) -> Fault:
    """Return a fault that answers a share of all requests with a reply, `attempts` times each."""

    def answer(asked: Asked, _answer: dict[str, Any]) -> Reply | None:
        return reply if asked.is_hit(share) and asked.attempt < attempts else None

    return answer


def _storm(e: Episode, share: float, attempts: int, reply: Reply) -> None:
    e.ledger.fault = hit(share, attempts, reply)
    e.sets["llm.patience_s"] = 20  # a server that refuses all requests a few times is down long
    if e.run(0, 4) == 4:
        e.ledger.fault = as_usual
    e.finish()


@fault("net: a storm of 429", weight=4)
def storm(e: Episode) -> None:
    """Refuse a share of all requests a few times, with and without a Retry-After."""
    headers = e.rng.choice(
        [{}, {"Retry_After": "0.05"}, {"Retry_After": "1"}, {"Retry_After": "x"}]
    )
    _storm(e, e.rng.choice([0.2, 0.5, 1.0]), e.rng.randint(1, 3), failure(429, **headers))


@fault("net: server errors", weight=2)
def server_errors(e: Episode) -> None:
    """Fail a share of all requests."""
    status = e.rng.choice([500, 502, 503, 529])
    _storm(e, e.rng.choice([0.1, 0.4]), e.rng.randint(1, 2), failure(status))


@fault("net: connections cut", weight=3)
def cut_connections(e: Episode) -> None:
    """Cut connections before or within an answer."""
    whole = http(200, b'{"choices": [{"message": {"content": "half an ans')
    data = e.rng.choice(
        [b"", b"HTTP/1.1 2", whole, whole.replace(b"Content-Length: ", b"Content-Length: 9")]
    )
    _storm(e, e.rng.choice([0.1, 0.3]), 1, Reply(data, closes=True))


@fault("net: silence")
def silence(e: Episode) -> None:
    """Leave some requests without an answer."""
    e.sets["llm.timeout_s"] = 1.0
    _storm(e, 0.1, 1, Reply(b"", closes=True, wait_s=4.0))


@fault("net: come again tomorrow")
def tomorrow(e: Episode) -> None:
    """Allow the next request only after a day, which ends the run at once."""
    e.ledger.fault = lambda asked, _answer: (
        failure(429, Retry_After="86400") if asked.is_hit(0.3) else None
    )
    child = e.start()
    e.end(child, 4)
    e.ledger.fault = as_usual
    e.finish()
