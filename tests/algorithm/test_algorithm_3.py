"""Algorithm 3 and section 2.4 of S3 as call traces: the context is given, only the text is new."""

import json
from collections import Counter
from itertools import pairwise

import pytest

from stepsynth.data.split import Gold, choose_contexts, make_gate
from stepsynth.errors import TooFewRowsError
from stepsynth.llm import Completion
from stepsynth.methods.goldgen import GoldGen
from stepsynth.methods.s3 import S3
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.records import Answers, Context, Dataset, Example
from stepsynth.runfolder.folder import round_numbers
from stepsynth.tasks._answers import find_answer
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair
from tests.fakes import WrongOn, WrongSpansOn, follow

PREMISES = ["A  “red” apple\nfell in 1981.", "Two pears {{ x }} fell in 1982.", "Nothing fell."]
PAIRS = Dataset(
    [
        Example("the apple is green", "a", PREMISES[0]),
        Example("the apple is red", "p", PREMISES[0]),
        Example("the pears are green", "p", PREMISES[1]),
        Example("nobody is rotten", "a", PREMISES[2]),
    ]
)
QUESTIONS = Dataset(
    [
        Example("green: when did it fall?", Answers(("1981",), (24,)), PREMISES[0]),
        Example("what fell?", Answers(("Two pears", "pears"), (0, 4)), PREMISES[1]),
        Example("rotten: when did they fall?", Answers(("1982",), (26,)), PREMISES[1]),
    ]
)
WORDS = ("green", "rotten")
PAIR = SentencePair.model_validate({"labels": {"a": "fruity", "p": "stony"}})
SAME = ExtractiveQA()
NEW = ExtractiveQA(extrapolate="new_answer")


def answer(request):
    """Answer: the second extrapolation of an error helps, as in Algorithm 2's test."""
    tags = request.tags
    if tags["kind"] == "extrapolate":
        word = next(w for w in (*WORDS, "red", "fell") if w in tags["source"])
        text = f"{'again' if request.draw else 'once'} {word}"
        return (
            json.dumps({"question": text, "answer": "fell"}) if "JSON" in request.prompt else text
        )
    if tags["kind"] == "answers":
        return "1. fell\n2. " + tags["context"].split()[-1] + "\n3. not there"
    return f"{tags['kind']} {request.draw} has a fact"


class Trace:
    """One run of a method, and all that can be seen of it."""

    def __init__(self, task, method, *, contexts=None, answer=answer, gold=None, **setup):
        is_pair = isinstance(task, SentencePair)
        self.gold = gold if gold is not None else PAIRS if is_pair else QUESTIONS
        student = (WrongOn if is_pair else WrongSpansOn)(words=WORDS)
        if contexts is None:
            parts = Gold(self.gold, self.gold, Dataset(), {})
            contexts = choose_contexts(parts, None, task, make_gate(parts, is_open=False), print)
        self.backend, self.rounds, self.warnings = follow(
            task, method, answer, student, self.gold, contexts=contexts, **setup
        )

    @property
    def seed_requests(self):
        return self.backend.of_kind("seed")

    @property
    def extrapolations(self):
        return self.backend.of_kind("extrapolate")


@pytest.fixture(params=["pairs", "same answer", "new answer"])
def task(request):
    return {"pairs": PAIR, "same answer": SAME, "new answer": NEW}[request.param]


@pytest.fixture
def trace(task):
    return Trace(task, S3(seed_size=6, rounds=2))


def test_the_context_is_verbatim_in_the_prompt_in_the_tags_and_in_the_row(trace):
    by_id = {r.provenance.request: r for done in trace.rounds for r in done.added}
    prompts = {i: p for done in trace.rounds for i, (p, _) in done.exchanges.items()}
    assert len(by_id) == 6 + 3 + 3 - (trace.gold is QUESTIONS) * 2
    for request in trace.backend.requests:
        assert request.tags["context"] in PREMISES
        assert request.tags["context"] in request.prompt
    for request_id, row in by_id.items():
        assert row.context in PREMISES
        assert row.context in prompts[request_id]
    asked = [r.tags["context"] for r in trace.backend.requests]
    assert asked == [row.context for done in trace.rounds for row in done.added]


