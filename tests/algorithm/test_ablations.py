"""S3's ablations and options, the null, and the LLM itself."""

import json
from collections import Counter

import pytest

from stepsynth.errors import TooFewRowsError
from stepsynth.methods._purse import Purse
from stepsynth.methods.goldgen import GoldGen
from stepsynth.methods.llm import LLMItself
from stepsynth.methods.random import RandomRows
from stepsynth.methods.s3 import S3
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.records import Answers, Dataset, Example
from stepsynth.tasks.extractive_qa import ExtractiveQA
from tests.fakes import FakeBackend, WrongOn, WrongSpansOn, answer_anything, make_setup, rows

GOLD = rows(("red apple", "a"), ("green apple", "a"), ("green pear", "p"), ("ripe pear", "p"))


def run(task, method, *, answer=answer_anything, requests=None, **given):
    backend = FakeBackend(answer)
    setup, warnings = make_setup(task, backend, WrongOn(words=("green",)), GOLD)
    object.__setattr__(setup, "given", given)
    object.__setattr__(setup, "purse", Purse(requests=requests))
    rounds = list(method.synthesize(setup))
    setup.llm.close()
    return backend, rounds, warnings


def test_a_budget_of_rows_is_two_thirds_seed_data_and_equal_rounds():
    s3 = S3().sized(60)
    assert (s3.seed_size, s3.added_size) == (40, 10)
    assert (S3(rounds=0).sized(60).seed_size, S3(rounds=0).sized(60).added_size) == (60, None)
    assert (GoldGen().sized(60).seed_size, GoldGen().sized(60).size) == (40, 60)
    assert ZeroGen().sized(60).seed_size == 60


def test_added_size_goes_round_the_errors_until_so_many_rows_are_kept(task):
    backend, rounds, _ = run(task, S3(rationales=False).sized(24))
    assert [len(r.train) for r in rounds] == [16, 20, 24]
    sources = Counter(r.tags["source"] for r in backend.of_kind("extrapolate")[:4])
    assert sources == {"green apple": 2, "green pear": 2}


def test_added_size_with_balance_takes_labels_in_turn(task):
    gold = rows(("green apple", "a"), ("so green apple", "a"), ("a green one", "p"))
    backend = FakeBackend(answer_anything)
    setup, _ = make_setup(task, backend, WrongOn(words=("green",)), gold)
    method = S3(rationales=False, seed_size=12, rounds=1, added_size=6, balance_added=True)
    rounds = list(method.synthesize(setup))
    setup.llm.close()
    assert Counter(rounds[1].added.labels) == {"a": 3, "p": 3}


def test_a_round_without_errors_ends(task):
    backend = FakeBackend(answer_anything)
    setup, _ = make_setup(task, backend, WrongOn(), GOLD)
    rounds = list(S3(rationales=False).sized(24).synthesize(setup))
    setup.llm.close()
    assert [len(r.train) for r in rounds] == [16, 16, 16]


@pytest.mark.parametrize("calls", [24, 61])
def test_a_budget_of_calls_counts_rationales_and_rejected_rows_too(task, calls):
    def answer(request):
        # Every third text is a refusal.
        refused = request.tags["kind"] != "rationale" and request.draw % 3 == 0
        return "I'm sorry, but I can't help with that." if refused else answer_anything(request)

    method = S3(num_rationales=3).sized(calls)
    backend, rounds, _ = run(task, method, answer=answer, requests=calls)
    assert len(backend.requests) <= calls
    kinds = Counter(r.tags["kind"] for r in backend.requests)
    assert len(backend.requests) >= calls - 2
    # A third of the calls is for errors, though many seed rows were rejected.
    assert kinds["extrapolate"] >= calls // 3 - 1
    assert len(rounds) == 3


def test_a_budget_that_is_too_small_for_seed_data_ends_so(task):
    with pytest.raises(TooFewRowsError, match="no row has the label"):
        run(task, S3(num_rationales=3).sized(3), requests=3)


def test_seed_data_may_be_somebody_elses(task):
    foreign = rows(*((f"foreign {i}", "ap"[i % 2]) for i in range(6)))
    backend, rounds, _ = run(task, S3(seed_from="there", rounds=1), seed_from=foreign)
    assert list(rounds[0].train) == list(foreign)
    assert {r.tags["kind"] for r in backend.requests} == {"extrapolate"}
    assert len(rounds[1].train) == 6 + 2


def test_rows_that_another_run_added_are_merged_without_a_request(task):
    foreign = rows(*((f"foreign {i}", "ap"[i % 2]) for i in range(6)))
    added = rows(("again green pear", "p"))
    backend, rounds, _ = run(
        task, S3(seed_from="x", added_from="y"), seed_from=foreign, added_from=added
    )
    assert backend.requests == []
    assert list(rounds[1].train) == [*foreign, *added]
    assert list(rounds[1].added) == list(added)


def test_random_starts_from_s3s_seed_rows_and_asks_about_any_row(task):
    backend, rounds, _ = run(task, RandomRows(rationales=False, seed_size=8, size=48))
    _, s3, _ = run(task, S3(seed_size=8, rounds=0, rationales=False))
    assert rounds[0].train.texts == s3[0].train.texts
    asked = Counter(r.tags["source"] for r in backend.of_kind("extrapolate"))
    assert set(asked) == set(GOLD.texts)
    # Drawn anew each time, so not in passes as GoldGen's are.
    assert len(set(asked.values())) > 1


def test_the_llm_itself_is_asked_once_a_row_and_scored(task):
    def answer(request):
        return json.dumps(
            {"label": "apple" if "apple" in request.prompt.split("\n")[4] else "pear"}
        )

    backend, rounds, warnings = run(task, LLMItself(), answer=answer)
    (done,) = rounds
    assert done.select_score == 1.0
    assert done.model.predict(GOLD).labels == GOLD.labels
    assert len(backend.requests) == len(GOLD) == done.model.asked
    assert done.model.student is None
    assert warnings == []


def test_an_answer_that_names_no_label_is_chance_and_said(task):
    _, rounds, warnings = run(task, LLMItself(), answer=lambda _: "either of them")
    assert set(rounds[0].model.predict(GOLD).labels) <= {"a", "p"}
    assert warnings == ["decide: 4 of 4 answers name no label: chance decides"]


def test_the_llm_itself_answers_questions():
    passage = "Ann lives in Rome."
    gold = Dataset([Example("Where does Ann live?", Answers(("Rome",), (13,)), passage)])
    backend = FakeBackend(lambda _: '{"answer": "rome"}')
    setup, _ = make_setup(ExtractiveQA(), backend, WrongSpansOn(), gold)
    (done,) = LLMItself().synthesize(setup)
    setup.llm.close()
    said = done.model.predict(gold)
    assert (said.labels, said.starts) == (["Rome"], [13])
