"""Charts of any text: what XML forbids would end the process of the renderer."""

import pytest

from stepsynth.report import charts


@pytest.mark.parametrize("text", ["\x1b[2J", "\x00", "\ufffe", "\uffff", "\ud800", "<b>&"])
def test_a_chart_of_any_text_is_drawn(text):
    drawn = charts.reasons({f"refusal{text}": 3})
    assert "refusal" in drawn
    assert text not in drawn
    spec = {
        "data": {"values": [{"run": text, "rows": 1}]},
        "mark": "bar",
        "encoding": {"y": {"field": "run", "type": "nominal"}},
    }
    assert text not in charts.from_spec(spec)


@pytest.mark.parametrize("name", ["constructor", "toString", "valueOf", "__proto__", "length"])
def test_a_chart_of_labels_that_are_names_of_javascript_is_drawn(name):
    assert name in charts.confusion({name: {name: 3, "b": 1}, "b": {name: 2, "b": 4}})
