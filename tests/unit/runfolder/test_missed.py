"""A mining row that a model gets wrong: of a set, what was missed and what is too many."""

from stepsynth.records import Example, LabelSet
from stepsynth.runfolder.rows import MissedRow


def test_a_set_says_what_was_missed_and_what_is_too_many():
    missed = MissedRow(Example("x", LabelSet(("a", "b"))), "b|c")
    row = missed.to_dict()
    assert (row["label"], row["predicted"]) == (["a", "b"], "b|c")
    assert (row["missed"], row["too_many"]) == (["a"], ["c"])
    assert MissedRow.from_dict(row) == missed
    nothing = MissedRow(Example("x", LabelSet(())), "a")
    assert nothing.differences == {"missed": [], "too_many": ["a"]}


def test_a_label_alone_says_nothing_of_the_kind():
    row = MissedRow(Example("x", "a"), "b").to_dict()
    assert row.keys() == {"id", "text", "label", "predicted"}
