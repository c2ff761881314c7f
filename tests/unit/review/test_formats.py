"""Files of Label Studio and Argilla: what is sent, and what comes back, read strictly."""

import json
from xml.etree import ElementTree

import pytest

from stepsynth.errors import DataError
from stepsynth.review.decisions import History
from stepsynth.review.formats import export_rows, import_rows, labelling_interface
from stepsynth.review.table import Table
from tests.unit.review.subject import make_run
from tests.unit.review.test_page import history_of

TOOLS = ("label-studio", "argilla")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Table.read(make_run(tmp_path_factory.mktemp("run") / "run", hostile=True))


def exported(table, tool, path, history=None):
    number = export_rows(table, history or History(), tool, path)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert number == len(rows) == len(table.rows)
    return rows


def answered(tool, row, **answers):
    """Return an exported row as the tool gives it back, with the answers of one annotator."""
    if tool == "argilla":
        given = {name: [{"value": v, "user_id": "ada"}] for name, v in answers.items()}
        return row | {"responses": given, "status": "completed", "_server_id": "s"}
    kinds = {"label": "choices", "verdict": "choices", "edited": "textarea"}
    results = [
        {
            "id": f"r-{name}",
            "from_name": name,
            "to_name": "text",
            "type": kinds[name],
            "origin": "manual",
            "value": {"text" if name == "edited" else "choices": [value]},
        }
        for name, value in answers.items()
    ]
    made = {"id": 7, "completed_by": 1, "was_cancelled": False, "ground_truth": False}
    more = {"id": 1, "project": 1, "created_at": "2026-01-01T00:00:00Z", "file_upload": "x.json"}
    return row | more | {"annotations": [made | {"result": results}]}


def write(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_a_task_of_label_studio_has_what_its_documentation_says(table, tmp_path):
    task = exported(table, "label-studio", tmp_path / "x.json")[0]
    row = next(iter(table.rows.values()))
    assert task["data"] == {"row": row.id, "text": row.example.text, "round": 0}
    (prediction,) = task["predictions"]
    assert prediction["model_version"] == "stepsynth"
    label, verdict, edited = prediction["result"]
    shared = {"to_name": "text"}
    assert label == {
        **shared,
        "from_name": "label",
        "type": "choices",
        "value": {"choices": [row.example.label]},
    }
    assert (verdict["type"], verdict["value"]) == ("choices", {"choices": ["keep"]})
    assert (edited["type"], edited["value"]) == ("textarea", {"text": [row.example.text]})
    root = ElementTree.fromstring(labelling_interface(table))
    named = {each.get("name"): each for each in root if each.get("name")}
    assert {each["from_name"] for each in prediction["result"]} <= set(named)
    assert [each.get("value") for each in named["label"]] == ["apple", "pear"]


def test_a_record_of_argilla_has_what_from_json_reads(table, tmp_path):
    record = exported(table, "argilla", tmp_path / "x.json")[0]
    row = next(iter(table.rows.values()))
    assert record["id"] == row.id
    assert record["fields"] == {"text": row.example.text}
    assert set(record) == {"id", "fields", "metadata", "suggestions", "responses", "vectors"}
    agent = {"score": None, "agent": "stepsynth"}
    assert record["suggestions"]["label"] == {"value": row.example.label, **agent}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_annotators_decide_comes_back_and_counts_once(table, tool, tmp_path):
    rows = exported(table, tool, tmp_path / "x.json")
    texts = [row.example.text for row in table.rows.values()]
    other = {"apple": "pear", "pear": "apple"}
    labels = [row.example.label for row in table.rows.values()]
    rows[0] = answered(tool, rows[0], verdict="reject", label=labels[0])
    rows[1] = answered(tool, rows[1], label=other[labels[1]], edited=texts[1], verdict="keep")
    rows[2] = answered(tool, rows[2], label=labels[2], edited="a better text")
    rows[3] = answered(tool, rows[3], label=labels[3])
    back = write(tmp_path / "back.json", rows)
    history = History()
    made = import_rows(back, table, history)
    assert [each.what for each in made] == ["reject", "relabel", "edit", "keep"]
    assert [each.row for each in made] == list(table.rows)[:4]
    assert made[0].after is None
    assert (made[1].after.text, made[1].after.label) == (texts[1], other[labels[1]])
    assert (made[2].after.text, made[2].after.label) == ("a better text", labels[2])
    for each in made:
        history.add(each)
    assert not any(history.add(each) for each in import_rows(back, table, history))
    again = exported(table, tool, tmp_path / "again.json", history)
    assert json.dumps("a better text") in json.dumps(again[2])


@pytest.mark.parametrize("tool", TOOLS)
def test_what_was_sent_and_not_answered_decides_nothing(table, tool, tmp_path):
    exported(table, tool, tmp_path / "x.json")
    assert import_rows(tmp_path / "x.json", table, History()) == []


def test_a_record_of_argilla_that_is_pending_has_drafts_and_discarded_answers_alone(
    table, tmp_path
):
    # `to_json` of argilla 2.8 keeps value and user_id of an answer, not its status.
    rows = exported(table, "argilla", tmp_path / "x.json")
    rows[0] = answered("argilla", rows[0], verdict="reject") | {"status": "pending"}
    rows[1] = answered("argilla", rows[1], verdict="reject")
    (made,) = import_rows(write(tmp_path / "back.json", rows), table, History())
    assert made.row == rows[1]["id"]


def test_a_row_that_is_rejected_is_suggested_as_such(table, tmp_path):
    history = history_of(table, (next(iter(table.rows)), {"what": "reject"}))
    record = exported(table, "argilla", tmp_path / "x.json", history)[0]
    assert record["suggestions"]["verdict"]["value"] == "reject"
    (sent,) = exported(table, "label-studio", tmp_path / "y.json", history)[0]["predictions"]
    assert sent["result"][1]["value"] == {"choices": ["reject"]}


@pytest.mark.parametrize("tool", TOOLS)
def test_lines_of_json_are_read_too(table, tool, tmp_path):
    rows = exported(table, tool, tmp_path / "x.json")
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(answered(tool, rows[0], verdict="reject")) + "\n")
    assert [each.what for each in import_rows(path, table, History())] == ["reject"]


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"label": "plum"}, "the label is 'plum'"),
        ({"verdict": "maybe"}, "the verdict is 'maybe'"),
        ({"edited": "   "}, "an edited text must not be empty"),
        ({"edited": "\x07"}, "an edited text must not be empty"),
        ({"label": 7}, "label is 7"),
    ],
)
def test_an_answer_that_cannot_be_used_is_named(table, tool, answers, said, tmp_path):
    rows = exported(table, tool, tmp_path / "x.json")
    rows[1] = answered(tool, rows[1], **answers)
    with pytest.raises(DataError) as caught:
        import_rows(write(tmp_path / "back.json", rows), table, History())
    assert f"{tmp_path / 'back.json'}, row 1: {said}" in caught.value.message


