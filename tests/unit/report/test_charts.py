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
