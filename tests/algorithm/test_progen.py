"""ProGen: influence on synthetic rows chooses the shots of half of the prompts."""

import random
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

import stepsynth.methods.progen as progen
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.methods.progen import ProGen, reject_copy, split_validation
from stepsynth.records import Context, Dataset, Example, Rejected
from stepsynth.students.linear import Linear
from stepsynth.tasks.sentence_pair import SentencePair
from tests.fakes import follow, rows

HIDDEN = rows(("GOLD apple", "a"), ("GOLD pear", "p"))
WORDS = {"a": "round red crisp orchard cider", "p": "long green soft juicy perry"}


def write(request):
    """Return a text with its label's words; the number makes it a text of its own."""
    rng = random.Random(f"{request.stream} {request.draw}")
    words = [rng.choice(WORDS[request.tags["label"]].split()) for _ in range(3)]
    return f"{' '.join(words)} number{rng.randrange(10**9)} word{rng.randrange(10**9)}"


def run(task, method, answer=write, **options):
    return follow(task, method, answer, Linear(), **{"select": HIDDEN, **options})


@pytest.mark.parametrize(
    ("keys", "sizes"),
    [
        ({"size": 50, "initial": 100}, [50]),
        ({"size": 100, "initial": 100}, [100]),
        ({"size": 90, "initial": 20}, [20, 40, 80, 90]),
        ({"size": 90, "initial": 20, "interval": 30}, [20, 50, 80, 90]),
    ],
)
def test_the_student_is_retrained_at_each_doubling_or_interval(task, keys, sizes):
    _, rounds, _ = run(task, ProGen(**keys))
    assert [len(done.train) for done in rounds] == sizes
    assert [done.index for done in rounds] == list(range(len(sizes)))
    for before, after in pairwise(rounds):
        assert list(after.train) == [*before.train, *after.added]


def test_half_of_the_prompts_show_eight_helpful_rows_of_one_label(task):
    backend, rounds, _ = run(task, ProGen(size=600, initial=200))
    first, later = backend.requests[:200], backend.requests[200:]
    assert {r.tags["kind"] for r in first} == {"seed"}
    shown = [r for r in later if r.tags["kind"] == "few_shot"]
    assert 0.4 <= len(shown) / len(later) <= 0.6
    label_of = {row.id: row.label for done in rounds for row in done.added}
    lines = [line for done in rounds for line in done.notes.get("shots", ())]
    assert len(lines) == len(shown)
    asked_for = {row.provenance.request: row.label for done in rounds for row in done.added}
    for line in lines:
        assert len(set(line["shots"])) == 8
        assert {label_of[shot] for shot in line["shots"]} == {asked_for[line["request"]]}
    for request in shown:
        assert len(re.findall(r"number\d+", request.prompt)) == 8


def test_shots_are_the_most_helpful_rows_that_were_scored(task):
    _, rounds, _ = run(task, ProGen(size=400, initial=200, pool=10))
    scores = {line["row"]: line for line in rounds[0].notes["influence"]}
    best = {
        label: sorted(
            (row for row, line in scores.items() if line["label"] == label),
            key=lambda row: scores[row]["influence"],
        )[:10]
        for label in ("a", "p")
    }
    shots = [set(line["shots"]) for line in rounds[1].notes["shots"]]
    assert shots
    assert set.union(*shots) == {*best["a"], *best["p"]}
    assert all(s <= set(best["a"]) or s <= set(best["p"]) for s in shots)


