"""The lines of review.jsonl: what counts of them, and what is no decision."""

import json

import pytest

from stepsynth.errors import RunFolderError
from stepsynth.review.decisions import Decision, History, read_review

BEFORE = {"text": "a text", "label": "a"}


def line(number=1, row="r1", what="keep", **more):
    made = {"id": f"decision-{number}", "time": "2026-01-01T00:00:00+00:00", "data": "synthetic"}
    made |= {"row": row, "what": what}
    if what != "undo":
        made |= {"before": BEFORE, "after": None if what == "reject" else BEFORE}
    return made | more


def decision(*args, **more):
    return Decision.model_validate(line(*args, **more))


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_last_word_on_a_row_wins(tmp_path):
    better = {"text": "better", "label": "a"}
    rows = [line(1), line(2, what="reject"), line(3, "r2"), line(4, what="edit", after=better)]
    history = read_review(write(tmp_path / "review.jsonl", *rows))
    assert history.on("synthetic", "r1").after.text == "better"
    assert history.on("synthetic", "r2").what == "keep"
    assert history.on("gold", "r1") is None
    assert [each.id for each in history.all("synthetic")] == ["decision-4", "decision-3"]
    assert history.last == "decision-4"


def test_without_a_file_nothing_is_decided(tmp_path):
    history = read_review(tmp_path / "review.jsonl")
    assert list(history.all("synthetic")) == []
    assert history.last is None


def test_an_undo_brings_the_decision_before_back_and_may_be_repeated():
    history = History([decision(1), decision(2, what="reject")])
    undo = decision(3, what="undo", undoes="decision-2")
    assert history.add(undo)
    assert history.on("synthetic", "r1").id == "decision-1"
    assert history.last == "decision-1"
    assert not history.add(undo), "the same line again"
    assert history.add(decision(4, what="undo", undoes="decision-2")), "from another tab"
    assert history.on("synthetic", "r1").id == "decision-1"
    history.add(decision(5, what="undo", undoes="decision-1"))
    assert history.on("synthetic", "r1") is None
    assert (list(history.all("synthetic")), history.last) == ([], None)


def test_a_decision_of_several_rows_has_one_id_and_a_repeated_line_counts_once():
    history = History()
    assert history.add(decision(1, "r1", "reject"))
    assert history.add(decision(1, "r2", "reject"))
    assert not history.add(decision(1, "r1", "reject"))
    assert [each.row for each in history.of_id("decision-1")] == ["r1", "r2"]
    assert len(list(history.all("synthetic"))) == 2


def test_the_digest_is_of_what_counts():
    first = History([decision(1), decision(2, "r2", "reject")])
    other = History([decision(7, "r2"), decision(8, "r2", "reject"), decision(9, "r1")])
    assert first.digest() == other.digest()
    other.add(decision(10, what="undo", undoes="decision-9"))
    assert first.digest() != other.digest()
    gold = decision(11, "g", data="gold")
    before = first.digest()
    first.add(gold)
    assert first.digest() == before, "gold rows are not trained on here"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{oops", "JSON"),
        ([], "object"),
        (line(what="burn"), "what"),
        (line(extra=1), "extra"),
        (line(id=""), "id"),
        (line(id=7), "id"),
        ({**line(), "after": None}, "`after` must be a row"),
        ({**line(what="reject"), "after": BEFORE}, "`after` must be null"),
        ({**line(), "before": None}, "`before` is missing"),
        ({**line(), "after": {"text": "", "label": "a"}}, "after.text"),
        ({**line(), "after": {"label": "a"}}, "after.text"),
        (line(what="undo"), "`undoes`"),
        (line(undoes="decision-0"), "`undoes`"),
        (line(what="undo", undoes="decision-0"), "no decision on this row"),
        (line(what="edit", data="gold"), "gold text cannot be edited"),
        (line(why="x" * 3_000), "why"),
    ],
)
def test_a_line_that_is_no_decision_is_named(tmp_path, row, said):
    text = row if isinstance(row, str) else json.dumps(row)
    path = tmp_path / "review.jsonl"
    path.write_text(json.dumps(line(9)) + "\n" + text + "\n", encoding="utf-8")
    with pytest.raises(RunFolderError) as caught:
        read_review(path)
    assert f"{path}, line 2: not a decision" in caught.value.message
    assert said in caught.value.message


def test_a_line_says_no_more_than_it_has_to():
    assert decision(1).to_dict() == line(1)
    assert decision(1, what="reject").to_dict() == line(1, what="reject")
    assert decision(2, what="undo", undoes="x").to_dict() == line(2, what="undo", undoes="x")
