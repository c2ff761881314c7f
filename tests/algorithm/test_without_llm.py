"""Methods that ask no LLM: label descriptions alone, and pseudo labels."""

import pytest

from stepsynth.errors import ConfigError
from stepsynth.methods.selftrain import SelfTrain
from stepsynth.methods.zeroshot import ZeroShot
from stepsynth.students.linear import Linear
from tests.fakes import follow, rows

GOLD = rows(
    *((f"crisp red {i}", "a") for i in range(4)), *((f"soft green {i}", "p") for i in range(4))
)
TEXTS = rows(
    *((f"a crisp one of stall {i}", "") for i in range(10)),
    *((f"a soft one of stall {i}", "") for i in range(5)),
)


def run(task, method, **more):
    backend, rounds, warnings = follow(task, method, lambda _: "", Linear(), GOLD, **more)
    assert not backend.requests
    return rounds, warnings


def test_zeroshot_trains_on_a_description_of_each_label(task):
    rounds, _ = run(task, ZeroShot())
    assert [(row.text, row.label) for row in rounds[0].train] == [
        ("fruit note that is apple", "a"),
        ("fruit note that is pear", "p"),
    ]
    assert rounds[0].train[0].provenance.kind == "description"


def test_zeroshot_takes_descriptions_of_ones_own(task):
    method = ZeroShot.model_validate({"descriptions": {"a": ["red", "crisp"], "p": "soft, green"}})
    rounds, _ = run(task, method)
    assert rounds[0].train.labels == ["a", "a", "p"]
    assert rounds[0].select_score == 1.0
    with pytest.raises(ConfigError, match="the task has the labels"):
        run(task, ZeroShot(descriptions={"a": ["red"], "pear": ["green"]}))
    with pytest.raises(ConfigError, match="a description for every label"):
        run(task, ZeroShot(descriptions={"a": ["red"], "p": []}))


def test_selftrain_adds_the_most_confident_share_of_each_predicted_label(task):
    rounds, _ = run(task, SelfTrain(rounds=5), unlabelled=TEXTS)
    assert [len(done.added) for done in rounds] == [0, 3, 6, 9, 12, 15]
    assert rounds[0].train == GOLD
    for done in rounds[1:]:
        assert list(done.train)[:8] == list(GOLD)
        assert all(("soft" in row.text) == (row.label == "p") for row in done.added)
        assert all(row.provenance.kind == "pseudo_label" for row in done.added)
    assert set(rounds[5].added.texts) == set(TEXTS.texts)


def test_selftrain_keeps_the_first_best_round_or_the_last(task):
    rounds, _ = run(task, SelfTrain(rounds=2), unlabelled=TEXTS)
    assert SelfTrain().choose_round(rounds, GOLD) == 0  # all are perfect
    assert SelfTrain(keep="last").choose_round(rounds, GOLD) == 2
