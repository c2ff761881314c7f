"""Vectors on disk, by LanceDB, find what an exact search finds."""

import numpy as np
import pytest

from stepsynth.errors import ConfigError
from stepsynth.retrieval import Passage, _encoder, retrievers
from stepsynth.retrieval import lancedb as module
from stepsynth.retrieval.dense import Dense
from stepsynth.retrieval.lancedb import LanceDB, Table, write_table
from tests.unit.retrieval.test_retrieval import FakeEncoder, made_passages


@pytest.fixture
def encoder(monkeypatch):
    fake = FakeEncoder()
    monkeypatch.setattr(_encoder, "load_encoder", lambda _: fake)
    return fake


def clustered(count, dimensions=32, clusters=20):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((clusters, dimensions))
    noise = 0.5 * rng.standard_normal((count, dimensions))
    vectors = (centres[rng.integers(clusters, size=count)] + noise).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_it_is_a_retriever_whose_extra_is_named_where_it_is_missing():
    assert retrievers().get("lancedb") is LanceDB
    try:
        import lancedb  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError) as caught:
            LanceDB().check()
        assert "stepsynth[lancedb]" in caught.value.hint


def test_its_hits_are_those_of_dense(encoder, tmp_path):
    pytest.importorskip("lancedb")
    passages = made_passages(300)
    queries = [passages[7].text, "w1 w2 w3", passages[200].text]
    found = LanceDB().index(passages, tmp_path / "lance").search(queries, 5)
    exact = Dense().index(passages, tmp_path / "dense").search(queries, 5)
    assert [[h.passage for h in hits] for hits in found] == [[h.passage for h in e] for e in exact]
    for hits, others in zip(found, exact, strict=True):
        assert [h.cosine for h in hits] == pytest.approx([h.cosine for h in others], abs=1e-5)
    index = LanceDB().index(passages, tmp_path / "lance")
    assert index.embed([passages[3].text, "new"])[0] == pytest.approx(
        encoder.vector(passages[3].text), abs=1e-6
    )
    assert [len(hits) for hits in index.search(["", queries[0]], 3)] == [0, 3]


def test_with_an_index_nearly_all_of_the_nearest_are_found(tmp_path, monkeypatch):
    pytest.importorskip("lancedb")
    monkeypatch.setattr(module, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(module, "PARTITION", 256)
    vectors = clustered(6000)
    write_table(tmp_path, np.array_split(vectors, 7))
    table, queries = Table(tmp_path), vectors[::300]
    assert table._table.list_indices()
    found = table.find_nearest(queries, 10)
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    recall = np.mean([len({*p} & {*b}) / 10 for (p, _), b in zip(found, best, strict=True)])
    assert recall > 0.95
    assert all((np.diff(cosines) <= 1e-6).all() for _, cosines in found)
    assert found[3][0][0] == 900
    assert table.take([5999, 3, 3]) == pytest.approx(vectors[[5999, 3, 3]], abs=1e-6)


def test_a_damaged_index_is_named(encoder, tmp_path):
    pytest.importorskip("lancedb")
    passages = [Passage(str(i), f"w{i}") for i in range(5)]
    LanceDB().index(passages, tmp_path / "lance")
    for path in (tmp_path / "lance").rglob("*.lance"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(ConfigError, match="the index cannot be read"):
        LanceDB().index(passages, tmp_path / "lance").search(["w1"], 2)
