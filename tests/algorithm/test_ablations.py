"""S3's ablations and options, the null, and the LLM itself."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from stepsynth.curation import Curation, Curator
from stepsynth.errors import TooFewRowsError
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.methods.llm import LLMItself
from stepsynth.methods.random import RandomRows
from stepsynth.methods.s3 import S3
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.records import Answers, Context, Dataset, Example
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair
from tests.fakes import (
    WrongOn,
    WrongSpansOn,
    answer_anything,
    follow,
    rows,
)

GOLD = rows(("red apple", "a"), ("green apple", "a"), ("green pear", "p"), ("ripe pear", "p"))


def run(task, method, *, answer=answer_anything, requests=None, **given):
    options = {"given": given, "spending": SpendingLimit(requests=requests)}
    return follow(task, method, answer, WrongOn(words=("green",)), GOLD, **options)


def test_added_size_goes_round_the_errors_until_so_many_rows_are_kept(task):
    backend, rounds, _ = run(task, S3(rationales=False).sized(24))
    assert [len(r.train) for r in rounds] == [16, 20, 24]
    sources = Counter(r.tags["source"] for r in backend.of_kind("extrapolate")[:4])
    assert sources == {"green apple": 2, "green pear": 2}


def test_added_size_with_balance_takes_labels_in_turn(task):
    gold = rows(("green apple", "a"), ("so green apple", "a"), ("a green one", "p"))
    method = S3(rationales=False, seed_size=12, rounds=1, added_size=6, balance_added=True)
    _, rounds, _ = follow(task, method, answer_anything, WrongOn(words=("green",)), gold)
    assert Counter(rounds[1].added.labels) == {"a": 3, "p": 3}


def test_a_round_without_errors_ends(task):
    method = S3(rationales=False).sized(24)
    _, rounds, _ = follow(task, method, answer_anything, mine=GOLD)
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


@pytest.mark.parametrize("method", [ZeroGen(), S3(rationales=False)])
def test_a_budget_of_calls_pays_a_judge_for_every_row(task, method):
    options = {"curator": Curator(Curation(check="llm")), "spending": SpendingLimit(requests=48)}
    backend, (*_, done), warnings = follow(
        task, method.sized(48), answer_anything, WrongOn(words=("green",)), GOLD, **options
    )
    assert len(backend.of_kind("judge")) == len(done.train) == len(backend.requests) / 2
    assert 44 <= len(backend.requests) <= 48
    assert warnings == []


def test_a_budget_of_calls_leaves_enough_for_rows_beside_their_contexts():
    pairs = SentencePair(instruction="Decide.", labels={"a": "right", "p": "wrong"})
    gold = Dataset(replace(row, context=f"premise {i}") for i, row in enumerate(GOLD))
    for spending in (SpendingLimit(requests=30), SpendingLimit(usd=2.0)):
        spending.spent_usd = lambda spending=spending: 0.01 * spending.spent
        method = ZeroGen().sized(10**4)
        backend, (done,), _ = follow(pairs, method, answer_anything, mine=gold, spending=spending)
        asked = len(backend.of_kind("context"))
        assert len(done.train) == len(backend.of_kind("seed"))
        assert asked * 2 - 2 <= len(done.train) <= asked * 2 + 2  # each for each label


def test_a_budget_of_calls_leaves_half_for_questions_beside_their_answers():
    passages = [f"Ann {i} lives in Rome." for i in range(50)]
    gold = Dataset(
        Example(f"Where does Ann {i} live?", Answers(("Rome",), (p.index("Rome"),)), p)
        for i, p in enumerate(passages[:4])
    )
    listed = lambda r: "1. Rome" if r.tags["kind"] == "answers" else f"Where is {r.draw}?"  # noqa: E731
    contexts = [Context(passage) for passage in passages]
    options = {"contexts": contexts, "spending": SpendingLimit(requests=30)}
    method, student = ZeroGen().sized(30), WrongSpansOn()
    backend, (done,), _ = follow(ExtractiveQA(), method, listed, student, gold, **options)
    assert (len(backend.of_kind("answers")), len(done.train)) == (15, 15)


def test_a_budget_that_is_too_small_for_seed_data_ends_so(task):
    with pytest.raises(TooFewRowsError, match="there is no row"):
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


def test_random_asks_about_any_row(task):
    backend, *_ = run(task, RandomRows(rationales=False, seed_size=8, size=48))
    asked = Counter(r.tags["source"] for r in backend.of_kind("extrapolate"))
    assert set(asked) == set(GOLD.texts)
    # Drawn anew each time, so not in passes as GoldGen's are.
    assert len(set(asked.values())) > 1


def test_the_llm_itself_is_asked_once_a_text_and_scored(task):
    def answer(request):
        return json.dumps(
            {"label": "apple" if "apple" in request.prompt.split("\n")[4] else "pear"}
        )

    twice = Dataset([*GOLD, *GOLD])
    backend, (done,), warnings = follow(task, LLMItself(), answer, mine=twice)
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
    answer = lambda _: '{"answer": "rome"}'  # noqa: E731
    _, (done,), _ = follow(ExtractiveQA(), LLMItself(), answer, WrongSpansOn(), gold)
    said = done.model.predict(gold)
    assert (said.labels, said.starts) == (["Rome"], [13])


def test_an_answer_that_is_no_part_of_its_passage_is_none_and_said():
    gold = Dataset([Example("Where?", Answers(("Rome",), (13,)), "Ann lives in Rome.")])
    student = WrongSpansOn()
    _, (done,), warnings = follow(ExtractiveQA(), LLMItself(), lambda _: "Oslo", student, gold)
    assert done.model.predict(gold).labels == [""]
    assert warnings == ["decide: 1 of 1 answers give no part of their passage"]
