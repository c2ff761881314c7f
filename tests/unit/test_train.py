"""`stepsynth train`: rows of runs and files become the model that a run would have trained."""

import json
import os
import stat

import pytest
from typer.testing import CliRunner

import stepsynth
from stepsynth.cli.main import app
from stepsynth.data import read_file, spool, stream_file
from stepsynth.errors import DataError, RunFolderError
from stepsynth.observer import Observer
from stepsynth.records import Answers
from stepsynth.taskfile import load_config
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.train import train

pytest.importorskip("pyarrow")

WORDS = {"apple": ("red", "crisp"), "pear": ("soft", "long")}


def rows(first, count, name="note"):
    return [
        {name: f"{fruit} {i} is {WORDS[fruit][i % 2]}", "fruit": fruit}
        for fruit in WORDS
        for i in range(first, first + count)
    ]


def write(path, given):
    path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
    return str(path)


@pytest.fixture
def task(tmp_path):
    write(tmp_path / "gold.jsonl", rows(0, 20))
    columns = {"text": "note", "label": "fruit"}
    keys = {
        "task": {"instruction": "Which fruit?", "labels": list(WORDS)},
        "data": {"gold": "gold.jsonl", "columns": columns, "split": {"select": 10, "test": 10}},
        "method": "gold",
    }
    (tmp_path / "fruit.yaml").write_text(json.dumps(keys), encoding="utf-8")
    return tmp_path / "fruit.yaml"


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Heard(Observer):
    def __init__(self):
        self.warnings, self.phases = [], []

    def warn(self, message):
        self.warnings.append(message)

    def progress(self, phase, done, total):
        self.phases.append((phase, done, total))


def trained(task, *sources, out="model", heard=None, overrides=()):
    config = load_config(task, list(overrides))
    return train(config, sources, task.parent / out, heard or Heard())


@pytest.mark.parametrize("shard_rows", [1000, 7])
def test_the_data_set_of_a_run_gives_its_model(task, tmp_path, shard_rows):
    overrides = [f"data.shard_rows={shard_rows}"]
    result = stepsynth.run(task, overrides=overrides, out=tmp_path / "run")
    told = trained(task, str(tmp_path / "run"))
    assert (tmp_path / "run" / "dataset").is_dir() == (shard_rows == 7)
    assert told.rows == len(result.dataset)
    assert dict(told.test.known()).items() <= dict(result.summary.test.known()).items()
    theirs, ours = (
        {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()}
        for folder in ("run/model", "model")
    )
    assert ours.pop("trained.json")
    assert ours == theirs


def test_a_data_set_goes_to_an_address_and_from_there_into_training(task, tmp_path):
    pytest.importorskip("fsspec")
    stepsynth.run(task, out=tmp_path / "run")
    run, address = str(tmp_path / "run"), f"file://{tmp_path}/bucket/rows"
    done = CliRunner().invoke(app, ["export", run, "--dataset", address])
    assert (done.exit_code, "rows: 20 rows" in done.stderr) == (0, True), done.output
    again = CliRunner().invoke(app, ["export", run, "--dataset", address])
    assert (again.exit_code, "there is something" in again.stderr) == (2, True)
    here = CliRunner().invoke(app, ["export", run, "--dataset", str(tmp_path / "bucket" / "rows")])
    assert (here.exit_code, "rows exists" in here.stderr) == (2, True)
    assert trained(task, address).rows == 20


def test_files_of_both_namings_are_read_in_order_without_copies_of_held_out_rows(task, tmp_path):
    mine = write(tmp_path / "mine.jsonl", rows(100, 5))
    runs = write(
        tmp_path / "runs.jsonl",
        [{"text": f"a {fruit} {i}", "label": fruit} for i in range(3) for fruit in WORDS],
    )
    gold, heard = str(tmp_path / "gold.jsonl"), Heard()
    told = trained(task, mine, runs, gold, heard=heard)
    assert told.rows == 10 + 6 + 20
    assert told.rows_by_label == {"apple": 18, "pear": 18}
    assert told.sources == (mine, runs, gold)
    assert sorted(heard.warnings) == [
        "rows to train on: 10 of 56 were left out: copy of select",
        "rows to train on: 10 of 56 were left out: copy of test",
    ]
    assert heard.phases[-1] == ("rows", 56, 56)
    written = json.loads((tmp_path / "model" / "trained.json").read_text())
    assert written["test"]["accuracy"] == told.test["accuracy"]


