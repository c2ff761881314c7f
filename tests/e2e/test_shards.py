"""A run of many rows writes its data set as Parquet shards, which all that reads runs takes."""

import json

import pytest

import stepsynth
from stepsynth.data import rows_of_file
from tests.e2e.cli import ok, write_task

parquet = pytest.importorskip("pyarrow.parquet")

SCRIPTED = "{backend: scripted, rules: [{pattern: Write, answers: [x, y, z]}]}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run twice: as one file, and as shards of seven rows."""
    folder = tmp_path_factory.mktemp("runs")
    task = write_task(folder, llm=SCRIPTED)
    for name, more in (("whole", ()), ("cut", ("--set", "data.shard_rows=7"))):
        done = ok("run", task, "--set", "method=zerogen", *more, "--out", folder / name)
    assert f"Data set: {folder / 'cut' / 'dataset'}" in done.stdout.replace("\n", "")
    return folder / "whole", folder / "cut"


def test_the_shards_hold_the_rows_of_the_file(runs):
    whole, cut = (stepsynth.open_run(run) for run in runs)
    assert len(whole.dataset) > 14
    assert list(cut.dataset) == list(whole.dataset)
    assert [row.provenance for row in cut.dataset] == [row.provenance for row in whole.dataset]
    assert not (runs[1] / "dataset.jsonl").exists()
    manifest = json.loads((runs[1] / "dataset" / "manifest.json").read_text())
    assert manifest["rows"] == len(whole.dataset)
    sizes = [shard["rows"] for shard in manifest["shards"]]
    assert sizes[:-1] == [7] * (len(sizes) - 1)
    for shard in manifest["shards"]:
        assert parquet.read_metadata(runs[1] / "dataset" / shard["file"]).num_rows == shard["rows"]


def test_they_are_read_as_data_of_another_task(runs):
    rows = [row for _, row in rows_of_file(runs[1] / "dataset")]
    assert [row["text"] for row in rows] == stepsynth.open_run(runs[0]).dataset.texts
    assert {"label", "method", "parents"} <= set(rows[0])


def test_a_study_takes_them(runs):
    ok("study", "diversity", runs[1], "--json")


def test_the_same_run_with_another_size_leaves_one_form(runs):
    folder = runs[1].parent
    ok("run", folder / "fruit.yaml", "--set", "method=zerogen", "--out", runs[1], "--json")
    assert (runs[1] / "dataset.jsonl").read_bytes() == (runs[0] / "dataset.jsonl").read_bytes()
    assert not (runs[1] / "dataset").exists()