def test_among_few_rows_the_better_half_is_shown_but_enough_for_a_prompt(task):
    for initial, size in ((60, 15), (24, 8)):
        _, rounds, _ = run(task, ProGen(size=2 * initial, initial=initial, shots=8))
        lines = rounds[0].notes["influence"]
        for label in ("a", "p"):
            scored = sorted(
                (line["influence"], line["row"]) for line in lines if line["label"] == label
            )
            best = {row for _, row in scored[: max(8, len(scored) // 2)]}
            shown = {
                shot
                for line in rounds[1].notes["shots"]
                for shot in line["shots"]
                if shot in {row for _, row in scored}
            }
            assert shown <= best
            assert len(best) <= size


def test_validation_rows_are_synthetic_and_not_trained_on_while_scoring(task, monkeypatch):
    seen = []

    def look(X, Y, X_valid, Y_valid, *, loss):
        seen.append((set(X[:, 0]), set(X_valid[:, 0])))
        assert loss == "reverse_cross_entropy"
        return -np.ones(len(Y))

    numbered = lambda rows, *_: np.arange(len(rows), dtype=float)[:, None]  # noqa: E731
    monkeypatch.setattr(progen, "influence", look)
    monkeypatch.setattr(progen, "features_of", numbered)
    gold = Dataset([*HIDDEN, *rows(("GOLD cider", "a"), ("GOLD perry", "p"))])
    backend, rounds, _ = run(task, ProGen(size=200, initial=40), mine=gold, select=gold)
    assert [len(train) + len(valid) for train, valid in seen] == [40, 80, 160]
    assert [len(valid) for _, valid in seen] == [20, 40, 80]
    assert all(not train & valid for train, valid in seen)
    assert seen[0][1] < seen[1][1] < seen[2][1]
    for done in rounds:
        assert not any("GOLD" in text for text in done.train.texts)
        scored = {line["row"] for line in done.notes.get("influence", ())}
        assert scored <= {row.id for row in done.train}
    assert not any("GOLD" in r.prompt for r in backend.requests)
    valid_ids = {rounds[0].train[int(i)].id for i in seen[0][1]}
    assert not any(set(line["shots"]) & valid_ids for line in rounds[1].notes["shots"])


def test_a_thousand_of_the_first_two_thousand_rows_are_set_aside():
    train, valid = split_validation(5000)
    assert len(valid) == 1000
    assert max(valid) < 2000
    assert sorted(train + valid) == list(range(5000))


def test_a_row_with_nine_tenths_of_a_shots_words_is_dropped_and_replaced(task):
    def copy(request):
        shot = re.findall(r'^"(.*number\d+ word\d+)"$', request.prompt, re.M)
        is_copy = request.tags["kind"] == "few_shot" and request.draw % 5 == 0
        return shot[0].upper() + " indeed" if is_copy else write(request)

    _, rounds, _ = run(task, ProGen(size=200, initial=100), copy)
    reasons = Counter(item.rejected.reason for done in rounds for item in done.unused)
    assert reasons["copy_of_shot"] > 5
    assert len(rounds[-1].train) == 200


@pytest.mark.parametrize(("shared", "is_copy"), [(9, True), (8, False)])
def test_a_copy_is_told_by_the_share_of_the_shots_words(shared, is_copy):
    words = [f"w{i}" for i in range(10)]
    row = Example(" ".join([*words[:shared], *(f"new{i}" for i in range(50))]), "a")
    found = reject_copy(row, shots=[Example(" ".join(words), "a")])
    assert isinstance(found, Rejected) == is_copy


def test_pairs_show_rows_of_other_contexts():
    task = SentencePair(instruction="Decide.", labels={"a": "right", "p": "wrong"})
    contexts = [Context(f"Premise of {i} apples.") for i in range(20)]
    backend, rounds, _ = run(task, ProGen(size=120, initial=60), contexts=contexts)
    assert len(rounds[-1].train) == 120
    for request in backend.of_kind("few_shot"):
        assert request.prompt.count(request.tags["context"]) == 1


def test_the_budget_ends_it_with_what_there_is(task):
    backend, rounds, _ = run(
        task, ProGen(size=400, initial=50), spending=SpendingLimit(requests=130)
    )
    assert len(backend.requests) == 130
    assert [len(done.train) for done in rounds] == [50, 100, 130]


def test_an_llm_that_writes_nothing_more_ends_it(task):
    answer = lambda r: write(r) if r.tags["kind"] == "seed" and r.draw < 50 else ""  # noqa: E731
    backend, rounds, warnings = run(task, ProGen(size=800, initial=50), answer)
    assert [len(done.train) for done in rounds] == [50, 50]
    assert len(backend.requests) == 50 + 75
    assert warnings == ["rows up to 100: 0 of 50 rows were kept after 75 draws"]


def test_a_size_at_which_a_label_has_no_row_is_passed_over(task):
    answer = lambda r: "" if r.tags["label"] == "p" and r.draw < 60 else write(r)  # noqa: E731
    _, rounds, _ = run(task, ProGen(size=200, initial=20), answer)
    assert len(rounds[0].train) > 20
    assert rounds[0].index == 0
    assert len(rounds[-1].train) == 200
    assert list(rounds[0].added) == list(rounds[0].train)
