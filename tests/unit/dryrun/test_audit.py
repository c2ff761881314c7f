"""The audit of gold rows, and the decisions that follow it."""

import json
import random

import pytest

from stepsynth.data import apply_decisions, read_decisions
from stepsynth.dryrun import audit
from stepsynth.errors import ConfigError, DataError
from stepsynth.inputs import prepare
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory
from stepsynth.students.linear import Linear
from tests.rehearsed import configured, fruit_rows

WORDS = {
    "apple": ["sweet", "crisp", "red", "round", "shiny"],
    "pear": ["soft", "long", "green", "juicy", "bent"],
}


def fruit(number, seed=0):
    rng = random.Random(seed)
    found = []
    for i in range(number):
        label = ("apple", "pear")[i % 2]
        text = " ".join([*rng.choices(WORDS[label], k=4), f"x{seed}n{i}"])
        found.append(Example(text, label))
    return found


def doubts_of(rows, warnings=None, labels=("apple", "pear")):
    factory = StudentFactory(Linear(), labels, 0)
    return audit(Dataset(rows), factory, (warnings if warnings is not None else []).append)


def flip(row):
    return Example(row.text, "pear" if row.label == "apple" else "apple")


def test_flipped_labels_are_found_with_the_label_they_had():
    rows = fruit(100)
    flipped = set(random.Random(1).sample(range(100), 10))
    given = [flip(row) if i in flipped else row for i, row in enumerate(rows)]
    found = [doubt for doubt in doubts_of(given) if doubt.kind == "wrong_label"]
    right = {given[i].id: rows[i].label for i in flipped}
    hits = [doubt for doubt in found if doubt.row.id in right]
    assert len(hits) >= 7
    assert len(hits) >= len(found) / 2
    assert all(doubt.suggested == right[doubt.row.id] for doubt in hits)
    assert all("students of the other rows give" in doubt.reason for doubt in hits)


def test_a_row_is_doubted_once():
    rows = [*fruit(40), Example("same text here", "apple"), Example("same text here", "pear")]
    ids = [doubt.row.id for doubt in doubts_of(rows)]
    assert len(ids) == len(set(ids))


def test_labels_that_words_do_not_tell_are_not_called_wrong():
    rng = random.Random(0)
    rows = [
        Example("".join(rng.choices("abcdefghijklmnop", k=14)), rng.choice(["apple", "pear"]))
        for _ in range(60)
    ]
    warnings: list[str] = []
    assert not [doubt for doubt in doubts_of(rows, warnings) if doubt.kind == "wrong_label"]
    assert any("no better than the commonest label" in said for said in warnings)


def test_few_rows_are_looked_through_for_contradictions_alone():
    warnings: list[str] = []
    rows = [Example("one two three four", "apple"), Example("one two three four", "pear")]
    assert {doubt.kind for doubt in doubts_of(rows, warnings)} == {"contradiction"}
    assert any("no other text has the label 'apple', 'pear'" in said for said in warnings)
    assert any("fewer than two labels" in said for said in warnings)
    one_label: list[str] = []
    assert not doubts_of([row for row in fruit(20) if row.label == "apple"], one_label)
    assert any("fewer than two labels" in said for said in one_label)


def test_a_label_with_a_single_text_stops_no_search_for_wrong_labels():
    warnings: list[str] = []
    right = fruit(60)
    rows = [flip(right[0]), *right[1:], Example("a quince, yellow and hard", "quince")]
    found = doubts_of(rows, warnings, labels=("apple", "pear", "quince"))
    assert "wrong_label" in {doubt.kind for doubt in found}
    assert "quince" not in {doubt.row.label for doubt in found}
    assert any("label 'quince'" in said for said in warnings)


