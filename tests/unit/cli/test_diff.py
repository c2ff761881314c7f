"""Two runs beside each other: what differs, and why some of it cannot be told."""

import json
import shutil

import pytest

from stepsynth.comparison.two_runs import compare_rows
from stepsynth.records import Dataset, Example
from stepsynth.runfolder import RunFolder
from tests.e2e.cli import in_json, ok, stepsynth


@pytest.fixture
def other(demo, tmp_path):
    """A copy of the demo's run, with another key, other rows and another prediction."""
    shutil.copytree(demo.folder, tmp_path / "other")
    run = RunFolder(tmp_path / "other")
    run.config.write_text(run.config.read_text().replace("rounds: 2", "rounds: 3"))
    rows = [json.loads(line) for line in run.dataset.read_text().splitlines()]
    first, second, *rest = rows
    first["label"] = "billing" if first["label"] != "billing" else "account"
    second["text"] = "[bold]new\x1b[2J"
    run.dataset.write_text("".join(json.dumps(row) + "\n" for row in (first, second, *rest)))
    return run


def compared(a, b):
    return in_json("diff", a, b)


def edit_answers(run, change):
    path = run.round(2) / "test_predictions.json"
    answers = json.loads(path.read_text())
    change(answers)
    path.write_text(json.dumps(answers))


def test_a_run_differs_in_nothing_from_itself(demo):
    found = compared(demo.folder, demo.folder)
    assert found["settings"] == {}
    assert found["gains"]["accuracy"]["mean"] == 0
    counts = {name: found["rows"][name]["count"] for name in ("only_a", "only_b", "relabelled")}
    assert counts == {"only_a": 0, "only_b": 0, "relabelled": 0}
    assert found["rows"]["same"] == len({row.text for row in demo.dataset})


def test_settings_rows_and_costs_that_differ_are_told(demo, other):
    found = compared(demo.folder, other.path)
    assert found["settings"] == {"method.rounds": {"a": 2, "b": 3}}
    rows = found["rows"]
    assert [rows[name]["count"] for name in ("only_a", "only_b", "relabelled")] == [1, 1, 1]
    (changed,) = rows["relabelled"]["examples"]
    assert changed["a"] != changed["b"]
    calls = demo.summary.llm.calls
    assert found["cost"]["requests"] == {"a": calls, "b": calls}


def test_the_difference_is_paired_by_the_rows_ids(demo, other):
    def mend(answers):
        places = range(len(answers["gold"]))
        wrong = [i for i in places if answers["gold"][i] != answers["predicted"][i]]
        for i in wrong[:15]:
            answers["predicted"][i] = answers["gold"][i]
        for key in ("ids", "gold", "predicted"):
            answers[key].reverse()

    edit_answers(other, mend)
    gain = compared(demo.folder, other.path)["gains"]["accuracy"]
    assert gain["mean"] == pytest.approx(15 / 150)
    assert 0 < gain["low"] < gain["mean"] < gain["high"]


def test_other_test_rows_are_not_compared(demo, other):
    edit_answers(other, lambda answers: answers["ids"].__setitem__(0, "another"))
    found = compared(demo.folder, other.path)
    assert found["gains"] == {}
    assert found["why_no_gains"] == (
        "the test rows are not the same: 150 in A, 150 in B, 149 in both"
    )
    edit_answers(other, lambda answers: answers.pop("ids"))
    assert "did not keep" in compared(demo.folder, other.path)["why_no_gains"]


def test_predictions_that_are_damaged_are_said_to_be(demo, other):
    edit_answers(other, lambda answers: answers["predicted"].pop())
    assert "damaged" in compared(demo.folder, other.path)["why_no_gains"]


def test_a_run_that_is_not_done_says_why_in_place_of_scores(demo, other):
    other.manifest.unlink()
    other.dataset.unlink()
    found = compared(demo.folder, other.path)
    assert "not done" in found["why_no_gains"]
    assert "is gone" in found["rows"]["why_not"]
    printed = ok("diff", demo.folder, other.path)
    assert "cannot be compared" in printed.stdout


def test_what_is_printed_commands_no_terminal(demo, other):
    printed = stepsynth("diff", demo.folder, other.path).stdout
    assert "method.rounds" in printed
    assert "macro-F1" in printed
    assert "[bold]new<U+001B>[2J" in printed
    assert "\x1b" not in printed


def test_rows_with_other_contexts_are_other_rows_and_a_text_counts_once():
    row = Example("Is it?", "yes", "It is.")
    found = compare_rows(
        Dataset([row, row, Example("Is it?", "no", "It is not.")]),
        Dataset([Example("Is it?", "no", "It is.")]),
    )
    assert ([r.context for r in found.only_a], found.only_b, found.same) == (["It is not."], [], 0)
    assert [(a.label, b.label) for a, b in found.relabelled] == [("yes", "no")]
