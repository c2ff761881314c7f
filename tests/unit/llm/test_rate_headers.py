"""What the headers of an answer say of limits, as each provider writes them."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from stepsynth.llm.core.rate_headers import RateLimits, read_rate_limits, retry_after_s


def test_openai_says_what_is_left_and_for_how_long():
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m2s",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read_rate_limits(headers) == RateLimits(59, 62.0, 149984, 360.0)


def test_anthropic_names_dates_and_the_scarcest_tokens_count():
    reset = datetime.now(UTC) + timedelta(seconds=90)
    headers = {
        "anthropic-ratelimit-requests-remaining": "999",
        "anthropic-ratelimit-requests-reset": (reset - timedelta(hours=1)).isoformat(),
        "anthropic-ratelimit-tokens-remaining": "50000",
        "anthropic-ratelimit-tokens-reset": reset.isoformat(),
        "anthropic-ratelimit-input-tokens-remaining": "40000",
        "anthropic-ratelimit-input-tokens-reset": reset.isoformat(),
        "anthropic-ratelimit-output-tokens-remaining": "800",
        "anthropic-ratelimit-output-tokens-reset": reset.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    limits = read_rate_limits(headers)
    assert limits is not None
    assert (limits.requests, limits.requests_reset_s) == (999, 0.0)
    assert limits.tokens == 800
    assert 80 < limits.tokens_reset_s <= 90


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}])
def test_no_limits_are_none(headers):
    assert read_rate_limits(headers) is None


def test_a_number_that_is_none_is_not_known():
    headers = {"x-ratelimit-remaining-requests": "many", "x-ratelimit-remaining-tokens": "5"}
    assert read_rate_limits(headers) == RateLimits(None, 0.0, 5, 0.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12", 12), ("0.5", 0.5), ("20ms", 0.02), ("1h30m", 5400), ("2d", 172800), ("-3", 0)],
)
def test_a_wait_is_read_in_every_form(text, seconds):
    assert retry_after_s({"Retry-After": text}) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "1s or so", "T", "2026-99-99T00:00:00"])
def test_a_wait_that_cannot_be_read_is_none(text):
    assert retry_after_s({"Retry-After": text}) is None


def test_milliseconds_win_where_both_are_given():
    assert retry_after_s({"retry-after-ms": "1500", "Retry-After": "2"}) == 1.5


def test_a_wait_until_a_date_is_what_is_left_of_it():
    later = datetime.now(UTC) + timedelta(seconds=60)
    wait = retry_after_s({"Retry-After": format_datetime(later, usegmt=True)})
    assert wait is not None
    assert 50 < wait <= 60
