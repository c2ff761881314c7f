"""The charts of a comparison, drawn by altair and rendered as SVG: no script, no network."""

from collections.abc import Sequence
from typing import Any

from stepsynth.comparison import Comparison, MethodRow
from stepsynth.metrics import Interval
from stepsynth.report.charts import INK, LABELS, _svg

VERDICTS = {
    "better": LABELS[0],
    "within noise": "#8a94a0",
    "worse": LABELS[1],
    "for reference": INK,
}
"""Verdict on a method -> its colour."""

SHAPES = ["circle", "square", "triangle-up", "diamond", "cross"]
MOST_LABELS = 20
"""Most labels in a chart: those with the largest gains."""


def differences(comparison: Comparison) -> str:
    """Return a chart of each method's difference from the reference, with its paired interval."""
    import altair as alt

    score = comparison.score
    rows = [
        {
            "method": m.name,
            "gain": 100 * m.against[score].mean,
            "low": 100 * m.against[score].low,
            "high": 100 * m.against[score].high,
            "verdict": "for reference" if m.is_reference else _verdict(m.against[score]),
        }
        for m in comparison.methods
        if score in m.against
    ]
    title = f"{comparison.scores[score]} minus that of {comparison.against}, points"
    colours = alt.Scale(domain=list(VERDICTS), range=list(VERDICTS.values()))
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("method:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
        color=alt.Color("verdict:N", scale=colours, title=None),
    )
    bars = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    points = base.mark_point(filled=True, size=80).encode(x="gain:Q")
    zero = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(color=INK, strokeDash=[4, 3])
    return _svg(zero.encode(x="x:Q") + bars + points, width=420, height=34 * len(rows))


def _verdict(gain: Interval) -> str:
    if not gain.is_beyond_noise:
        return "within noise"
    return "better" if gain.mean > 0 else "worse"


def score_against(comparison: Comparison, used: str, title: str) -> str:
    """Return a chart of the main score against the usage, round by round.

    Args:
        comparison: The comparison; its curves show the standard deviation over random seeds.
        used: "rows" or "calls".
        title: Title of the axis.
    """
    import altair as alt

    names = [m.name for m in comparison.methods if m.curve]
    rows = [
        {
            "method": m.name,
            "used": point[used],
            "round": point["round"],
            "score": point["mean"],
            "low": point["mean"] - point["spread"],
            "high": point["mean"] + point["spread"],
        }
        for m in comparison.methods
        for point in m.curve
    ]
    most = max([1.0, *(point[used] for m in comparison.methods for point in m.curve)])
    places = range(len(names))
    colours = alt.Scale(domain=names, range=[LABELS[i % len(LABELS)] for i in places])
    shapes = alt.Scale(domain=names, range=[SHAPES[i // len(LABELS) % len(SHAPES)] for i in places])
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("used:Q", title=title, scale=alt.Scale(domain=[-0.03 * most, 1.05 * most])),
        color=alt.Color("method:N", scale=colours, title=None, legend=alt.Legend(labelLimit=240)),
    )
    up = alt.Scale(zero=False, padding=12)
    name = comparison.scores[comparison.score]
    bars = base.mark_rule(opacity=0.6).encode(
        y=alt.Y("low:Q", title=f"{name} on test", scale=up), y2="high:Q"
    )
    lines = base.mark_line(opacity=0.7).encode(y=alt.Y("score:Q", scale=up), order="round:O")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        y=alt.Y("score:Q", scale=up), shape=alt.Shape("method:N", scale=shapes, title=None)
    )
    return _svg(bars + lines + points, width=420, height=250)


def label_gains(comparison: Comparison, key: str) -> str:
    """Return a chart of the gain of each label with each method: labels down, methods across.

    Args:
        comparison: The comparison.
        key: "f1" or "recall".
    """
    import altair as alt

    methods = [m for m in comparison.methods if m.by_label]
    labels = shown_labels(methods)
    rows = [
        {"method": m.name, "label": label, "gain": 100 * m.by_label[label][key]}
        for m in methods
        for label in labels
        if label in m.by_label
    ]
    most = max([5.0, *(100 * abs(m.by_label[x][key]) for m in methods for x in m.by_label)])
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("method:N", sort=None, title=None, axis=alt.Axis(labelAngle=-35, labelLimit=160)),
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=200)),
    )
    colours = alt.Scale(
        domain=[-most, 0, most], range=[LABELS[1], "#ffffff", LABELS[0]], interpolate="rgb"
    )
    cells = base.mark_rect().encode(color=alt.Color("gain:Q", scale=colours, legend=None))
    numbers = base.mark_text(fontSize=11).encode(
        text=alt.Text("gain:Q", format="+.1f"),
        color=alt.condition(f"abs(datum.gain) > {0.65 * most}", alt.value("white"), alt.value(INK)),
    )
    return _svg(cells + numbers, width=58 * len(methods), height=28 * len(labels))


def shown_labels(methods: Sequence[MethodRow]) -> list[str]:
    """Return the labels in order, or only those with the largest gains if there are many."""
    most: dict[str, Any] = {}
    for method in methods:
        for label, gains in method.by_label.items():
            most[label] = max(most.get(label, 0.0), abs(gains["f1"]))
    kept = sorted(most, key=lambda label: -most[label])[:MOST_LABELS]
    return sorted(kept)