def test_every_error_is_extrapolated_once_with_its_context_and_gold_label(trace):
    for before, after in pairwise(trace.rounds):
        asked = [r for r in trace.extrapolations if r.draw == after.index - 1]
        assert [r.tags["source"] for r in asked] == before.misclassified.texts
        assert [r.tags["context"] for r in asked] == [r.context for r in before.misclassified]
        assert [r.tags["label"] for r in asked] == before.misclassified.labels
        assert all(r.tags["source"] in r.prompt for r in asked)
    assert {r.stream for r in trace.extrapolations} == {
        f"extrapolate/{row.id}" for row in trace.rounds[0].misclassified
    }


def test_a_repeated_error_is_a_new_draw(trace):
    assert trace.rounds[0].misclassified == trace.rounds[1].misclassified
    count = len(trace.rounds[0].misclassified)
    assert [r.draw for r in trace.extrapolations] == [0] * count + [1] * count
    ids = {row.provenance.request for done in trace.rounds[1:] for row in done.added}
    assert len(ids) == 2 * count
    assert len(trace.rounds[2].misclassified) == 0


@pytest.mark.parametrize("task", [PAIR, SAME])
def test_the_gold_label_is_kept_and_the_prediction_ignored(task):
    trace = Trace(task, S3(seed_size=6, rounds=2))
    gold = {row.id: row for row in trace.gold}
    for before, after in pairwise(trace.rounds):
        assert len(after.added) == len(before.predicted) > 0
        for row, said in zip(after.added, before.predicted, strict=True):
            (parent,) = row.provenance.parents
            assert row.label == gold[parent].label
            assert row.context == gold[parent].context
            assert str(row.label) != said
            if task is PAIR:
                prompt, _ = after.exchanges[row.provenance.request]
                assert f"that is {task.labels[row.label]}" in prompt
                assert f"that is {task.labels[said]}" not in prompt


def test_contexts_are_used_in_shuffled_passes(task):
    passages = [f"Passage {i} says x." for i in range(7)]
    label = None if task is PAIR else Answers(("x",), (15,))
    contexts = [Context(p, label) for p in passages]
    orders = set()
    for seed in range(3):
        trace = Trace(task, ZeroGen(seed_size=20), contexts=contexts, random_seed=seed)
        used = [r.tags["context"] for r in trace.seed_requests]
        assert len(used) == 20
        assert sorted(used[:7]) == sorted(used[7:14]) == passages
        assert len(set(used[14:])) == 6
        assert used[:7] != used[7:14]
        orders.add(tuple(used))
    assert len(orders) == 3


def test_a_context_that_fixes_its_label_keeps_it():
    contexts = [Context("is fruit", "a"), Context("is stone", "p")]
    trace = Trace(PAIR, ZeroGen(seed_size=20), contexts=contexts)
    pairs = {(row.context, row.label) for row in trace.rounds[0].train}
    assert pairs == {("is fruit", "a"), ("is stone", "p")}


def test_a_passage_that_fixes_its_answer_keeps_it():
    contexts = [Context("x or y", Answers(("y",), (5,))), Context("x or y", Answers(("x",), (0,)))]
    trace = Trace(SAME, ZeroGen(seed_size=8), contexts=contexts)
    assert {r.tags["kind"] for r in trace.backend.requests} == {"seed"}
    labels = Counter(row.label for row in trace.rounds[0].train)
    assert labels == {context.label: 4 for context in contexts}
    assert all(f'"{r.tags["label"]}"' in r.prompt for r in trace.seed_requests)


def test_other_labels_are_drawn_about_uniformly_for_every_context():
    trace = Trace(PAIR, ZeroGen(seed_size=300), contexts=[Context("one"), Context("two")])
    counts = Counter((row.context, row.label) for row in trace.rounds[0].train)
    assert len(counts) == 4
    assert all(50 <= count <= 100 for count in counts.values())


def test_contexts_are_those_of_the_mined_rows_by_default(trace):
    used = {(r.tags["context"], r.tags["label"]) for r in trace.seed_requests}
    assert {context for context, _ in used} == {row.context for row in trace.gold}
    if trace.gold is QUESTIONS:
        assert used == {(row.context, str(row.label)) for row in QUESTIONS}


