"""The method of docs/own-method.md, as it stands there, runs."""

from pathlib import Path

from stepsynth.llm.backends.scripted import Scripted
from tests.scripted import RULES, notes
from tests.unit.test_docs import blocks

PAGE = Path(__file__).parents[2] / "docs" / "own-method.md"


def test_the_method_of_the_page_runs(tmp_path):
    (shown, used) = (text for _, language, text in blocks(PAGE) if language == "python")
    rows = [
        {"text": f"{note} {i}", "label": fruit if i % 5 else "apple"}
        for fruit in ("apple", "pear")
        for i, note in enumerate(notes(fruit)[:60])
    ]
    task = {
        "text_name": "note about a fruit",
        "labels": ["apple", "pear"],
        "kind": "classification",
    }
    llm = Scripted.model_validate({"rules": RULES})
    names = {"rows": rows, "llm": llm, "__name__": "own"}
    exec(compile(shown, str(PAGE), "exec"), names)
    exec(used.replace('"sst2"', repr(task)), names)
    result = names["result"]
    assert result.summary.method == "neighbours"
    first, second = result.rounds
    assert len(first.exchanges) == len(first.added) + len(first.unused) == 2 * 60
    assert {row.provenance.kind for row in first.added} == {"extrapolate"}
    assert first.misclassified
    assert len(second.exchanges) == len(first.misclassified)
    assert {row.provenance.round for row in second.added} == {1}
