"""The cost section of a report: totals, failures and retries, and the pace of the answers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from stepsynth._util.words import amount, duration, usd, whole
from stepsynth.report.charts import SELECT, TEST, _svg
from stepsynth.run_records import LLMTotals, Summary
from stepsynth.runner import by_cause, retried_by_cause

FEWEST_POINTS = 5
"""Fewest reports of progress that make a curve."""


def cost_section(summary: Summary, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the template's data on the cost of a finished run.

    Args:
        summary: The run's summary.
        events: The lines of `events.jsonl`.

    Returns:
        `rows`: names and values; `charts`: SVG, none if there are too few points.
    """
    try:
        points = _points(events)
    except (KeyError, TypeError, ValueError):  # not ours, or of another version: no curve
        points = []
    charts = [Markup(_rate_chart(points)), Markup(_in_flight_chart(points))] if points else []
    return {"rows": list(_rows(summary.llm, summary.seconds)), "charts": charts}


def _rows(llm: LLMTotals, seconds: float) -> Iterator[tuple[str, str]]:
    retried = retried_by_cause(llm.setbacks, llm.failures)
    yield "requests sent in the last invocation", whole(llm.requests)
    yield (
        "sent again in the last invocation",
        by_cause(retried, "retried") or whole(llm.retries),
    )
    yield "answered from the store", whole(llm.from_store)
    if llm.replayed:
        yield "recorded answers", whole(llm.replayed)
    yield "failed", by_cause(llm.failures, "failed") or "0"
    yield "rejected", by_cause(llm.rejected, "rejected") or "0"
    yield "prompt tokens", _part(llm.prompt_tokens, llm.cached_tokens, "cached")
    yield (
        "completion tokens",
        _part(llm.completion_tokens, llm.reasoning_tokens, "reasoning"),
    )
    yield "cost", "the price of the LLM is not known" if llm.usd is None else usd(llm.usd)
    if llm.tokens_per_kept_row:
        yield "tokens a row of the data set", whole(llm.tokens_per_kept_row)
    if llm.usd_per_kept_row:
        yield "USD for 1,000 rows of the data set", amount(1000 * llm.usd_per_kept_row)
    yield "time of the last invocation", duration(seconds)


def _part(n: int, part: int | None, name: str) -> str:
    return f"{n:,}, {part:,} of them {name}" if part else f"{n:,}"


def _points(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the reports of the last invocation that has enough of them, or none."""
    invocations: list[list[Mapping[str, Any]]] = [[]]
    for event in events:
        if event["event"] == "start":
            invocations.append([event])
        elif event["event"] == "usage":
            invocations[-1].append(event)
    for lines in reversed(invocations):
        began = datetime.fromisoformat(lines[0]["time"]) if lines else None
        # At the end of a phase nothing is in flight, which says nothing of its pace.
        reports = [line for line in lines if line["event"] == "usage" and line["in_flight"]]
        if began is not None and len(reports) >= FEWEST_POINTS:
            return [
                {
                    "minutes": (datetime.fromisoformat(r["time"]) - began).total_seconds() / 60,
                    "phase": r["phase"],
                    "rate": r["per_second"],
                    "in_flight": r["in_flight"],
                    "allowed": r["allowed"],
                }
                for r in reports
            ]
    return []


def _rate_chart(points: Sequence[Mapping[str, Any]]) -> str:
    """Return a chart of the answers per second over time, a line for each phase."""
    import altair as alt

    base = alt.Chart(alt.Data(values=list(points))).encode(
        x=alt.X("minutes:Q", title="minutes"),
        y=alt.Y("rate:Q", title="answers a second"),
        color=alt.Color("phase:N", title=None, sort=None),
    )
    return _svg(base.mark_line(point=alt.OverlayMarkDef(size=25)), width=400, height=170)


def _in_flight_chart(points: Sequence[Mapping[str, Any]]) -> str:
    """Return a chart of the requests in flight and the allowed number over time."""
    import altair as alt

    names = {"in_flight": "in flight", "allowed": "allowed"}
    rows = [
        {"minutes": p["minutes"], "requests": p[key], "which": name}
        for p in points
        for key, name in names.items()
    ]
    order = alt.Scale(domain=list(names.values()), range=[TEST, SELECT])
    dashes = alt.Scale(domain=list(names.values()), range=[[1, 0], [5, 3]])
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("minutes:Q", title="minutes"),
        y=alt.Y("requests:Q", title="requests in flight"),
        color=alt.Color("which:N", title=None, scale=order),
        strokeDash=alt.StrokeDash("which:N", title=None, scale=dashes),
    )
    return _svg(base.mark_line(), width=400, height=170)