@pytest.mark.parametrize(("size", "asked"), [(6, 3), (5, 3), (4, 2)])
def test_without_contexts_the_llm_writes_them_one_for_each_label(size, asked):
    trace = Trace(PAIR, ZeroGen(seed_size=size), contexts=())
    assert len(trace.backend.of_kind("context")) == asked
    texts = [f"context {i} has a fact" for i in range(asked)]
    assert {row.context for row in trace.rounds[0].train} == set(texts)
    assert [r["completion"] for r in trace.rounds[0].asked] == texts
    assert [r["kind"] for r in trace.rounds[0].asked] == ["context"] * len(texts)


def test_without_passages_the_llm_writes_them_and_proposes_answers():
    trace = Trace(SAME, ZeroGen(seed_size=4), contexts=())
    kinds = [r.tags["kind"] for r in trace.backend.requests]
    # "fell" stands in no such passage; of three proposals the last word alone does.
    assert kinds == ["context"] * 4 + ["answers"] * 4 + ["seed"] * 4
    for row in trace.rounds[0].train:
        assert row.label == find_answer(row.context, "fact")
        assert row.context.startswith("context ")
    assert trace.warnings == ["answers: 8 of 12 were left out: not in their passage"]


def test_passages_that_come_bare_get_answers_that_stand_in_them():
    contexts = [Context(p) for p in PREMISES[:2]]
    trace = Trace(SAME, ZeroGen(seed_size=4), contexts=contexts)
    asked = trace.backend.of_kind("answers")
    assert sorted(r.tags["context"] for r in asked) == sorted(PREMISES[:2])
    assert all(r.tags["context"] in r.prompt and "List 3 " in r.prompt for r in asked)
    used = {(row.context, str(row.label)) for row in trace.rounds[0].train}
    assert used == {(p, a) for p in PREMISES[:2] for a in ("fell", p.split()[-1])}
    for row in trace.rounds[0].train:
        (text,), (start,) = row.label.texts, row.label.starts
        assert row.context[start : start + len(text)] == text
    assert trace.warnings == ["answers: 2 of 6 were left out: not in their passage"]
    assert {r["context"] for r in trace.rounds[0].asked} == set(PREMISES[:2])


def test_passages_that_have_an_answer_already_are_not_asked_for_one():
    contexts = [Context(PREMISES[0], Answers(("fell",), (16,))), Context(PREMISES[1])]
    trace = Trace(SAME, ZeroGen(seed_size=3), contexts=contexts)
    assert [r.tags["context"] for r in trace.backend.of_kind("answers")] == [PREMISES[1]]
    trace = Trace(SAME, ZeroGen(seed_size=1), contexts=contexts)
    assert trace.backend.of_kind("answers") == []


def test_a_list_without_one_answer_of_the_passage_is_rejected_and_counted():
    def propose(request):
        is_bad = request.tags["kind"] == "answers" and request.tags["context"] == PREMISES[0]
        return "1. nowhere\n2. 1980" if is_bad else answer(request)

    contexts = [Context(p) for p in PREMISES[:2]]
    trace = Trace(SAME, ZeroGen(seed_size=2), contexts=contexts, answer=propose)
    assert round_numbers(trace.rounds[0], {}, {}).rejected == {"answer_not_in_passage": 1}
    (unused,) = trace.rounds[0].unused
    assert (unused.provenance.kind, unused.context) == ("answers", PREMISES[0])
    assert unused.rejected.completion == "1. nowhere\n2. 1980"
    assert {row.context for row in trace.rounds[0].train} == {PREMISES[1]}


def test_no_usable_context_at_all_ends_with_what_the_llm_said():
    with pytest.raises(TooFewRowsError, match=r"wrote no answers that can be used; .*'none of it'"):
        Trace(
            SAME,
            ZeroGen(seed_size=2),
            contexts=[Context(p) for p in PREMISES[:2]],
            answer=lambda _: "none of it",
        )


