"""What predictions cost: a model, an LLM, and the LLM behind the model, as a table and a page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stepsynth._util.files import write_text
from stepsynth.metrics import SCORE_NAMES, Interval
from stepsynth.report.charts import INK, LABELS, _svg
from stepsynth.report.render import render_page


@dataclass(frozen=True)
class Way:
    """A way to answer texts.

    Attributes:
        name: "model alone", "LLM alone", or "precision 0.95": that of `serve --precision`.
        by_llm: Share of the texts that the LLM answers.
        scores: Accuracy or exact match over the rows, with its 95 % interval (Wilson), and
            macro-F1, micro-F1 or F1, with that of a bootstrap.
        usd: USD for 1,000 texts; None: not known.
        ms: Milliseconds for 1,000 texts; None: not known.
    """

    name: str
    by_llm: float
    scores: Mapping[str, Interval]
    usd: float | None
    ms: float | None

    def cells(self) -> list[str]:
        """Return it as the row of a table."""
        return [
            self.name,
            f"{self.by_llm:.0%}",
            *map(_share, self.scores.values()),
            "?" if self.usd is None else f"{self.usd:.3g}",
            "?" if self.ms is None else f"{self.ms:,.0f}",
        ]


@dataclass(frozen=True)
class PredictionCost:
    """What answers cost, for several ways to get them on the same labelled rows.

    Attributes:
        run: Name of the run.
        student: Name of its student.
        llm: Name of the LLM.
        rows: Labelled rows that all ways were scored on.
        ways: The ways.
        notes: What the reader has to know.
    """

    run: str
    student: str
    llm: str
    rows: int
    ways: tuple[Way, ...]
    notes: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Names of the columns: USD and ms are for 1,000 texts; `LLM`: the share it answers."""
        scores = [f"{SCORE_NAMES[name][0]} %" for name in self.ways[0].scores]
        return ["", "LLM", *scores, "USD", "ms"]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def write_prediction_cost(cost: PredictionCost, path: Path) -> None:
    """Write the page: one self-contained HTML file."""
    text = render_page(
        "prediction_cost",
        cost=cost,
        columns=[(name, bool(name)) for name in cost.columns],
        cells=[way.cells() for way in cost.ways],
        chart=Markup(_chart(cost.ways)),
        has_usd=_has_usd(cost.ways),
    )
    write_text(path, text)


def _share(interval: Interval) -> str:
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.mean:.1f} [{low:.0f}, {high:.0f}]"


def _has_usd(ways: Sequence[Way]) -> bool:
    return all(way.usd is not None for way in ways) and any(way.usd for way in ways)


def _chart(ways: Sequence[Way]) -> str:
    """Return a chart of the first score against USD, or the LLM's share if USD say nothing."""
    import altair as alt

    has_usd = _has_usd(ways)
    title = "USD for 1,000 texts" if has_usd else "share of the texts that the LLM answers"
    scores = [next(iter(way.scores.values())) for way in ways]
    rows = [
        {
            "name": way.name,
            "x": way.usd if has_usd else way.by_llm,
            "score": 100 * found.mean,
            "low": 100 * found.low,
            "high": 100 * found.high,
        }
        for way, found in zip(ways, scores, strict=True)
    ]
    names = [way.name for way in ways]
    title_of_score = f"{SCORE_NAMES[next(iter(ways[0].scores))][0]}, %"
    colours = alt.Scale(domain=names, range=[LABELS[i % len(LABELS)] for i in range(len(names))])
    scale = alt.Scale(zero=False, padding=12)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("x:Q", title=title, scale=alt.Scale(padding=16, nice=False)),
        color=alt.Color("name:N", scale=colours, title=None, sort=None),
    )
    line = base.mark_line(opacity=0.5).encode(
        y=alt.Y("score:Q", scale=scale), color=alt.value(INK), order="x:Q"
    )
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        y=alt.Y("low:Q", title=title_of_score, scale=scale), y2="high:Q"
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(y="score:Q")
    return _svg(bars + line + points, width=420, height=250)