def test_nothing_is_left_where_no_row_may_be_trained_on(task, tmp_path):
    before = sorted(tmp_path.iterdir())
    config = load_config(task, [])
    test = read_file(tmp_path / "gold.jsonl", config.task, config.data.columns)
    held = stepsynth.run(task, out=tmp_path / "run").dataset
    copies = [row for row in test if row not in held]
    path = write(
        tmp_path / "copies.jsonl", [{"text": row.text, "label": row.label} for row in copies]
    )
    with pytest.raises(DataError, match="every row is a copy of a test or select row"):
        trained(task, path)
    one = write(tmp_path / "one.jsonl", rows(100, 5)[:5])
    with pytest.raises(DataError, match="all rows have the same label"):
        trained(task, one)
    added = {tmp_path / name for name in ("run", "copies.jsonl", "one.jsonl")}
    assert set(tmp_path.iterdir()) - set(before) == added


def test_what_cannot_be_read_is_told_before_the_first_file_is_read(task, tmp_path):
    mine, heard = write(tmp_path / "mine.jsonl", rows(100, 5)), Heard()
    with pytest.raises(DataError, match=r"nope\.jsonl: there is no such file"):
        trained(task, mine, "nope.jsonl", heard=heard)
    (tmp_path / "stopped" / "rounds" / "0").mkdir(parents=True)
    write(tmp_path / "stopped" / "rounds" / "0" / "examples.jsonl", [])
    with pytest.raises(DataError, match="stopped: this run has no data set yet"):
        trained(task, mine, str(tmp_path / "stopped"), heard=heard)
    assert heard.phases == []
    bad = write(tmp_path / "bad.jsonl", [*rows(200, 2), {"note": "x", "fruit": "plum"}])
    with pytest.raises(DataError, match=r"bad\.jsonl, line 5: the label 'plum'"):
        trained(task, bad)
    assert trained(task, mine, bad, overrides=["data.on_bad_row=skip"]).rows == 14
    with pytest.raises(RunFolderError, match="model exists"):
        trained(task, mine)


def test_the_command_tells_scores_and_predict_takes_the_model(task, tmp_path):
    mine, out = write(tmp_path / "mine.jsonl", rows(100, 20)), str(tmp_path / "model")
    done = CliRunner().invoke(app, ["train", str(task), mine, "--out", out])
    assert done.exit_code == 0, done.output
    assert "linear trained on 40 rows (20 apple, 20 pear)" in done.stdout
    assert "test: acc. 1.000, F1 1.000 (10 rows)" in done.stdout
    assert stepsynth.load_student(out).predict(["an apple is crisp"]) == ["apple"]
    again = CliRunner().invoke(app, ["train", str(task), mine, "--out", out, "--json"])
    assert again.exit_code == 2
    assert json.loads(again.stdout.splitlines()[-1])["error"].endswith("model exists")


def test_a_folder_that_all_may_write_to_makes_no_model_that_they_may(task, tmp_path):
    tmp_path.chmod(0o777)  # as /tmp is
    trained(task, write(tmp_path / "rows.jsonl", rows(20, 40)))
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o777 & ~umask()


def test_rows_of_another_tool_are_told_both_namings(task, tmp_path):
    other = [{"body": row["note"], "class": row["fruit"]} for row in rows(20, 40)]
    with pytest.raises(DataError) as caught:
        trained(task, write(tmp_path / "other.jsonl", other))
    assert caught.value.hint == "columns are note, fruit, as in gold, or text, label"


def test_questions_of_a_run_are_read_with_their_answers(tmp_path):
    label = {"text": ["Ann"], "answer_start": [0]}
    given = [{"text": "Who?", "label": label, "context": "Ann is here."}]
    path = write(tmp_path / "dataset.jsonl", given)
    for passage in ("passage", "text"):  # a column of the user's may have the name of our field
        columns = {"text": "question", "context": passage}
        (row,) = spool(stream_file(path, ExtractiveQA(), columns), tmp_path / "rows.arrow")
        assert (row.text, row.context) == ("Who?", "Ann is here.")
        assert row.label == Answers(("Ann",), (0,))


def test_copies_that_are_let_pass_are_told_and_calibrate_nothing(tmp_path, task):
    more = write(tmp_path / "gold.jsonl", rows(0, 80))
    mine, split = write(tmp_path / "mine.jsonl", rows(200, 5)), "data.split={select: 100, test: 20}"
    trained(task, mine, overrides=[split])
    assert (tmp_path / "model" / "calibration.json").exists()
    heard = Heard()
    off = [split, "curation.copies=false"]
    trained(task, more, out="copied", heard=heard, overrides=off)
    assert any("curation.copies is off: 100 copy_of_select, 20 copy" in x for x in heard.warnings)
    assert not (tmp_path / "copied" / "calibration.json").exists()