@pytest.mark.slow
def test_rules_propose_answers_without_a_request(tmp_path):
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "X", "pattern": p} for p in ("1981", "1982", "apple")])
    pipeline.to_disk(tmp_path / "rules")
    task = ExtractiveQA(answers=str(tmp_path / "rules"))
    trace = Trace(task, ZeroGen(seed_size=6), contexts=[Context(p) for p in PREMISES])
    assert {r.tags["kind"] for r in trace.backend.requests} == {"seed"}
    used = {(row.context, str(row.label)) for row in trace.rounds[0].train}
    assert used == {(PREMISES[0], "1981"), (PREMISES[0], "apple"), (PREMISES[1], "1982")}


@pytest.mark.parametrize(
    ("said", "label", "repaired", "rejected"),
    [
        ("1982", "1982", 0, {}),
        ("TWO PEARS", "Two pears", 2, {}),
        ("1983", None, 0, {"answer_not_in_passage": 2}),
    ],
)
def test_a_new_answer_is_located_and_counted(said, label, repaired, rejected):
    gold = Dataset(Example(f"green {i}?", Answers(("fell",), (18,)), PREMISES[1]) for i in range(2))

    def write(request):
        if request.tags["kind"] == "seed":
            return answer(request)
        return json.dumps({"question": "Which one?", "answer": said})

    trace = Trace(NEW, S3(seed_size=2, rounds=1), gold=gold, answer=write)
    numbers = round_numbers(trace.rounds[1], {}, {})
    assert (numbers.repaired, numbers.rejected) == (repaired, rejected)
    assert trace.rounds[1].added.labels == ([] if label is None else [label] * 2)
    for row in trace.rounds[1].added:
        (text,), (start,) = row.label.texts, row.label.starts
        assert row.context[start : start + len(text)] == text
        assert row.text == "Which one?"


def test_nothing_of_select_is_in_any_prompt(task):
    gold = PAIRS if task is PAIR else QUESTIONS
    label = "a" if task is PAIR else Answers(("secret",), (2,))
    select = Dataset([Example("a secret text", label, "A secret premise.")])
    trace = Trace(task, S3(seed_size=6, rounds=2, early_stop=False), gold=gold, select=select)
    assert trace.extrapolations
    assert all("secret" not in r.prompt + repr(dict(r.tags)) for r in trace.backend.requests)


def test_zerogen_shares_the_seed_rows_of_s3_and_uses_no_gold_text(task):
    zerogen = Trace(task, ZeroGen(seed_size=6))
    s3 = Trace(task, S3(seed_size=6, rounds=0))
    assert len(zerogen.rounds) == 1
    assert zerogen.rounds[0].train.texts == s3.rounds[0].train.texts
    assert [r.context for r in zerogen.rounds[0].train] == [r.context for r in s3.rounds[0].train]
    assert all(row.text not in r.prompt for row in zerogen.gold for r in zerogen.backend.requests)


def test_goldgen_extrapolates_all_of_mine_with_its_contexts(task):
    trace = Trace(task, GoldGen(seed_size=6, size=6 + 2 * len(PAIRS)))
    count = len(trace.gold)
    asked = [(r.tags["source"], r.tags["context"]) for r in trace.extrapolations]
    assert Counter(asked[:count]) == Counter((row.text, row.context) for row in trace.gold)
    assert Counter(asked[count : 2 * count]) == Counter(asked[:count])
    assert len(trace.rounds[-1].train) == 6 + 2 * len(PAIRS)


def test_balance_has_no_labels_to_balance_in_answers():
    answers = [Answers(("fell",), (18,))] * 4 + [Answers(("1982",), (26,))]
    gold = Dataset(Example(f"green {i}?", label, PREMISES[1]) for i, label in enumerate(answers))
    trace = Trace(SAME, S3(seed_size=6, rounds=1, balance_added=True), gold=gold)
    asked = [r.tags["source"] for r in trace.extrapolations]
    assert sorted(asked) == gold.texts


def test_a_list_of_answers_that_was_cut_off_is_recorded_as_cut():
    def cut(request):
        if request.tags["kind"] == "answers":
            return Completion("1. fell\n2. 198", truncated=True)
        return answer(request)

    trace = Trace(SAME, ZeroGen(seed_size=2), contexts=[Context(PREMISES[0])], answer=cut)
    assert [r.get("truncated") for r in trace.rounds[0].asked] == [True]
    assert trace.rounds[0].train.labels == ["fell"] * 2
