"""The section on cost: totals in words, and curves where there is enough to draw."""

from types import SimpleNamespace

from stepsynth.report.cost import FEWEST_POINTS, cost_section
from stepsynth.run_records import LLMTotals

LLM = {
    "requests": 1200,
    "from_store": 30,
    "failed": 1,
    "rejected": {"refusal": 4},
    "prompt_tokens": 5000,
    "cached_tokens": 400,
    "completion_tokens": 800,
    "reasoning_tokens": 0,
    "usd": 0.25,
    "retries": 12,
    "setbacks": {"rate_limit": 10, "timeout": 3},
    "failures": {"timeout": 1},
    "replayed": 0,
    "tokens_per_kept_row": 58.0,
    "usd_per_kept_row": 0.0025,
}


def summary(llm=LLM):
    return SimpleNamespace(llm=LLMTotals(**llm), seconds=125.0)


def usage(second: int, **more):
    return {
        "time": f"2026-01-01T00:00:{second:02d}.000+00:00",
        "event": "usage",
        "phase": "</svg><script>alert(1)</script>",
        "per_second": 100.0 + second,
        "in_flight": 200,
        "allowed": 256,
        **more,
    }


START = {"time": "2026-01-01T00:00:00.000+00:00", "event": "start"}


def test_totals_and_causes():
    rows = dict(cost_section(summary(), [])["rows"])
    assert rows["requests sent in the last invocation"] == "1,200"
    assert rows["sent again in the last invocation"] == "12 retried: 10 rate_limit, 2 timeout"
    assert rows["failed"] == "1 failed: timeout"
    assert rows["rejected"] == "4 rejected: refusal"
    assert rows["prompt tokens"] == "5,000, 400 of them cached"
    assert rows["completion tokens"] == "800"
    assert rows["cost"] == "0.25 USD"
    assert rows["USD for 1,000 rows of the data set"] == "2.50"
    assert rows["time of the last invocation"] == "2.1 minutes"


def test_a_run_of_an_earlier_version_has_a_section_too():
    old = ("requests", "from_store", "failed", "rejected", "prompt_tokens", "completion_tokens")
    kept = {key: LLM[key] for key in (*old, "retries", "failures")}
    rows = dict(cost_section(summary(kept), [])["rows"])
    assert rows["cost"].startswith("the price of the LLM is not known")
    assert rows["sent again in the last invocation"] == "12"


def test_curves_are_of_the_last_invocation_that_has_enough():
    few = [START, *map(usage, range(FEWEST_POINTS - 1))]
    assert cost_section(summary(), few)["charts"] == []
    enough = [START, *(usage(i * 10) for i in range(FEWEST_POINTS)), *few]
    rate, in_flight = cost_section(summary(), enough)["charts"]
    assert "answers a second" in rate
    assert "requests in flight" in in_flight
    assert "<script" not in rate
    assert "&lt;script" in rate


def test_ends_of_phases_make_no_curve():
    """A short run has no other lines: they say 0 in flight, and 0 a second."""
    ends = [START, *(usage(i, in_flight=0, per_second=0.0) for i in range(9))]
    assert cost_section(summary(), ends)["charts"] == []


def test_lines_that_are_not_ours_make_no_curve():
    odd = [START, *(usage(i) for i in range(9)), {"event": "usage"}, {"event": "start"}]
    assert cost_section(summary(), odd)["charts"] == []
    wrong = [START, *(usage(i, time="yesterday") for i in range(9))]
    assert cost_section(summary(), wrong)["charts"] == []
