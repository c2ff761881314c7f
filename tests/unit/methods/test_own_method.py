"""The method of docs/own-method.md, as it stands there, runs."""

from pathlib import Path

import pytest

from stepsynth.llm.backends.scripted import Scripted
from stepsynth.methods import Written
from stepsynth.methods._written import OWN_FILES
from stepsynth.records import Example
from tests.docs.test_docs import blocks
from tests.scripted import RULES, notes

PAGE = Path(__file__).parents[3] / "docs" / "own-method.md"


@pytest.mark.slow
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
    lines = {path.stem for path in (result.folder / "rounds").glob("*/*.jsonl")}
    assert lines <= set(OWN_FILES), "the names that no note may take"
    first, second = result.rounds
    assert len(first.exchanges) == len(first.added) + len(first.unused) == 2 * 60
    assert {row.provenance.kind for row in first.added} == {"extrapolate"}
    assert first.misclassified
    assert len(second.exchanges) == len(first.misclassified)
    assert {row.provenance.round for row in second.added} == {1}


@pytest.mark.parametrize("name", ["examples", "misclassified", "../rows", "", "a b"])
def test_a_note_takes_no_file_of_the_run(name):
    with pytest.raises(ValueError, match="cannot name a file of notes"):
        Written().note(name, row="x")


def test_a_row_that_no_request_wrote_has_a_note_without_more():
    written = Written(rows=[Example("a text", "a")])
    written.note_rows("topics")
    assert written.notes == {"topics": [{"request": ""}]}