def test_answers_cannot_be_doubted():
    with pytest.raises(ConfigError, match="answers"):
        audit(Dataset(), StudentFactory(Linear(), (), 0), print)


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_decisions_drop_and_relabel_rows_of_each_part(tmp_path):
    gold = Dataset([Example("a", "apple"), Example("b", "apple"), Example("c", "pear")])
    select = Dataset([Example("d", "pear")])
    file = write(
        tmp_path / "audit.jsonl",
        {"text": "a", "label": "apple", "decision": "drop"},
        {"text": "b", "label": "apple", "decision": "pear"},
        {"text": "c", "label": "pear", "decision": "keep"},
        {"text": "d", "label": "pear", "decision": ""},
        {"text": "gone", "label": "pear", "decision": "drop"},
    )
    said: list[str] = []
    found = apply_decisions([gold, select], read_decisions(file, ["apple", "pear"]), said.append)
    assert [[(row.text, row.label) for row in part] for part in found] == [
        [("b", "pear"), ("c", "pear")],
        [("d", "pear")],
    ]
    assert said == [
        "data.decisions: gold rows dropped 1, relabelled 1; 1 decisions are about no row of mine "
        "or select"
    ]


def decided(folder, decide, *overrides):
    """Return the inputs of a run whose file of decisions has one for each gold row."""
    rows = [{**row, "decision": decide(i, row)} for i, row in enumerate(fruit_rows(96))]
    folder.mkdir()
    write(folder / "decisions.jsonl", *rows)
    named = f"data.decisions={folder / 'decisions.jsonl'}"
    said: list[str] = []
    return prepare(configured(folder, "classification", named, *overrides), said.append), said


def test_rows_that_are_mined_and_selected_on_are_not_held_out_for_decisions(tmp_path):
    """In the paper's own splits; and a decision on a row counts once."""
    splits = ("data.paper_splits=true", "data.split={test: 24}")
    prepared, said = decided(tmp_path / "a", lambda i, _: "drop" if i < 20 else "", *splits)
    mine = prepared.gold.mine
    assert prepared.gold.select == mine
    assert all(prepared.inputs.gate.admits(row) for row in mine)
    all_of_mine = decided(tmp_path / "b", lambda *_: "", *splits)[0].gold.mine
    dropped = len(all_of_mine) - len(mine)
    assert any(f"data.decisions: gold rows dropped {dropped}, " in each for each in said)


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (lambda *_: "drop", "the mine split has no row"),
        (lambda _, row: "drop" if row["label"] == "a" else "", "has only the label 'p'"),
        (lambda *_: "p", "has only the label 'p'"),
    ],
)
def test_decisions_that_leave_fewer_than_two_labels_are_an_error(tmp_path, decide, message):
    with pytest.raises(DataError, match=message) as caught:
        decided(tmp_path / "task", decide)
    is_dropped = "a decision in data.decisions" in str(caught.value.hint)
    assert is_dropped == (decide(1, {"label": "a"}) == "drop")


def test_a_label_that_decisions_have_removed_is_warned_of_once(tmp_path):
    labels = "task.labels={a: apple, p: pear, q: plum, r: melon}"
    for row in (rows := fruit_rows(96))[:40]:
        row["label"] = "q"
    gold = write(tmp_path / "own.jsonl", *rows)
    drop = write(tmp_path / "drop.jsonl", *({**row, "decision": "drop"} for row in rows[:40]))
    named = (labels, f"data.gold={gold}", f"data.decisions={drop}")
    said: list[str] = []
    prepare(configured(tmp_path, "classification", *named), said.append)
    lacking = [each for each in said if each.startswith("the mine split")]
    assert lacking == [
        "the mine split has no row with the label 'r'",
        "the mine split has no row with the label 'q', 'r'",
    ]


