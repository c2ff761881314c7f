"""Hyper-parameters are searched on `select`: once, in good types, and never paid for twice."""

import json
import math
import sys
from typing import ClassVar

import numpy as np
import optuna
import pytest
from pydantic import ValidationError

import stepsynth
from stepsynth.errors import ConfigError
from stepsynth.metrics import Predictions
from stepsynth.records import Dataset
from stepsynth.students import StudentFactory, _search
from stepsynth.students._search import Range, Search
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks, Student
from stepsynth.students.linear import Linear
from tests.fakes import rows

LABELS = ("bad", "good")
DATA = rows(("warm", "good"), ("cold", "bad"))


class Curve(Student):
    """A student whose score is a known function of its fields: best at rate 0.01, depth 7."""

    name: ClassVar[str] = "curve"
    search_space: ClassVar = {"rate": Range(low=1e-4, high=1.0, log=True)}
    rate: float = 1.0
    depth: int = 7
    shape: str | bool | None = None
    epochs: int = 1

    fits: ClassVar[list["Curve"]] = []
    epochs_told: ClassVar[list[int]] = []
    stop_at: ClassVar[int | None] = None
    _score: float = 0.0

    def fit(self, dataset, *, weights=None, callbacks=NO_CALLBACKS):
        if len(self.fits) == self.stop_at:
            raise KeyboardInterrupt
        self.fits.append(self)
        self.epochs_told.append(0)
        distance = abs(math.log10(self.rate) + 2) / 3 + abs(self.depth - 7) / 9
        self._score = 1 / (1 + distance)
        for epoch in range(1, self.epochs + 1):
            callbacks.on_epoch(epoch, self._score * epoch / self.epochs)
            self.epochs_told[-1] = epoch

    def predict_examples(self, examples):
        return Predictions(LABELS, np.array([[self._score, 1 - self._score]] * len(examples)))

    def save_arrays(self, folder):
        (folder / "score.json").write_text(json.dumps(self._score))

    def load_arrays(self, folder):
        self._score = json.loads((folder / "score.json").read_text())


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    for name, value in (("fits", []), ("epochs_told", []), ("stop_at", None)):
        monkeypatch.setattr(Curve, name, value)


def make(memory=None, *, seed=0, told=None, fields=None, **search):
    spec = Curve(search=Search(**search), **(fields or {}))
    on_progress = (lambda *step: told.append(step)) if told is not None else (lambda *_: None)
    callbacks = FitCallbacks(
        DATA, lambda said: float(said.probabilities[0, 0]), on_progress=on_progress
    )
    return StudentFactory(spec, LABELS, seed, memory, callbacks)


def found_by(*args, **options):
    factory = make(*args, **options)
    factory.new().fit(DATA)
    return factory.found


def tried(count=None):
    """Return the rates that were trained with by a search, without the final fit."""
    return [student.rate for student in Curve.fits][:count]


def test_it_finds_the_best_and_every_later_round_uses_it():
    factory = make(trials=30, space={"depth": {"low": 1, "high": 10}})
    factory.new().fit(DATA)
    best = max(Curve.fits[:30], key=lambda student: student._score)
    assert factory.found["values"] == {"rate": best.rate, "depth": best.depth}
    assert factory.found["score"] == best._score > 0.8
    assert factory.found["trials"] == 30
    assert (factory.chosen.rate, factory.chosen.depth) == (best.rate, best.depth)
    fits = len(Curve.fits)
    again = factory.new()
    again.fit(Dataset([*DATA, *DATA]))
    assert len(Curve.fits) == fits + 1
    assert (again.student.rate, again.student.depth) == (best.rate, best.depth)


