"""Results in Python: numbers, data frames, and what a notebook shows of them."""

import json
import shutil
import sys
from dataclasses import replace

import pytest

import stepsynth
from stepsynth.comparison import Comparison, MethodRow
from stepsynth.comparison.read import RunRow
from stepsynth.records import Dataset, Example
from stepsynth.results import ComparisonResult, RunResult

HOSTILE = "<script>alert(1)</script>\x1b[2J"


def is_harmless(page: str) -> bool:
    return "&lt;script&gt;alert(1)" in page and "<script" not in page and "\x1b" not in page


@pytest.fixture
def compared():
    """A comparison of two methods with a run each."""
    curve = [{"round": 0, "rows": 9.0, "calls": 9.0, "mean": 0.7, "spread": 0.0}]
    of = {"mean": {"accuracy": 0.7}, "spread": {}, "against": {}, "curve": curve, "by_label": {}}
    rows = [
        MethodRow(
            name=name,
            sees="none",
            takes_budget=True,
            is_reference=False,
            seeds=[0],
            errors={},
            **of,
        )
        for name in ("s3", HOSTILE)
    ]
    runs = [
        RunRow("s3", 0, "runs/s3/0", scores={"accuracy": 0.7}, rows=9),
        RunRow(HOSTILE, 0, "runs/x/0", error="no such key"),
    ]
    return Comparison(
        *("fruit", "linear", "9 rows", "rows", "s3", "accuracy", {"accuracy": "accuracy"}),
        *([0], rows, runs, [f"{HOSTILE} loses"], [], None, "runs/fruit-compare"),
    )


def test_a_result_has_its_scores_by_name_and_a_row_for_each_round(demo):
    pytest.importorskip("pandas")
    assert demo.metrics["accuracy"] == demo.summary.test["accuracy"]
    frame = demo.to_pandas()
    assert list(frame["round"]) == [0, 1, 2]
    assert list(frame["kept"]) == [False, False, True]
    assert list(frame["test_accuracy"]) == [r.test["accuracy"] for r in demo.summary.rounds]
    assert {"added", "train_size", "misclassified", "select_macro_f1"} <= set(frame.columns)


def test_without_pandas_a_data_frame_says_what_to_install(demo, compared, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for result in (demo, demo.dataset, ComparisonResult(**vars(compared))):
        with pytest.raises(stepsynth.StepsynthError, match="pandas is not installed") as caught:
            result.to_pandas()
        assert caught.value.hint == "pip install pandas"


def test_a_notebook_shows_the_rounds_and_the_curve_of_a_result(demo):
    page = demo._repr_html_()
    assert page.count("<tr>") == (1 + 3) + (1 + 5)  # rounds, and labels
    assert page.count("<svg") == 1
    assert "Kept minus gold alone" in page
    assert "<script" not in page


def test_a_notebook_shows_names_and_texts_as_they_are(demo, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(demo.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["summary"]["task"] = HOSTILE
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert is_harmless(RunResult(folder, demo.summary, demo.rounds, demo.dataset)._repr_html_())
    row = Example(HOSTILE, HOSTILE)
    done = replace(demo.rounds[0], misclassified=Dataset([row]), predicted=(HOSTILE,))
    assert is_harmless(done._repr_html_())


def test_a_round_shows_its_first_errors_and_says_little_as_text(demo):
    page = demo.rounds[0]._repr_html_()
    assert page.count("<tr>") == 1 + 5
    assert len(repr(demo.rounds[0])) < 800


def test_a_notebook_shows_a_comparison(compared):
    result = ComparisonResult(**vars(compared))
    page = result._repr_html_()
    assert is_harmless(page)
    assert page.count("<svg") == 1
    assert "70.0" in page
    assert result["s3"].mean == {"accuracy": 0.7}
    assert len(repr(result)) < 200


def test_a_comparison_has_a_row_for_each_run(compared):
    pytest.importorskip("pandas")
    frame = ComparisonResult(**vars(compared)).to_pandas()
    assert frame["accuracy"].to_list()[0] == 0.7
    assert list(frame["error"]) == ["", "no such key"]
