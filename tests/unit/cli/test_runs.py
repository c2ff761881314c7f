"""The list of runs: every run under a folder, also those that stopped or are damaged."""

import json
import os
import shutil
from datetime import datetime

import pytest

from stepsynth.runfolder import RunFolder
from tests.e2e.cli import in_json, stepsynth


@pytest.fixture(scope="module")
def runs(demo, tmp_path_factory):
    """A folder with a run that is done, one that stopped, one that failed and a damaged one."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("done", "a-compare/s3/0", "failed", "killed", "bad", "worse"):
        shutil.copytree(demo.folder, folder / name)
    for name in ("failed", "killed"):
        RunFolder(folder / name).manifest.unlink()
    with RunFolder(folder / "failed").events.open("a") as events:
        row = {"time": "2026-01-02T03:04:05+00:00", "event": "stop"}
        row |= {"reason": "ProviderError", "message": "no such model [red]\x1b[2J"}
        usage = {"time": "x", "event": "usage", "usd": "much", "requests": 7}
        events.write(json.dumps(usage) + "\n" + json.dumps(row) + "\n")
    RunFolder(folder / "bad").manifest.write_text('{"summary": {}}')
    RunFolder(folder / "worse").config.unlink()
    (folder / "notes").mkdir()
    (folder / "notes/summary.json").write_text("{}")
    os.symlink(folder, folder / "notes/circle")
    return folder


def listed(folder, *options):
    return in_json("runs", folder, *options)["runs"]


def test_every_run_has_a_line_with_its_state(runs):
    found = {line["run"].removeprefix(f"{runs}/"): line for line in listed(runs)}
    assert {name: line["state"] for name, line in found.items()} == {
        "done": "done",
        "a-compare/s3/0": "done",
        "failed": "failed",
        "killed": "stopped",
        "bad": "damaged",
        "worse": "damaged",
    }
    assert "killed" in found["killed"]["why"]
    assert found["failed"]["why"].startswith("no such model")
    assert "manifest.json: damaged" in found["bad"]["why"]
    assert "no run is here" in found["worse"]["why"]


def test_one_damaged_run_does_not_hide_the_others(demo, tmp_path):
    text = RunFolder(demo.folder).manifest.read_text()
    manifest = json.loads(text)
    for name, odd in (
        ("nested", "[" * 100_000),
        ("many", text.replace(f'"n": {manifest["summary"]["test"]["n"]}', f'"n": 1{"0" * 400}')),
        ("late", text.replace(manifest["ended"], "9999-12-31T23:59:59-12:00")),
        ("sound", text),
    ):
        assert (odd == text) == (name == "sound")
        shutil.copytree(demo.folder, tmp_path / name)
        RunFolder(tmp_path / name).manifest.write_text(odd)
    assert {line["run"].rpartition("/")[2]: line["state"] for line in listed(tmp_path)} == {
        **{"nested": "damaged", "many": "damaged", "late": "done", "sound": "done"}
    }


def test_a_line_has_what_the_summary_says(runs, demo):
    (line,) = (line for line in listed(runs) if line["run"].endswith("/done"))
    summary = demo.summary
    assert (line["task"], line["method"], line["student"]) == ("support", "s3", "linear")
    assert (line["score"], line["value"]) == ("accuracy", summary.test["accuracy"])
    assert 0 < line["low"] < line["value"] < line["high"] < 1
    assert (line["rounds"], line["usd"], line["requests"]) == (3, None, summary.llm.calls)


def test_a_run_that_stopped_says_how_far_it_came(runs):
    (line,) = (line for line in listed(runs) if line["state"] == "failed")
    assert (line["method"], line["student"], line["rounds"]) == ("s3", "linear", 3)
    assert (line["value"], line["usd"], line["requests"]) == (None, None, 7)
    assert line["when"] == "2026-01-02T03:04:05+00:00"


def test_runs_are_sorted_by_date_or_score(runs):
    told = [line["when"] for line in listed(runs)]
    assert told[-2:] == ["", ""]
    dates = [datetime.fromisoformat(when) for when in told[:-2]]
    assert dates == sorted(dates, reverse=True)
    values = [line["value"] for line in listed(runs, "--sort", "score")]
    assert [value is None for value in values] == [False, False, True, True, True, True]


def test_the_table_shows_no_control_character_and_no_markup(runs):
    done = stepsynth("runs", runs)
    assert "6 runs" in done.stdout
    assert "no such model [red]<U+001B>[2J" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_run_lists_itself_and_a_folder_without_runs_says_so(runs, tmp_path):
    assert [line["state"] for line in listed(runs / "done")] == ["done"]
    assert stepsynth("runs", tmp_path).stderr == f"{tmp_path}: no run is here\n"
    gone = stepsynth("runs", tmp_path / "gone")
    assert (gone.returncode, gone.stderr.splitlines()[0]) == (
        2,
        f"error: {tmp_path / 'gone'}: there is no such folder",
    )
