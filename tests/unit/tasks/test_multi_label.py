"""Rows of several labels: reading, prompts that name the whole set, answers, scores."""

from collections import Counter
from random import Random

import pytest
from pydantic import ValidationError

from stepsynth.data import read_file, read_records
from stepsynth.errors import DataError
from stepsynth.records import Dataset, Example, LabelSet, Rejected
from stepsynth.tasks.multi_label import MultiLabel

TASK = MultiLabel(
    instruction="Decide what a message to the city is about.",
    text_name="message",
    labelled_name="message about {label}",
    labels={"p": "parking", "w": "waste and bins", "n": "noise"},
)
COLUMNS = {"text": "text"}


def sets(*texts):
    return [LabelSet.parse(text) for text in texts]


def read(*labels):
    rows = [{"text": f"message {i}", "label": label} for i, label in enumerate(labels)]
    return [row.label for row in read_records(rows, TASK, {}, name="gold")]


def test_labels_are_a_list_or_a_text_and_stand_in_the_tasks_order():
    assert read(["n", "p"], ("w",), "n|p", " n | p ", '["n", "p"]', ["p", "p"]) == sets(
        "p|n", "w", "p|n", "p|n", "p|n", "p"
    )


def test_a_row_may_have_no_label():
    assert read([], "", "(none)", "[]") == [LabelSet(())] * 4
    with pytest.raises(DataError, match=r"row 0: 'message 0' has no labels; \[\] says that none"):
        read(None)


def test_a_column_for_each_label_says_whether_it_applies(tmp_path):
    path = tmp_path / "gold.csv"
    path.write_text("text,is_p,w,n\nfirst,1,0,true\nsecond,0,0,0\n", encoding="utf-8")
    found = read_file(path, TASK, {"p": "is_p"})
    assert [row.label for row in found] == sets("p|n", "(none)")
    path.write_text("text,is_p,w,n\nfirst,1,0,true\nsecond,0,often,0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"gold.csv, line 3: the column of 'w' .* 'often'"):
        read_file(path, TASK, {"p": "is_p"})


def test_what_is_wrong_with_labels_is_said_with_its_place(tmp_path):
    path = tmp_path / "gold.jsonl"
    path.write_text('{"text": "x", "label": ["p"]}\n{"text": "y", "label": ["p", "nois"]}\n')
    with pytest.raises(DataError, match=r"gold.jsonl, line 2: the label 'nois' .* none of the"):
        read_file(path, TASK, {})
    path.write_text('{"text": "x", "label": "p, w"}\n')
    with pytest.raises(DataError, match=r"line 1: the label 'p, w' .* or have \| between them"):
        read_file(path, TASK, {})
    path.write_text('{"text": "x", "p": 1}\n')
    with pytest.raises(DataError, match=r"line 1: the row has neither .*such as 'w'"):
        read_file(path, TASK, {})


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = Dataset(Example(f"t {i}", label) for i, label in enumerate(sets("p|n", "(none)")))
    rows.to_jsonl(tmp_path / "rows.jsonl")
    assert list(read_file(tmp_path / "rows.jsonl", TASK, {})) == list(rows)
    assert [Example.from_dict(row) for row in rows.to_dicts()] == list(rows)
    assert list(read_records(rows, TASK, {"label": "topics"}, name="rows")) == list(rows)
    assert rows.label_counts() == {"p": 1, "n": 1}


@pytest.mark.parametrize("label", ["a|b", "(none)"])
def test_a_label_that_a_set_could_not_hold_is_refused(label):
    with pytest.raises(ValidationError, match="stands between the labels of a row"):
        MultiLabel(labels=[label, "c"])


def test_a_phrase_for_each_label_is_refused():
    with pytest.raises(ValidationError, match="one phrase is needed"):
        MultiLabel(labels=["a", "b"], labelled_name={"a": "x", "b": "y"})


def test_prompts_name_all_labels_of_the_set():
    (both, nothing) = sets("p|n", "(none)")
    whole = "message about parking and also noise, all in the same message"
    assert whole in TASK.rationale_prompt("p|n", 5)
    assert whole in TASK.seed_prompt(Example("", both), ["one"])
    assert whole in TASK.extrapolation_prompt(Example("too loud", both))
    none = "one message about something other than parking, waste and bins or noise"
    assert f"Write {none}." in TASK.seed_prompt(Example("", nothing))
    single = TASK.seed_prompt(Example("", LabelSet(("w",))))
    assert "Write one message about waste and bins." in single


def test_labels_occur_together_as_in_gold():
    gold = [*sets("p|n") * 3, *sets("w")]
    drawn = Counter(str(TASK.draw_label(rng, gold)) for rng in [Random(0)] for _ in range(400))
    assert drawn.keys() == {"p|n", "w"}
    assert drawn["p|n"] == pytest.approx(300, abs=40)


def test_without_gold_sets_have_one_label_or_two():
    drawn = Counter(str(TASK.draw_label(rng)) for rng in [Random(0)] for _ in range(400))
    assert drawn.keys() == {"p", "w", "n", "p|w", "p|n", "w|n"}


def test_the_commonest_sets_are_explained_first():
    assert TASK.explained_labels(sets("w", "p|n", "p|n", "(none)")) == ("p|n", "w")
    assert TASK.explained_labels([]) == ("n", "p", "w")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('{"labels": ["parking", "noise"]}', "p|n"),
        ('["noise", "parking", "noise"]', "p|n"),
        ('Both apply.\n{"labels": ["noise"]}', "n"),
        ('{"labels": "parking, waste and bins"}', "p|w"),
        ('{"class": ["noise"], "why": "It is loud."}', "n"),
        ("parking, noise", "p|n"),
        ("Labels: Parking and noise.", "p|n"),
        ("- waste and bins\n- parking", "p|w"),
        ("waste and bins", "w"),
        ('{"labels": []}', "(none)"),
        ("None of these.", "(none)"),
        ('{"labels": ["none"]}', "(none)"),
        ('{"labels": ["zebra", "noise"]}', "n"),
    ],
)
def test_an_answer_that_lists_labels(said, found):
    assert TASK.parse_decision(said, Example("x", ""), truncated=False) == LabelSet.parse(found)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "no_labels"),
        ("The message is about parking, I think.", "no_labels"),
        ('{"labels": ["zebra"]}', "no_labels"),
        ('{"labels": ["parking", "noi', "no_labels"),
        ('{"labels": {"parking": true}}', "no_labels"),
        ("[" * 50_000, "no_labels"),
        ('["parking", ' * 20_000, "too_large"),
        ("parking, " * 5_000, "no_labels"),
        ("I'm sorry, but I cannot help with that.", "refusal"),
    ],
)
def test_an_answer_that_lists_none_is_rejected(said, reason):
    found = TASK.parse_decision(said, Example("x", ""), truncated=False)
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_a_list_that_was_cut_off_does_not_count():
    said = "parking, noise"
    assert isinstance(TASK.parse_decision(said, Example("x", ""), truncated=True), Rejected)
    whole = '{"labels": ["parking"]} and'
    assert TASK.parse_decision(whole, Example("x", ""), truncated=True) == LabelSet(("p",))


def test_only_the_whole_set_is_right():
    row = Example("x", LabelSet(("p", "n")))
    assert [TASK.is_correct(row, said) for said in ("p|n", "p", "p|w|n", "(none)")] == [
        True,
        False,
        False,
        False,
    ]
