"""The static student knows words that no row has, and exactly those that rows have."""

import os
import sys

import numpy as np
import pytest
from model2vec import StaticModel

from stepsynth.errors import ConfigError
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory, load_student
from stepsynth.students.ensemble import Ensemble
from stepsynth.students.static import Static
from tests.fakes import rows
from tests.static_vectors import static_model

DATA = rows(
    *((f"the {word} film", "good") for word in ("lovely", "wonderful", "excellent", "beautiful")),
    *((f"the {word} film", "bad") for word in ("awful", "terrible", "horrible", "ugly")),
)
UNSEEN = ("gorgeous", "splendid", "nasty", "dreadful")
PAIRS = Dataset(
    Example(said, "same" if said == seen else "other", seen)
    for said in ("a dog runs", "rain falls", "two men cook")
    for seen in ("a dog runs", "rain falls", "two men cook")
)


def fitted(data=DATA, labels=("bad", "good"), **keys):
    model = StudentFactory(Static(model=static_model(), **keys), labels, 0).new()
    model.fit(data)
    return model


def test_words_that_no_row_has_are_known_by_their_vectors():
    said = fitted(tfidf=False, C=100.0).predict(rows(*((f"the {w} film", "good") for w in UNSEEN)))
    assert said.labels == ["good", "good", "bad", "bad"]


def test_words_that_decide_are_known_by_their_counts():
    """Two made-up words have no vectors that tell them apart."""
    data = rows(*((f"it is {'zqx' if i % 2 else 'zqy'} {i}", "ab"[i % 2]) for i in range(40)))
    joined = fitted(data, ("a", "b")).predict(rows(("it is zqx", "b"), ("it is zqy", "a")))
    assert joined.labels == ["b", "a"]


@pytest.mark.parametrize("tfidf", [False, True])
def test_pairs_are_told_apart_by_how_they_differ(tfidf, tmp_path):
    model = fitted(PAIRS, ("other", "same"), tfidf=tfidf, C=100.0)
    assert model.predict(PAIRS).labels == list(PAIRS.labels)
    model.student.save(tmp_path, columns={"text": "text", "context": "premise"})
    again = load_student(tmp_path)
    assert again.predict([row.text for row in PAIRS], [row.context for row in PAIRS]) == list(
        PAIRS.labels
    )


@pytest.mark.parametrize("tfidf", [False, True])
def test_a_saved_model_carries_its_vectors(tfidf, tmp_path):
    model = fitted(tfidf=tfidf)
    model.student.save(tmp_path)
    again = load_student(tmp_path)
    assert again._vectors_folder == str(tmp_path / "vectors")
    before = model.predict(DATA).probabilities
    assert np.allclose(again.predict_probabilities(DATA.texts).probabilities, before, atol=1e-5)
    assert (tmp_path / "vocabulary.json").exists() == tfidf
    assert not list(tmp_path.rglob("*.pkl"))


def test_long_and_empty_texts_are_taken():
    long = "the lovely film " * 2000
    said = fitted().predict(rows((long, "good"), ("…", "bad"), ("☃", "bad")))
    assert said.labels[0] == "good"
    assert np.isfinite(said.probabilities).all()


def test_the_end_of_a_long_text_counts():
    words = "so and the of a " * 300
    model = fitted(tfidf=False, C=100.0)
    p = [
        model.predict(rows((words + end, "good"))).probabilities[0, 1]
        for end in ("lovely wonderful excellent " * 100, "awful terrible horrible " * 100)
    ]
    assert p[0] > p[1] + 0.1


@pytest.mark.parametrize("name", ["no/such/folder", "."])
def test_what_is_no_model_is_said_before_anything_is_paid(name):
    with pytest.raises(ConfigError, match=r"student.model: .* cannot be loaded") as caught:
        Static(model=name).check()
    assert "Model2Vec" in caught.value.hint


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(ConfigError, match="model2vec is not installed") as caught:
        Static(model="another").check()
    assert caught.value.hint == "pip install 'stepsynth[static]'"


@pytest.mark.parametrize("in_ensemble", [False, True])
def test_other_vectors_under_the_same_name_give_another_model(tmp_path, in_ensemble):
    """In the same process, and where a fitted student is remembered on disk."""
    folder = tmp_path / "vectors"
    keys = {"name": "static", "model": str(folder), "tfidf": False}
    spec = Ensemble(of=keys) if in_ensemble else Static(model=str(folder), tfidf=False)

    def say(scale):
        own = StaticModel.from_pretrained(static_model())
        StaticModel(own.embedding * scale, own.tokenizer).save_pretrained(folder)
        for file in folder.iterdir():
            os.utime(file, (scale, scale))  # clocks of files are coarse
        model = StudentFactory(spec, ("bad", "good"), 0, tmp_path / "fitted").new()
        model.fit(DATA)
        return model.predict(DATA).probabilities

    first = say(1)
    assert np.abs(say(2) - first).max() > 0.001
    assert np.array_equal(say(1), first)
