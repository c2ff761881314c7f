"""Decisions applied to rows: order, weights, gold rows, and the counts."""

import pytest

from stepsynth.records import Answers, Dataset, Example, Provenance
from stepsynth.review.apply import apply_review, change
from stepsynth.review.decisions import Decision, History, Version
from stepsynth.run_records import Reviewed

ORIGIN = Provenance("s3", 1, "extrapolate", ("g",), request="q")


def row(text, label="a"):
    return Example(text, label, provenance=ORIGIN)


def decide(example, after):
    what = "reject" if after is None else "edit"
    version = after and Version(text=after[0], label=after[1])
    return Decision(
        id=f"id-{example.id}",
        time="",
        data="synthetic",
        row=example.id,
        what=what,
        before=Version.of(example),
        after=version,
    )


ROWS = Dataset(row(text) for text in ("one", "two", "three", "four", "five"))
ONE, TWO, THREE, FOUR, FIVE = ROWS
HISTORY = History(
    [
        decide(ONE, ("uno", "b")),
        decide(TWO, ("two", "b")),
        decide(THREE, None),
        decide(FOUR, ("four", "a")),
        decide(row("elsewhere"), None),
    ]
)


def apply(rows, weights=None, history=HISTORY):
    return apply_review(history, rows, weights, [each.id for each in rows], base=2)


def test_rows_keep_their_order_and_weights_and_say_what_was_changed():
    done = apply(ROWS, [1, 2, 3, 4, 5])
    assert [(r.text, r.label) for r in done.rows] == [
        *(("uno", "b"), ("two", "b"), ("four", "a"), ("five", "a"))
    ]
    assert done.weights == (1, 2, 4, 5)
    assert [r.provenance.kind for r in done.rows] == ["review", "review", *["extrapolate"] * 2]
    assert done.rows[0].provenance.parents == ("g",)
    assert done.rows[2] is FOUR
    counts = {"edited": 1, "relabelled": 1, "rejected": 1, "approved": 1, "unused": 1}
    assert done.review == Reviewed(base=2, **counts, decisions=HISTORY.digest())


def test_a_row_that_occurs_twice_is_decided_on_once():
    done = apply(Dataset([THREE, ONE, THREE, ONE]))
    assert done.rows.texts == ["uno", "uno"]
    assert (done.review.rejected, done.review.edited, done.weights) == (2, 2, None)


def test_gold_rows_stay_as_they_are():
    gold = Example(ONE.text, ONE.label)
    assert gold.id == ONE.id
    done = apply(Dataset([gold, ONE]))
    assert done.rows.texts == ["one", "uno"]
    assert done.rows[0] is gold


def test_rows_that_a_label_check_relabelled_are_found_by_their_first_id():
    relabelled = row("three", "b")
    done = apply_review(HISTORY, Dataset([relabelled]), None, [THREE.id], base=0)
    assert (len(done.rows), done.review.rejected) == (0, 1)


def test_answers_of_a_question_stay():
    question = Example("Who?", Answers(("Ada",), (3,)), "by Ada", ORIGIN)
    changed = change(question, Version(text="By whom?", label=Version.of(question).label))
    assert (changed.text, changed.label, changed.context) == ("By whom?", question.label, "by Ada")


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"edited": 12, "rejected": 3}, "12 rows edited, 3 rejected by a reviewer"),
        ({"relabelled": 1, "approved": 9}, "1 row relabelled, 9 approved by a reviewer"),
        ({}, "no row changed by a reviewer"),
    ],
)
def test_the_counts_in_words(counts, said):
    none = {"edited": 0, "relabelled": 0, "rejected": 0, "approved": 0}
    assert Reviewed(base=0, **none | counts, unused=0, decisions="").in_words == said
