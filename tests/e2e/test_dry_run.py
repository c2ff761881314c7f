"""`run --dry-run`: the plan, every defect with its mend, and nothing sent or written."""

import shutil

import pytest

from tests.e2e.cli import stepsynth, summary_of, write_task

ZEROGEN = "method={name: zerogen, seed_size: 20}"


@pytest.fixture
def task(tmp_path, server):
    return write_task(tmp_path / "task", url=server.url, rows=40)


def dry(task, *options):
    done = stepsynth("run", task, "--dry-run", "--json", *options)
    return done, summary_of(done)


def test_a_task_in_order_has_a_plan_and_no_defect(task, server, tmp_path):
    done, found = dry(task, "--out", tmp_path / "run", "--set", ZEROGEN)
    assert done.returncode == 0
    assert (found["ok"], found["defects"], found["folder"]) == (True, [], "new")
    assert found["total"]["requests"]["expected"] == 20
    assert not server.bodies
    assert not (tmp_path / "run").exists()
    options = ("--set", ZEROGEN, "--executor", "dask")
    printed = stepsynth("run", task, "--dry-run", *options).stdout
    assert "No defect was found. To run: " in printed
    own = "--set 'method={name: zerogen, seed_size: 20}' --executor dask"
    assert f"run {task} {own}" in printed


def test_every_defect_is_told_with_its_mend(task, server, tmp_path):
    options = ("--set", ZEROGEN, "--out", tmp_path / "run")
    assert stepsynth("run", task, *options).returncode == 0
    asked = len(server.bodies)
    same = dry(task, *options)[1]
    assert (same["ok"], same["folder"]) == (True, "done")
    done, found = dry(task, *options, "--set", "method.seed_size=21", "--executor", "dusk")
    assert done.returncode == found["exit_code"] == 2
    messages = [each["message"] for each in found["defects"]]
    assert ["executor" in m for m in messages] == [True, False]
    assert "belongs to another run: its method.seed_size is 20, now it is 21" in messages[1]
    assert "give another --out" in found["defects"][1]["mend"]
    assert found["total"]["requests"]["expected"] == 21
    assert len(server.bodies) == asked
    printed = stepsynth("run", task, "--dry-run", *options, "--set", "method.seed_size=21")
    assert "1 defect to mend before the run:\n1. " in printed.stdout
    assert "   To mend it: give another --out" in printed.stdout


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("method.seed=1", "unknown key"),
        ("llm.modell=x", "unknown key"),
        ("data.gold=gone.jsonl", "gone.jsonl"),
        ("student=statik", "no student is named"),
    ],
)
def test_what_cannot_be_planned_is_a_defect(task, option, message):
    done, found = dry(task, "--set", option)
    assert done.returncode == 2
    assert any(message in each["message"] for each in found["defects"])
    assert "total" not in found
    assert not found["ok"]


def test_a_folder_that_is_no_run_is_a_defect(task, tmp_path):
    shutil.copytree(task.parent, tmp_path / "mine")
    _, found = dry(task, "--set", ZEROGEN, "--out", tmp_path / "mine")
    assert "is no run folder" in found["defects"][0]["message"]
