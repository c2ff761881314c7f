"""What is studied, and the contract of all studies."""

import json
import math
import os
import random

import pytest

from stepsynth._util.files import write_json
from stepsynth.errors import ConfigError, DataError, RunFolderError
from stepsynth.records import Dataset, Example
from stepsynth.studies import Chart, Findings, Table, open_subject, read_findings
from stepsynth.studies._sampling import draw_alike, halve
from tests.conftest import DEMO
from tests.subjects import TOPICS, texts_about


def test_a_run_is_opened_with_the_rows_and_splits_that_it_had(demo):
    told = []
    subject = open_subject(demo.folder, warn=told.append)
    assert subject.name == "demo"
    assert subject.rows == demo.dataset
    identity = json.loads((demo.folder / "identity.json").read_text())["data"]
    for split in ("mine", "select", "test"):
        assert getattr(subject, split).digest() == identity[split]
    assert [r.index for r in subject.rounds] == [0, 1, 2]
    assert subject.train_after(1) == demo.rounds[1].train
    missed = subject.rounds[0].missed
    assert tuple(row.example for row in missed) == tuple(demo.rounds[0].misclassified)
    assert tuple(row.predicted for row in missed) == tuple(demo.rounds[0].predicted)
    assert set(subject.unseen) == {*subject.select, *subject.test}
    assert subject.load_model().predict(["hello"])
    assert told == []


def test_changed_gold_is_told(demo, tmp_path):
    changed = tmp_path / "mine.jsonl"
    gold = (DEMO.parent / "mine.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    changed.write_text("".join(gold[:-5]), encoding="utf-8")
    told = []
    open_subject(demo.folder, overrides=[f"data.gold={changed}"], warn=told.append)
    assert any("gold rows of mine are not those" in message for message in told)


def test_a_file_is_opened_with_its_task_file():
    subject = open_subject(DEMO.parent / "test.jsonl", task=DEMO)
    assert subject.name == "test"
    assert subject.rows == subject.test
    with pytest.raises(RunFolderError, match="no trained student"):
        subject.load_model()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: p / "none", DataError, "no such folder or file"),
        (lambda p: p, RunFolderError, "no run is here"),
        (lambda p: _file(p), ConfigError, "next to its task file"),
    ],
    ids=["nothing", "an empty folder", "a file alone"],
)
def test_what_cannot_be_studied_is_an_error(make, error, message, tmp_path):
    with pytest.raises(error, match=message):
        open_subject(make(tmp_path))


def _file(folder):
    (folder / "rows.jsonl").write_text('{"text": "a", "label": "b"}\n')
    return folder / "rows.jsonl"


def test_findings_survive_json_and_numbers_that_are_none_do_not():
    table = Table("t", ("set", "score"), (("a|b\nc <b>", 0.5), ("d", float("nan"))), "how")
    chart = Chart("c", {"mark": "bar"})
    findings = Findings("made", (table,), (chart,), ("careful",))
    read = Findings.from_dict(json.loads(json.dumps(findings.to_dict(), allow_nan=False)))
    assert read.charts == (chart,)
    assert read.tables[0].rows == (("a|b\nc <b>", 0.5), ("d", None))
    lines = read.to_markdown().splitlines()
    assert lines[2:6] == [
        "| set | score |",
        "| --- | ---: |",
        "| a\\|b c \\<b> | 0.500 |",
        "| d | – |",
    ]
    assert lines[-1] == "> careful"


def test_findings_name_a_folder_whose_name_is_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    findings = Findings("made", (Table(name, ("run", "a"), ((name, math.inf),)),))
    write_json(tmp_path / "studies" / "made.json", findings.to_dict())
    (read,) = read_findings(tmp_path)
    assert read.tables[0].rows[0][1] is None


def test_a_row_of_another_width_is_refused():
    with pytest.raises(ValueError, match="2 columns"):
        Table("t", ("a", "b"), (("only",),))


def test_rows_that_are_drawn_alike_have_one_label_mix():
    many = Dataset(Example(f"{i}", "ab"[i % 10 > 0]) for i in range(500))
    few = Dataset(Example(f"f{i}", "ab"[i % 2]) for i in range(60))
    ours, theirs = draw_alike([many, few], 1000, 0)
    assert ours.label_counts() == theirs.label_counts() == {"a": 30, "b": 30}
    ours, theirs = draw_alike([many, few], 20, 0)
    assert ours.label_counts() == theirs.label_counts() == {"a": 10, "b": 10}
    assert len(set(ours)) == 20
    other = Dataset(Example(f"o{i}", "ab"[i % 2]) for i in range(300))
    assert draw_alike([other, few], 20, 0)[1] == theirs


def test_halves_are_disjoint_and_have_one_label_mix():
    first, second = halve(texts_about(TOPICS, 101, seed=5), random.Random(0))
    assert not set(first) & set(second)
    assert first.label_counts() == second.label_counts()
