"""The student `auto` is the candidate that does best on gold rows it has not seen."""

import json
import socket
import sys

import huggingface_hub.constants
import pytest
from model2vec import StaticModel
from pydantic import ValidationError

import stepsynth
from stepsynth.errors import ConfigError
from stepsynth.records import Dataset
from stepsynth.students import StudentFactory, auto, load_student, static
from stepsynth.students.auto import Auto
from tests.fakes import rows
from tests.static_vectors import static_model

KIND = ("lovely", "wonderful", "excellent", "beautiful", "gorgeous", "splendid", "great", "superb")
UNKIND = ("awful", "terrible", "horrible", "ugly", "nasty", "dreadful", "poor", "bad")
BY_MEANING = rows(*((word, "good") for word in KIND), *((word, "bad") for word in UNKIND))
"""No word stands in two rows: counts of words say nothing of a row that was not seen."""

LABELS = ("bad", "good")


def static_spec():
    return {"name": "static", "model": static_model(), "C": 100.0}


def test_the_candidate_with_the_best_macro_f1_out_of_fold_is_chosen_and_said():
    said = []
    chosen = Auto(candidates=("linear", static_spec())).choose(BY_MEANING, LABELS, 0, said.append)
    assert chosen.name == "static"
    assert said[0].startswith("student auto: static is used. Macro-F1 in cross-validation on 16 ")
    again = Auto(candidates=(static_spec(), "linear")).choose(BY_MEANING, LABELS, 0)
    assert again == chosen


def test_of_equals_the_first_is_chosen():
    good, bad = [(f"{word} film", "good") for word in "abcd"], [("e tax", "bad"), ("f tax", "bad")]
    easy = rows(*good, *bad)
    both = ({"name": "linear", "C": 1.0}, {"name": "linear", "C": 2.0})
    for candidates in (both, both[::-1]):
        chosen = Auto(candidates=candidates).choose(easy, LABELS, 0)
        assert candidates[0]["C"] == chosen.C


def test_copies_of_a_text_are_not_predicted_by_each_other():
    """Counts of words know every copy, and would win by it."""
    twice = Dataset([*BY_MEANING, *BY_MEANING])
    assert Auto(candidates=("linear", static_spec())).choose(twice, LABELS, 0).name == "static"


@pytest.mark.parametrize("data", [rows(), rows(("fine", "good"), ("bad", "bad")), BY_MEANING[:4]])
def test_with_too_few_rows_the_first_is_taken_and_it_is_said(data):
    said = []
    assert (
        Auto(candidates=("linear", static_spec())).choose(data, LABELS, 0, said.append).name
        == "linear"
    )
    assert "too few gold rows" in said[0]


def test_a_rare_label_does_not_keep_it_from_choosing():
    """It has one text, which cannot be learnt and predicted, or copies of one."""
    rare = rows(*[("splendid", "other")] * 3)
    said = []
    labels = (*LABELS, "other")
    auto = Auto(candidates=("linear", static_spec()))
    assert auto.choose(Dataset([*BY_MEANING, *rare]), labels, 0, said.append).name == "static"
    assert "on 16 gold rows" in said[0]
    alone = rows(
        ("the same", "good"), ("the same", "good"), *((f"{i} bad", "bad") for i in "abcde")
    )
    assert auto.choose(alone, LABELS, 0, said.append).name == "linear"
    assert "too few gold rows" in said[1]


def test_a_fold_that_would_learn_one_label_is_left_out():
    """Both texts of the rare label fall into one fold."""
    copied = [*[("t1", "bad")] * 5, ("t1", "good"), *[("t2", "bad")] * 5, *[("t4", "good")] * 5]
    data = rows(("t0", "bad"), *copied[:11], ("t3", "bad"), *copied[11:], ("t5", "bad"))
    said = []
    Auto(candidates=("linear", {"name": "linear", "C": 2})).choose(data, LABELS, 0, said.append)
    assert "on 7 gold rows" in said[0]


@pytest.mark.parametrize("is_downloaded", [True, False])
def test_what_is_not_installed_is_left_out_unless_it_was_named(monkeypatch, is_downloaded):
    monkeypatch.setitem(sys.modules, "model2vec", None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.setattr(auto, "is_here", lambda _: is_downloaded)
    said = []
    assert Auto().choose(BY_MEANING, LABELS, 0, said.append).name == "linear"
    assert said[0].startswith("student auto: left out are static: the library model2vec is not")
    assert "; embedding: the library sentence_transformers is not" in said[0]
    with pytest.raises(ConfigError, match="model2vec"):
        Auto(candidates=("linear", "static")).check()


def test_no_model_is_downloaded_that_was_not_named(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, lambda *_: pytest.fail("the network was asked"))
    said = []
    read_again = Auto.model_validate(Auto().model_dump())
    assert read_again.choose(BY_MEANING, LABELS, 0, said.append).name == "linear"
    assert "static: its model minishlab/potion-base-8M is not on this machine" in said[0]


def test_a_model_that_was_downloaded_before_is_a_candidate(monkeypatch):
    monkeypatch.setattr(auto, "is_here", lambda name: "potion" in name)
    monkeypatch.setattr(static, "_vectors", lambda *_: StaticModel.from_pretrained(static_model()))
    said = []
    assert Auto().choose(BY_MEANING, LABELS, 0, said.append).name in ("linear", "static")
    assert said[0].startswith("student auto: left out are embedding: its model sentence-transf")
    assert "linear" in said[1]
    assert "static" in said[1]


@pytest.mark.parametrize("keys", [{"candidates": ["auto"]}, {"candidates": []}, {"search": {}}])
def test_settings_without_sense_are_refused(keys):
    with pytest.raises(ValidationError):
        Auto.model_validate(keys)


def test_by_itself_it_chooses_by_what_it_learns_from_and_is_saved_as_what_it_became(tmp_path):
    model = StudentFactory(Auto(candidates=("linear", static_spec())), LABELS, 0).new()
    model.fit(BY_MEANING)
    model.student.save(tmp_path)
    assert load_student(tmp_path).name == "static"
    assert load_student(tmp_path).predict(BY_MEANING.texts) == model.predict(BY_MEANING).labels


def test_a_run_goes_on_as_if_the_chosen_one_had_been_named(tmp_path):
    gold = [{"text": f"{row.text} {i}", "label": row.label} for i in "12" for row in BY_MEANING]
    split = {"mine": 16, "select": 8, "test": 8}
    keys = {"split": split, "method": "gold", "out": tmp_path / "run"}
    task = {"labels": list(LABELS)}
    student = {"name": "auto", "candidates": ["linear", static_spec()]}
    result = stepsynth.synthesize(task, gold, student=student, **keys)
    assert result.summary.student in ("linear", "static")
    told = [message for message in result.summary.warnings if "student auto" in message]
    assert [result.summary.student in message for message in told] == [True]
    saved = json.loads((tmp_path / "run/model/student.json").read_text(encoding="utf-8"))
    assert saved["student"] == result.summary.student
    again = stepsynth.synthesize(task, gold, student=student, **keys)
    assert again.summary.test == result.summary.test
