"""Algorithm 2 of S3 as a call trace: train afresh, mine the errors, extrapolate each, repeat."""

from itertools import pairwise

import pytest

from stepsynth.llm import Request
from stepsynth.methods.s3 import S3
from tests.fakes import WrongOn, follow, rows

GOLD = rows(
    ("red apple", "a"),
    ("green apple", "a"),
    ("green pear", "p"),
    ("yellow pear", "p"),
    ("rotten pear", "p"),
)


def answer(request: Request) -> str:
    if request.tags["kind"] == "seed":
        return f"seed {request.draw}"
    word = next(w for w in ("green", "rotten", "red", "yellow") if w in request.tags["source"])
    # The first extrapolation of an error does not help; the second one does.
    return f"{'again' if request.draw else 'once'} {word}"


@pytest.fixture
def trace(task):
    WrongOn.log.clear()
    method = S3(rounds=2, seed_size=5, rationales=False)
    backend, rounds, _ = follow(task, method, answer, WrongOn(words=("green", "rotten")), GOLD)
    return backend, rounds, list(WrongOn.log)


def test_two_rounds_fit_three_fresh_students(trace):
    _, rounds, log = trace
    assert [what for what, _ in log] == ["init", "fit"] * 3
    assert len({id(r.model) for r in rounds}) == 3


def test_each_student_is_trained_on_the_seed_data_and_all_rows_added_so_far(trace):
    _, rounds, log = trace
    fitted = [data for what, data in log if what == "fit"]
    added = [list(r.added) for r in rounds]
    assert [list(d) for d in fitted] == [
        added[0],
        added[0] + added[1],
        [*added[0], *added[1], *added[2]],
    ]
    assert [len(r.train) for r in rounds] == [5, 8, 11]


def test_a_parent_of_an_added_row_is_misclassified_in_the_round_before(trace):
    _, rounds, _ = trace
    for before, after in pairwise(rounds):
        missed = {row.id for row in before.misclassified}
        assert {p for row in after.added for p in row.provenance.parents} <= missed
        assert all(row.provenance.round == after.index for row in after.added)


def test_the_last_round_is_trained_on_everything_and_its_errors_are_recorded(trace):
    _, rounds, _ = trace
    assert [r.index for r in rounds] == [0, 1, 2]
    assert [len(r.misclassified) for r in rounds] == [3, 3, 0]


def run(task, **options):
    method = S3.model_validate({"seed_size": 5, "rationales": False, **options})
    return method, follow(task, method, answer, WrongOn(words=("green", "rotten")), GOLD)[1]


def test_several_extrapolations_of_one_error_are_several_draws(task):
    _, rounds = run(task, rounds=1, extrapolations_per_error=3)
    assert len(rounds[1].added) == 9
    assert len({row.provenance.request for row in rounds[1].added}) == 9


def test_added_rows_are_capped(task):
    _, rounds = run(task, rounds=1, max_added=2)
    assert len(rounds[1].added) == 2


def test_balanced_rounds_ask_for_as_many_rows_of_each_label(task):
    _, rounds = run(task, rounds=1, extrapolations_per_error=2, balance_added=True)
    assert rounds[0].misclassified.label_counts() == {"a": 1, "p": 2}
    assert rounds[1].added.label_counts() == {"a": 3, "p": 3}


def test_early_stop_ends_when_select_does_not_improve(task):
    _, rounds = run(task, rounds=5, early_stop=True)
    # Round 1 brings nothing (its rows do not help), so round 2 is not asked for.
    assert [r.index for r in rounds] == [0, 1]


def test_the_last_round_is_kept_unless_the_best_is_asked_for(task):
    method, rounds = run(task, rounds=1)
    assert method.choose_round(rounds, GOLD) == 1
    method, rounds = run(task, rounds=1, keep="best")
    assert rounds[0].select_score == rounds[1].select_score
    assert method.choose_round(rounds, GOLD) == 0