def test_it_finds_what_is_best_for_a_real_student():
    data = rows(*((f"warm {i}", "good") for i in range(9)), *((f"cold {i}", "bad") for i in "xyz"))
    spec = Linear(search=Search(trials=3, space={"C": [1e-6, 10.0], "max_features": [500]}))
    callbacks = FitCallbacks(data, lambda said: float(said.probabilities.max(axis=1).mean()))
    factory = StudentFactory(spec, LABELS, 0, callbacks=callbacks)
    factory.new().fit(data)
    assert factory.found["values"] == {"C": 10.0, "max_features": 500}


def test_a_random_seed_decides_what_is_tried():
    tries = []
    for seed in (0, 0, 1):
        Curve.fits.clear()
        found_by(seed=seed, trials=12)
        tries.append(tried(12))
    assert tries[0] == tries[1]
    assert not set(tries[0]) & set(tries[2])


@pytest.mark.parametrize("cut", [1, 4, 13])
def test_a_search_that_is_cut_off_goes_on_as_if_it_were_not(tmp_path, cut):
    whole = found_by(tmp_path / "whole", trials=15)
    rates = tried(15)
    Curve.fits.clear()
    Curve.stop_at = cut
    with pytest.raises(KeyboardInterrupt):
        found_by(tmp_path / "cut", trials=15)
    assert len(Curve.fits) == cut
    Curve.stop_at, told = None, []
    assert found_by(tmp_path / "cut", trials=15, told=told) == whole
    assert tried(15) == rates
    assert told[0] == ("trials", cut, 15)
    assert told[-1] == ("trials", 15, 15)


def test_a_search_goes_on_after_a_line_that_a_full_disk_has_torn(tmp_path):
    whole = found_by(trials=5)
    Curve.fits.clear()
    Curve.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        found_by(tmp_path, trials=5)
    (journal,) = tmp_path.glob("search-*.log")
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "work')
    Curve.stop_at = None
    assert found_by(tmp_path, trials=5) == whole
    assert found_by(tmp_path, trials=5) == whole


def test_values_that_were_tried_are_not_trained_with_again():
    found = found_by(trials=12, space={"rate": [0.1, 0.01]})
    assert found["trials"] == 12
    assert sorted(tried()[:-1]) == [0.01, 0.1]
    assert found["values"] == {"rate": 0.01}


def test_the_time_that_is_given_holds_for_all_invocations(tmp_path, monkeypatch):
    monkeypatch.setattr(_search, "_minutes", lambda trials: 2.0 * len(trials))
    assert found_by(tmp_path, trials=50, minutes=5)["trials"] == 3
    Curve.fits.clear()
    assert found_by(tmp_path, trials=50, minutes=5)["trials"] == 3
    assert Curve.fits == []


def test_time_is_that_of_the_trials(tmp_path):
    found_by(tmp_path, trials=3)
    (journal,) = tmp_path.glob("search-*.log")
    study = optuna.load_study(study_name="search", storage=_search._open_journal(journal))
    first, last = study.trials[0].datetime_start, study.trials[-1].datetime_complete
    assert 0 < _search._minutes(study.trials) * 60 <= (last - first).total_seconds()


def test_a_trial_that_lags_behind_is_ended_early():
    found = found_by(trials=20, fields={"epochs": 6})
    assert found["pruned"] > 0
    assert found["trials"] == 20
    early = [epochs for epochs in Curve.epochs_told[:20] if epochs < 6]
    assert len(early) == found["pruned"]
    best = max(range(20), key=lambda i: Curve.fits[i]._score)
    assert Curve.epochs_told[best] == 6
    assert found["values"]["rate"] == Curve.fits[best].rate


def test_types_are_those_that_the_fields_have():
    space = {
        "depth": {"low": 1, "high": 9, "log": True},
        "shape": ["wide", True],
        "epochs": [1, 2],
    }
    found = found_by(trials=12, space=space)
    assert {type(student.rate) for student in Curve.fits} == {float}
    assert {type(student.depth) for student in Curve.fits} == {int}
    assert {student.shape for student in Curve.fits} == {"wide", True}
    assert {type(student.epochs) for student in Curve.fits} == {int}
    assert json.loads(json.dumps(found)) == found


