"""Rate-limit headers of providers: how much is left, and until when.

OpenAI and those like it: `x-ratelimit-remaining-requests: 59`, `x-ratelimit-reset-requests: 1m2s`,
the same for `tokens`. Anthropic: `anthropic-ratelimit-requests-remaining`, `-reset` as a date, the
same for `tokens`, `input-tokens` and `output-tokens`. All: `Retry-After` in seconds or as a date.
"""

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
_OPENAI, _ANTHROPIC = "x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining"


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What is left until the limits reset.

    Attributes:
        requests: Requests left; None if not said.
        requests_reset_s: Seconds until the limit on requests resets.
        tokens: Tokens left, the fewest of all kinds; None if not said.
        tokens_reset_s: Seconds until that limit on tokens resets.
    """

    requests: int | None = None
    requests_reset_s: float = 0.0
    tokens: int | None = None
    tokens_reset_s: float = 0.0


def read_rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Return the rate limits in the headers of an answer, or None if there are none."""
    if _OPENAI in headers:
        pairs = [(f"x-ratelimit-remaining-{k}", f"x-ratelimit-reset-{k}") for k in _KINDS[:2]]
    elif _ANTHROPIC in headers:
        name = "anthropic-ratelimit"
        pairs = [(f"{name}-{k}-remaining", f"{name}-{k}-reset") for k in _KINDS]
    else:
        return None
    (requests, reset), *tokens = [_read(headers, *pair) for pair in pairs]
    known = [(left, reset_s) for left, reset_s in tokens if left is not None]
    least, tokens_reset = min(known, default=(None, 0.0))
    return RateLimits(requests, reset, least, tokens_reset)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a provider asks us to wait, given as seconds or as a date."""
    given = headers.get("retry-after-ms")
    if given is not None and (seconds := _seconds(given)) is not None:
        return seconds / 1000
    return _seconds(headers.get("Retry-After", ""))


def _read(headers: Mapping[str, str], left: str, reset: str) -> tuple[int | None, float]:
    try:
        number = int(headers[left])
    except (KeyError, ValueError):
        return None, 0.0
    return number, _seconds(headers.get(reset, "")) or 0.0


def _seconds(text: str) -> float | None:
    """Return a duration (`12`, `0.5`, `6m0s`, `20ms`) or the time until a date, in seconds."""
    text = text.strip()
    with contextlib.suppress(ValueError):
        seconds = float(text)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    date = _date(text)
    if date is None:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _date(text: str) -> datetime | None:
    """Return a date as ISO 8601 or as HTTP has it, or None."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        with contextlib.suppress(ValueError):
            return read(text)
    return None
