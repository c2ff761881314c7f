"""What a reviewer asks for becomes decisions, or an answer that says what was expected."""

import json

import pytest

from stepsynth.data import read_decisions
from stepsynth.review.deciding import BadRequestError, decide, undo, write_gold_decisions
from stepsynth.review.decisions import History
from stepsynth.review.table import Table
from tests.unit.review.subject import make_run


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Table.read(make_run(tmp_path_factory.mktemp("run") / "run"))


def ask(table, history, row, what, number=0, **more):
    given = {"id": f"decision-{number}", "data": "synthetic", "row": row, "what": what, **more}
    made = decide(given, table, history)
    for each in made:
        history.add(each)
    return made


def test_each_kind_of_decision_has_the_row_before_and_after(table):
    row, history = next(iter(table.rows.values())), History()
    was = (row.example.text, row.example.label)
    (made,) = ask(table, history, row.id, "edit", 1, text="  cafe\u0301 \u00fc ", why=" short ")
    assert (made.before.text, made.before.label) == was
    assert (made.after.text, made.after.label) == ("  caf\u00e9 \u00fc ", was[1])
    assert made.why == "short"
    (made,) = ask(table, history, row.id, "relabel", 2, label="pear")
    assert (made.before.text, made.after.text) == ("  caf\u00e9 \u00fc ",) * 2
    assert made.after.label == "pear"
    (made,) = ask(table, history, row.id, "reject", 3)
    assert made.after is None
    (made,) = ask(table, history, row.id, "keep", 4)
    assert (made.after.text, made.after.label) == was, "as the run has it"


def test_a_repeated_request_makes_the_same_decisions(table):
    rows, history = list(table.rows), History()
    made = ask(table, history, rows[0], "reject")
    assert ask(table, history, rows[0], "reject") == made
    assert ask(table, history, rows[1], "keep") == made, "the id is the decision"


def test_the_same_for_the_other_rows_of_an_error_is_one_decision(table):
    error, history = next(each for each in table.errors if len(each.rows) > 2), History()
    made = ask(table, history, error.rows[1].id, "relabel", label="pear", same=True)
    assert {each.row for each in made} == {row.id for row in table.siblings(error.rows[0].id)}
    assert {each.id for each in made} == {"decision-0"}
    undone = undo({"id": "decision-9"}, history)
    assert {(each.row, each.undoes) for each in undone} == {(e.row, "decision-0") for e in made}
    for each in undone:
        history.add(each)
    assert list(history.all("synthetic")) == []
    assert undo({"id": "decision-9"}, history) == undone, "a repeated undo undoes nothing else"
    with pytest.raises(BadRequestError, match="nothing to undo"):
        undo({"id": "decision-10"}, history)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, '"id"'),
        ({"id": "../../etc/passwd"}, '"id"'),
        ({"id": "x" * 65}, '"id"'),
        ({"row": "nobody"}, "no such row"),
        ({"row": ["r"]}, '"row"'),
        ({"data": "test"}, '"data"'),
        ({"what": "burn"}, "expected keep"),
        ({"what": None}, "expected keep"),
        ({"what": "relabel", "label": "plum"}, "no label of the task"),
        ({"what": "relabel", "label": ["pear"]}, "no label of the task"),
        ({"what": "edit"}, "must not be empty"),
        ({"what": "edit", "text": "  "}, "must not be empty"),
        ({"what": "edit", "text": "\x07\u200b"}, "must not be empty"),
        ({"what": "edit", "text": "x", "same": True}, "only keep, reject and relabel"),
        ({"why": "x" * 501}, "at most 500"),
        ({"why": 7}, "at most 500"),
    ],
)
def test_what_cannot_be_meant_is_refused(table, change, said):
    row = next(iter(table.rows))
    given = {"id": "decision-1", "data": "synthetic", "row": row, "what": "keep"} | change
    with pytest.raises(BadRequestError) as caught:
        decide(given, table, History())
    assert said in str(caught.value)


def test_an_edited_text_may_hold_what_texts_of_a_run_do_and_what_is_pasted(table):
    row = next(iter(table.rows))
    given = {"id": "decision-1", "data": "synthetic", "row": row, "what": "edit"}
    for text, kept in (("it\x92s an apple", "it\x92s an apple"), ("one\x0b two\x00", "one two")):
        made = decide(given | {"text": text}, table, History())
        assert made[0].after.text == kept


def test_decisions_on_gold_rows_are_those_of_an_audit(table, tmp_path):
    history, path = History(), tmp_path / "gold-decisions.jsonl"
    first, second, third = list(table.gold.items())[:3]
    other = {"apple": "pear", "pear": "apple"}[second[1].label]
    ask(table, history, first[0], "reject", 1, data="gold", why="spam")
    ask(table, history, second[0], "relabel", 2, data="gold", label=other)
    ask(table, history, third[0], "keep", 3, data="gold")
    write_gold_decisions(path, table, history)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["decision"] for line in lines] == ["drop", other, "keep"]
    assert lines[0]["reason"] == "spam"
    key = lambda row: (row.text, None, row.label)  # noqa: E731
    wanted = {key(first[1]): "drop", key(second[1]): other}
    assert read_decisions(str(path), table.labels) == wanted
    with pytest.raises(BadRequestError):
        ask(table, history, first[0], "edit", 4, data="gold", text="x")
    for number in range(3):
        for each in undo({"id": f"undoing-{number}"}, history):
            history.add(each)
    write_gold_decisions(path, table, history)
    assert not path.exists()


def test_gold_rows_of_a_label_that_is_a_decision_are_left_alone(table):
    from dataclasses import replace

    gold, odd = next(iter(table.gold)), replace(table, labels=("keep", "other"))
    with pytest.raises(BadRequestError, match="cannot be told from the decision"):
        ask(odd, History(), gold, "keep", data="gold")
