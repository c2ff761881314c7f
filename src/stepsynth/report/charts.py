"""The report's charts, drawn by altair and rendered as SVG: no script, no network."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stepsynth._util.text import clean, shorten, visible
from stepsynth.errors import RunFolderError
from stepsynth.run_records import RoundMetrics

INK = "#1f2933"
SELECT, TEST = "#d55e00", "#0072b2"  # told apart by colour-blind readers, and by dash in print
LABELS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#7f7f7f"]

_NO_XML: dict[int, str] = dict.fromkeys((0xFFFE, 0xFFFF), "\ufffd")
_OF_OBJECTS = re.compile(
    r"constructor|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|to(Locale)?String|valueOf|"
    r"__\w+__"
)
"""What every object of JavaScript has: the renderer takes a domain's value of this name for one."""


def learning_curve(rounds: Sequence[RoundMetrics], score: str) -> str:
    """Return a chart of the scores on select and test against the number of training rows.

    Args:
        rounds: The numbers of each round.
        score: The key of the score ("accuracy").
    """
    import altair as alt

    rows = [
        {"rows": r.train_size, "round": f"round {r.round}", "score": scores[score], "split": split}
        for r in rounds
        for split, scores in (("select", r.select), ("test", r.test))
        if scores
    ]
    sizes = [r.train_size for r in rounds]
    room = max(1, (max(sizes) - min(sizes)) / 12)
    domain = [max(0, min(sizes) - room), max(sizes) + room]
    x = alt.X("rows:Q", title="training rows", scale=alt.Scale(domain=domain, nice=False))
    y = alt.Y("score:Q", title=score.replace("_", "-"), scale=alt.Scale(zero=False, padding=12))
    splits = alt.Scale(domain=["select", "test"], range=[SELECT, TEST])
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    line = base.mark_line(point=alt.OverlayMarkDef(size=60)).encode(
        color=alt.Color("split:N", scale=splits, title=None),
        strokeDash=alt.StrokeDash(
            "split:N",
            scale=alt.Scale(domain=["select", "test"], range=[[5, 3], [1, 0]]),
            title=None,
        ),
    )
    names = base.mark_text(dy=-12, fontSize=11, color=INK).encode(text="round:N")
    return _svg(line + names.transform_filter("datum.split == 'test'"), width=420, height=230)


def confusion(matrix: Mapping[str, Mapping[str, int]]) -> str:
    """Return a confusion matrix: gold labels down, predicted labels across."""
    import altair as alt

    labels = list(matrix)
    rows = [
        {
            "gold": gold,
            "predicted": predicted,
            "rows": count,
            "share": count / max(1, sum(matrix[gold].values())),
        }
        for gold in labels
        for predicted, count in matrix[gold].items()
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("predicted:N", sort=labels, title=None, axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("gold:N", sort=labels, title=None),
    )
    blues = alt.Scale(range=["#ffffff", "#08519c"], domain=[0, 1], interpolate="rgb")
    cells = base.mark_rect().encode(color=alt.Color("share:Q", scale=blues, legend=None))
    numbers = base.mark_text(fontSize=11).encode(
        text="rows:Q",
        color=alt.condition("datum.share > 0.55", alt.value("white"), alt.value(INK)),
    )
    side = min(320, max(110, 42 * len(labels)))
    return _svg(cells + numbers, width=side, height=side)


def label_balance(rounds: Sequence[RoundMetrics]) -> str:
    """Return a chart of the rows of each label that each round added."""
    import altair as alt

    rows = [
        {"round": f"round {r.round}", "label": label, "rows": count}
        for r in rounds
        for label, count in r.added_labels.items()
    ]
    names = sorted({row["label"] for row in rows})
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("rows:Q", title="rows added"),
            y=alt.Y("round:N", title=None),
            color=alt.Color(
                "label:N",
                title=None,
                scale=alt.Scale(domain=names, range=[LABELS[i % 8] for i in range(len(names))]),
            ),
        )
    )
    return _svg(chart, width=420, height=34 * len(rounds))


def reasons(counts: Mapping[str, int]) -> str:
    """Return a bar chart of the reasons why answers were not used."""
    import altair as alt

    rows = [{"reason": reason, "answers": count} for reason, count in counts.items()]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("answers:Q", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("reason:N", sort="-x", title=None),
    )
    bars = base.mark_bar(color=SELECT)
    numbers = base.mark_text(align="left", dx=4, color=INK).encode(text="answers:Q")
    return _svg(bars + numbers, width=360, height=26 * len(rows))


def from_spec(spec: Mapping[str, Any]) -> str:
    """Return a chart of a study.

    Args:
        spec: Vega-Lite with inline data; the report sets size, font and colours.

    Raises:
        RunFolderError: The spec would load something, or is no chart.
    """
    import vl_convert

    if _has_link(spec):
        raise RunFolderError(
            "a chart in studies/ is damaged: it links to data or pages elsewhere",
            hint="make the study again: stepsynth study NAME RUN",
        )
    styled = {**spec, "config": _CONFIG}
    if "facet" in spec:
        styled["spec"] = {**spec["spec"], "width": 250, "height": 190}
    else:
        styled |= {"width": 420, "height": 230}
    try:
        return vl_convert.vegalite_to_svg(_drawable(styled))
    except ValueError as error:
        raise RunFolderError(
            f"a chart in studies/ is damaged: {shorten(str(error), 120)}",
            hint="make the study again: stepsynth study NAME RUN",
        ) from error


def _has_link(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool({"url", "href"} & set(value)) or any(map(_has_link, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_link, value))


# The text is measured with the first of these fonts that exists; the margin allows for wider
# letters on the reader's machine.
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "Arial, sans-serif",
    "padding": {"left": 16, "right": 16, "top": 6, "bottom": 8},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": "#e4e7eb",
        "titleFontWeight": "normal",
    },
    "view": {"stroke": None},
    "range": {"category": LABELS},
    "legend": {"labelLimit": 320, "orient": "top", "columns": 4},
}


def _svg(chart: Any, *, width: int, height: int) -> str:
    import vl_convert

    sized = chart.properties(width=width, height=height).to_dict(validate=False)
    return vl_convert.vegalite_to_svg(_drawable({**sized, "config": _CONFIG}))


def _drawable(value: Any) -> Any:
    """Return a chart without what the renderer fails at, or ends this process at.

    These are characters that XML forbids and names of JavaScript, which get a space of no width.
    """
    if isinstance(value, str):
        text = visible(clean(value)).translate(_NO_XML)
        return f"{text}\u200b" if _OF_OBJECTS.fullmatch(text) else text
    if isinstance(value, Mapping):
        return {_drawable(key): _drawable(each) for key, each in value.items()}
    return list(map(_drawable, value)) if isinstance(value, (list, tuple)) else value
