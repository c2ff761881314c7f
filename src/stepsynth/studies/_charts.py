"""Charts that several studies draw, as Vega-Lite with inline data; the report styles them.

They are written by hand: a specification is a dictionary, so no plotting library is loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, Any]
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
MOST_BINS = 30


def line_chart(
    rows: Sequence[Row],
    *,
    x: str,
    y: str,
    series: str,
    band: tuple[str, str] | None = None,
    x_is_log: bool = False,
    x_is_ordinal: bool = False,
) -> dict[str, Any]:
    """Return lines with points, one for each series.

    Args:
        rows: Each has a value of every named field; the names are the titles of the axes.
        x: The field of the horizontal axis.
        y: The field of the vertical axis.
        series: The field that tells lines apart.
        band: The fields of the lower and the upper edge of a shaded band around each line.
        x_is_log: The horizontal axis is logarithmic.
        x_is_ordinal: The horizontal axis has steps (rounds), not quantities.
    """
    kind = "ordinal" if x_is_ordinal else "quantitative"
    scale = {"type": "log", "nice": False} if x_is_log else {"nice": True}
    across: dict[str, Any] = {"field": x, "type": kind, "title": x}
    across |= {"axis": {"labelAngle": 0}} if x_is_ordinal else {"scale": scale}
    colour = {"field": series, "type": "nominal", "title": None}
    up = {"field": y, "type": "quantitative", "title": y, "scale": {"zero": False}}
    layers: list[dict[str, Any]] = []
    if band is not None:
        edges = {"y": {**up, "field": band[0]}, "y2": {"field": band[1]}}
        layers.append(
            {"mark": {"type": "area", "opacity": 0.15}, "encoding": {"x": across, **edges}}
        )
    layers.append({"mark": {"type": "line", "point": True}, "encoding": {"x": across, "y": up}})
    for layer in layers:
        layer["encoding"] |= {"color": colour}
    return {"$schema": _SCHEMA, "data": {"values": list(rows)}, "layer": layers}


def histogram(values: Mapping[str, Sequence[float]], *, title: str) -> dict[str, Any]:
    """Return overlaid histograms of shares, one for each group; the bins are counted here.

    Args:
        values: Group -> its values.
        title: Title of the horizontal axis.
    """
    everything = np.concatenate([np.asarray(v, dtype=float) for v in values.values()])
    edges = np.histogram_bin_edges(everything, bins=MOST_BINS)
    rows: list[dict[str, Any]] = []
    for group, found in values.items():
        counts, _ = np.histogram(np.asarray(found, dtype=float), bins=edges)
        shares = counts / max(1, counts.sum())
        rows += [
            {"from": float(low), "to": float(high), "share": float(share), "group": group}
            for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True)
        ]
    return {
        "$schema": _SCHEMA,
        "data": {"values": rows},
        "mark": {"type": "bar", "opacity": 0.55},
        "encoding": {
            "x": {"field": "from", "type": "quantitative", "title": title, "bin": "binned"},
            "x2": {"field": "to"},
            "y": {"field": "share", "type": "quantitative", "title": "share", "stack": None},
            "color": {"field": "group", "type": "nominal", "title": None},
        },
    }


def scatter(rows: Sequence[Row], *, x: str, y: str, colour: str, panel: str) -> dict[str, Any]:
    """Return scatter plots, one for each value of `panel`.

    Args:
        rows: Each has a value of every named field.
        x: The field of the horizontal axis.
        y: The field of the vertical axis.
        colour: A field with few, ordered values (a share of epochs).
        panel: The field that divides the panels.
    """
    encoding: dict[str, Any] = {
        "x": {"field": x, "type": "quantitative", "title": x},
        "y": {"field": y, "type": "quantitative", "title": y},
        "color": {
            "field": colour,
            "type": "ordinal",
            "title": colour,
            "scale": {"scheme": "viridis"},
        },
    }
    mark = {"type": "circle", "size": 14, "opacity": 0.5}
    panels = list(dict.fromkeys(row[panel] for row in rows))
    return {
        "$schema": _SCHEMA,
        "data": {"values": list(rows)},
        "facet": {"field": panel, "type": "nominal", "title": None, "sort": panels},
        "columns": 2,
        "spec": {"mark": mark, "encoding": encoding},
    }
