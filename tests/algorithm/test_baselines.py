"""What makes each baseline itself."""

import pytest
from pydantic import ValidationError

from stepsynth.methods import methods
from stepsynth.methods.gold import Gold
from stepsynth.methods.goldgen import GoldGen
from stepsynth.methods.s3 import S3
from stepsynth.methods.zerogen import ZeroGen
from tests.fakes import WrongOn, follow, rows

GOLD = rows(("red apple", "a"), ("green apple", "a"), ("green pear", "p"))


def run(task, method, answer=lambda r: f"{r.tags['kind']} {r.stream} {r.draw}", **given):
    return follow(task, method, answer, WrongOn(words=("green",)), GOLD, given=given)


def test_zerogen_asks_for_labels_only_and_trains_once(task):
    backend, rounds, _ = run(task, ZeroGen(seed_size=8))
    assert len(rounds) == 1
    assert len(rounds[0].train) == 8
    assert {r.tags["kind"] for r in backend.requests} == {"seed"}
    assert all(gold.text not in r.prompt for gold in GOLD for r in backend.requests)


@pytest.mark.parametrize("name", ["zerogen", "simprompt", "goldgen", "random"])
def test_they_take_the_seed_rows_of_s3_without_rationales(task, name):
    options = {"seed_size": 8, "size": 10, "rationales": False}
    method = methods().get(name)
    keys = {key: value for key, value in options.items() if key in method.model_fields}
    _, theirs, _ = run(task, method(**keys))
    _, s3, _ = run(task, S3(seed_size=8, rounds=0, rationales=False))
    requests = [[row.provenance.request for row in each[0].train] for each in (theirs, s3)]
    assert requests[0] == requests[1]


def test_goldgen_reuses_what_s3_asked_of_the_same_row(task):
    _, goldgen, _ = run(task, GoldGen(seed_size=8, size=11, rationales=False))
    _, s3, _ = run(task, S3(seed_size=8, rounds=1, rationales=False))
    mined = {row.provenance.request for row in s3[1].added}
    assert mined < {row.provenance.request for row in goldgen[1].added}


def test_goldgen_stops_when_nothing_more_is_written(task):
    answer = lambda r: "" if r.tags["kind"] == "extrapolate" else f"text {r.draw}"  # noqa: E731
    backend, rounds, warnings = run(task, GoldGen(seed_size=8, size=12, rationales=False), answer)
    assert len(backend.of_kind("extrapolate")) == 6
    assert len(rounds[-1].train) == 8
    assert warnings == ["extrapolate gold: 0 of 4 rows were kept after 6 draws"]


def test_goldgen_refuses_a_size_below_its_seed():
    with pytest.raises(ValidationError, match="must be above seed_size"):
        GoldGen(seed_size=10, size=10)


def test_goldgen_takes_any_size_beside_seed_rows_that_are_given_and_warns_of_one_too_small(task):
    given = rows(*((f"row {i}", "ap"[i % 2]) for i in range(6)))
    for size, written, said in ((9, 3, 0), (6, 0, 1)):
        method = GoldGen(seed_from="rows.jsonl", size=size)
        _, rounds, warnings = run(task, method, seed_from=given)
        assert len(rounds[-1].train) == 6 + written
        assert sum("nothing is written" in each for each in warnings) == said


def test_gold_trains_on_mine_and_asks_no_llm(task):
    backend, rounds, _ = run(task, Gold())
    assert backend.requests == []
    assert len(rounds) == 1
    assert rounds[0].train == GOLD