def test_a_space_of_ones_own_replaces_a_fields_and_bounds_hold():
    found_by(trials=12, space={"rate": {"low": 0.2, "high": 0.3}})
    assert all(0.2 <= rate <= 0.3 for rate in tried())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no value to try is given for 'C'"),
        ({"low": 2, "high": 2}, "the low end of 'C' must be below the high end"),
        ({"low": 0, "high": 2, "log": True}, "'C': a log range must begin above 0"),
        ({"low": 1}, "high"),
        ({"low": 1, "high": 2, "step": 1}, "step"),
    ],
)
def test_a_space_that_cannot_be_is_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        Linear(search={"space": {"C": values}})


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"minutes": 0}, {"trails": 3}])
def test_a_search_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        Linear(search=wrong)


@pytest.mark.parametrize("name", ["max_feature", "search", "name"])
def test_a_field_that_the_student_has_not_is_named(name):
    with pytest.raises(ConfigError, match=f"the student has no field '{name}'") as caught:
        Linear(search={"space": {name: [1]}}).check()
    assert "Fields: C, max_features." in caught.value.message
    if name == "max_feature":
        assert caught.value.hint == "did you mean 'max_features'?"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"C": [1.0, "x"]}, "'x' cannot be tried"),
        ({"C": {"low": -1.0, "high": 1.0}}, "-1.0 cannot be tried: Input should be greater than 0"),
        ({"max_features": {"low": 1.0, "high": 9.5}}, "1.0 cannot be tried"),
        ({"max_features": [10, 2.5]}, "2.5 cannot be tried"),
    ],
)
def test_a_value_that_the_field_cannot_have_is_named_before_anything_is_paid(space, message):
    with pytest.raises(ConfigError, match=message):
        Linear(search={"space": space}).check()
    Linear(search={"space": {"C": {"low": 1, "high": 100}, "max_features": [10]}}).check()


def test_a_missing_library_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="optuna is not installed") as caught:
        Linear(search={}).check()
    assert caught.value.hint == "pip install 'stepsynth[hpo]'"


def test_there_must_be_something_to_search(monkeypatch):
    monkeypatch.setattr(Curve, "search_space", {})
    with pytest.raises(ConfigError, match="there is nothing to search"):
        Curve(search={}).check()


@pytest.mark.slow
def test_a_run_writes_what_was_found_and_resumes_with_it(tmp_path, monkeypatch):
    gold = [
        {"text": f"the {fruit} no {i} tastes {word}", "label": fruit}
        for fruit, word in (("apple", "crisp"), ("pear", "soft"))
        for i in range(20)
    ]
    rules = [
        {"pattern": "Write.*apple", "answers": [f"apple {w}" for w in ("crisp", "red", "soft")]},
        {"pattern": "Write.*pear", "answers": [f"pear {w}" for w in ("soft", "long", "green")]},
    ]

    def run():
        return stepsynth.synthesize(
            {"labels": ["apple", "pear"]},
            gold,
            llm={"backend": "scripted", "rules": rules},
            student={"name": "linear", "search": {"trials": 3}},
            method={"name": "s3", "seed_size": 12, "rounds": 1, "rationales": False},
            out=tmp_path / "run",
        )

    first = run()
    found = first.summary.search
    assert found["trials"] == 3
    assert set(found["values"]) == {"C", "max_features"}
    config = (tmp_path / "run/config.yaml").read_text(encoding="utf-8")
    assert f"C: {found['values']['C']}" in config
    saved = json.loads((tmp_path / "run/model/student.json").read_text(encoding="utf-8"))
    assert saved["fields"]["C"] == found["values"]["C"]
    page = first.report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "3 trials" in page
    assert f">{found['values']['C']}</td>" in page
    monkeypatch.setattr(Linear, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    assert run().summary.search == found