def test_decisions_may_have_the_encoding_that_the_task_file_names(tmp_path):
    rows = [f"café {i},{'ap'[i % 2]}" for i in range(48)]
    gold, edited = tmp_path / "own.csv", tmp_path / "edited.csv"
    gold.write_text("\n".join(["text,label", *rows]), encoding="cp1252")
    drop = [f"{row},drop" for row in rows[:6]]
    edited.write_text("\n".join(["text,label,decision", *drop]), encoding="cp1252")
    named = (f"data.gold={gold}", f"data.decisions={edited}", "data.encoding=cp1252")
    said: list[str] = []
    own = configured(tmp_path, "classification", "data.split={test: 8, select: 8}", *named)
    kept = prepare(own, said.append).gold
    assert not {f"café {i}" for i in range(6)}.intersection(kept.mine.texts + kept.select.texts)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a", "label": "apple", "decision": "pearr"}, "line 1: the decision is 'pearr'"),
        ({"label": "apple", "decision": "drop"}, "line 1: not a decision"),
        (["a", "apple"], "line 1: not a decision"),
        ({"text": ["a"], "label": "apple", "decision": "drop"}, "line 1: not a decision"),
        ({"text": "a", "label": "apple", "Decision": "drop"}, "line 1: not a decision"),
        ({"text": "a", "label": "apple", "decision": 0}, "line 1: the decision is '0'"),
    ],
)
def test_a_line_that_is_no_decision_is_named(tmp_path, row, message):
    with pytest.raises(DataError, match=rf"audit\.jsonl, {message}"):
        read_decisions(write(tmp_path / "audit.jsonl", row), ["apple", "pear"])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.jsonl"):
        read_decisions(str(tmp_path / "none.jsonl"), ["apple"])


def test_labels_that_are_decisions_are_refused(tmp_path):
    file = write(tmp_path / "audit.jsonl", {"text": "a", "label": "keep", "decision": "drop"})
    with pytest.raises(DataError, match="cannot be told from the decision"):
        read_decisions(file, ["keep", "drop"])


def test_two_decisions_on_one_row_are_refused(tmp_path):
    lines = [{"text": "a", "label": "apple", "decision": said} for said in ("drop", "keep")]
    with pytest.raises(DataError, match="line 2: the decision is 'keep', but 'drop'"):
        read_decisions(write(tmp_path / "audit.jsonl", *lines), ["apple", "pear"])


def test_a_file_that_another_editor_saved_is_read(tmp_path):
    line = json.dumps(
        {"text": "a\u2028b", "label": "apple", "decision": "drop"}, ensure_ascii=False
    )
    file = tmp_path / "audit.jsonl"
    file.write_text(f"{line}\r\n\r\n", encoding="utf-8-sig")
    found = read_decisions(str(file), ["apple", "pear"])
    assert found == {("a\u2028b", None, "apple"): "drop"}


def test_a_contradiction_needs_no_equal_signs_or_capitals():
    pair = ["the quick, brown fox, jumps over it", "The quick brown fox jumps over it!"]
    rows = [*fruit(20), Example(pair[0], "apple"), Example(pair[1], "pear")]
    found = {doubt.row.text for doubt in doubts_of(rows)}
    assert found >= set(pair)


def test_keep_and_the_label_of_the_row_are_one_decision(tmp_path):
    row = {"text": "a", "label": "apple"}
    said = ("keep", "apple", "")
    file = write(tmp_path / "audit.jsonl", *({**row, "decision": each} for each in said))
    assert read_decisions(file, ["apple", "pear"]) == {}


@pytest.mark.parametrize(
    ("row", "named", "decision"),
    [
        ({"text": "e\u0301te\u0301", "label": "a"}, ("\xe9t\xe9", None, "a"), "drop"),  # macOS
        ({"text": "x", "label": True}, ("x", None, "true"), " drop "),  # spreadsheets
        ({"text": "x", "label": 1.0, "context": ""}, ("x", None, "1"), "drop"),
        ({"text": "x", "label": " a ", "context": "c"}, ("x", "c", "a"), "drop"),
        ({"text": "x", "label": "a"}, ("x", None, "a"), True),
    ],
)
def test_decisions_are_read_as_gold_is(tmp_path, row, named, decision):
    file = write(tmp_path / "audit.jsonl", {**row, "decision": decision})
    wanted = "true" if decision is True else "drop"
    assert read_decisions(file, ["a", "true", "1"]) == {named: wanted}