def test_annotators_who_disagree_are_named_and_ground_truth_decides(table, tmp_path):
    row = exported(table, "label-studio", tmp_path / "x.json")[0]
    both = answered("label-studio", row, label="apple")
    both["annotations"] += answered("label-studio", row, label="pear")["annotations"]
    with pytest.raises(DataError, match="annotators disagree"):
        import_rows(write(tmp_path / "back.json", [both]), table, History())
    both["annotations"][1]["ground_truth"] = True
    (made,) = import_rows(write(tmp_path / "back.json", [both]), table, History())
    assert made.after.label == "pear"
    both["annotations"][1]["was_cancelled"] = True
    (made,) = import_rows(write(tmp_path / "back.json", [both]), table, History())
    assert made.after.label == "apple"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["data"].pop("row"), "this run has no row"),
        (lambda row: row.pop("id") and row["data"].pop("row"), "its id is missing"),
        (lambda row: row["data"].update(row="other"), "this run has no row 'other'"),
    ],
)
def test_a_row_of_another_run_is_named(table, change, said, tmp_path):
    row = exported(table, "label-studio", tmp_path / "x.json")[0]
    row = answered("label-studio", row, label="apple") | {"id": "1"}
    change(row)
    with pytest.raises(DataError, match=said):
        import_rows(write(tmp_path / "back.json", [row]), table, History())


def test_a_row_that_comes_twice_is_named(table, tmp_path):
    row = exported(table, "argilla", tmp_path / "x.json")[0]
    row = answered("argilla", row, label="apple")
    with pytest.raises(DataError, match="was there before"):
        import_rows(write(tmp_path / "back.json", [row, row]), table, History())


def test_what_is_exported_is_the_row_as_it_is_now(table, tmp_path):
    row = next(iter(table.rows))
    history = history_of(table, (row, {"what": "edit", "text": "now"}))
    record = exported(table, "argilla", tmp_path / "x.json", history)[0]
    assert record["fields"]["text"] == "now"
