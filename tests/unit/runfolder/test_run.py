"""A run folder and its one reader: what was written is read back; damaged files are named."""

import json
import re
import shutil
from pathlib import Path

import pytest

import stepsynth
from stepsynth import run_records
from stepsynth.errors import RunFolderError
from stepsynth.methods import Journal, Unused
from stepsynth.records import Provenance, Rejected
from stepsynth.report import write_report
from stepsynth.run_records import Record, RoundMetrics, Scores, Summary
from stepsynth.runfolder import RunFolder
from stepsynth.runfolder.rows import AddedRow, Origin

PAGE = Path(__file__).parents[3] / "docs" / "run-folder.md"


def test_what_was_written_is_read_back(demo):
    run = stepsynth.open_run(demo.folder)
    assert run.is_done
    assert run.summary == demo.summary
    assert run.dataset == demo.dataset
    assert run.kept.index == demo.summary.kept_round
    assert run.identity.data == run.manifest.data
    for read, made in zip(run.rounds, demo.rounds, strict=True):
        assert read.added == made.added
        assert [row.example for row in read.missed] == list(made.misclassified)
        assert [row.predicted for row in read.missed] == list(made.predicted)
        assert read.rationales == {k: list(v) for k, v in made.rationales.items()}
        assert len(read.rejected) == sum(read.metrics.rejected.values())
        assert len(read.failed) == sum(read.metrics.failed.values())
        counts = [sum(row.values()) for row in read.metrics.select.confusion.values()]
        assert read.metrics.select.n == sum(counts) > 0
        hits = [g == p for g, p in zip(read.answers.gold, read.answers.predicted, strict=True)]
        assert sum(hits) / len(hits) == read.metrics.test["accuracy"]
    errors = {row.example.id: row.example.text for row in run.rounds[0].missed}
    for row in run.rounds[1].rows:
        assert row.origin.source == errors[row.provenance.parents[0]]
        assert row.origin.source in row.origin.prompt
    assert {"seed", "extrapolate"} <= run.prompts.keys()
    assert "method:" in run.config
    assert run.events[0]["event"] == "start"


def test_a_run_that_is_not_done_has_rounds_and_no_result(demo, tmp_path):
    run = copy(demo.folder, tmp_path)
    run.manifest.unlink()
    opened = stepsynth.open_run(run.path)
    assert not opened.is_done
    assert len(opened.rounds) == 3
    with pytest.raises(RunFolderError, match="not done") as caught:
        _ = opened.summary
    assert "goes on with it" in caught.value.hint


@pytest.mark.parametrize(
    "made", [(), ("identity.json", "config.yaml")], ids=["nothing", "no round"]
)
def test_where_there_is_no_round_there_is_no_run(tmp_path, made):
    for name in made:
        (tmp_path / name).write_text("{}")
    with pytest.raises(RunFolderError, match="no round of this run" if made else "no run is here"):
        stepsynth.open_run(tmp_path)


def test_what_an_earlier_version_wrote_is_read(demo, tmp_path):
    run = copy(demo.folder, tmp_path)
    metrics = run.round(0) / "metrics.json"
    written = json.loads(metrics.read_text())
    kept = {k: written[k] for k in ("round", "added", "train_size", "misclassified", "select")}
    metrics.write_text(json.dumps(kept))
    first = stepsynth.open_run(run.path).rounds[0]
    assert first.metrics.rejected == {}
    assert first.metrics.test is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "damaged"),
        ('{"summary": {}}', r"damaged: summary\.run: Field required"),
        ("[1]", "damaged"),
        ('{"format": 99}', "written by a later stepsynth"),
    ],
)
def test_a_damaged_file_is_named(demo, tmp_path, content, said):
    run = copy(demo.folder, tmp_path)
    run.manifest.write_text(content)
    with pytest.raises(RunFolderError, match=said) as caught:
        _ = stepsynth.open_run(run.path).summary
    assert str(run.manifest) in caught.value.message


def test_a_file_that_is_gone_is_named_and_not_read_as_empty(demo, tmp_path):
    run = copy(demo.folder, tmp_path)
    gone = [run.dataset, *(run.round(2) / f"{n}.jsonl" for n in ("rejected", "misclassified"))]
    for path in gone:
        path.unlink()
    opened = stepsynth.open_run(run.path)
    for read in (
        lambda: opened.dataset,
        lambda: opened.rounds[2].rejected,
        lambda: opened.rounds[2].missed,
    ):
        with pytest.raises(RunFolderError, match="is gone"):
            read()
    (run.round(2) / "metrics.json").unlink()
    with pytest.raises(RunFolderError, match=r"rounds/2: the round that is kept is gone"):
        _ = stepsynth.open_run(run.path).kept


def test_rounds_of_the_report_go_by_their_numbers(demo, tmp_path):
    run = copy(demo.folder, tmp_path)
    (run.round(1) / "metrics.json").unlink()
    page = write_report(run.path, tmp_path / "report.html").read_text(encoding="utf-8")
    shown = page[page.index('id="error-rows"') : page.index('id="added-rows"')]
    assert re.findall(r'<option value="(\d)">round', shown) == ["0", "2"]


def test_a_row_may_be_extrapolated_from_one_that_is_not_gold():
    exchanges = {"r": ("Another like it.", "A text.")}
    for parents in (("synthetic",), ()):
        origin = Provenance("own", 1, "extrapolate", parents, request="r")
        found = Origin.of(Journal(exchanges=exchanges), origin, {"gold": "a gold text"})
        assert found == Origin("", "Another like it.", "A text.")


def test_a_journal_keeps_what_became_no_row():
    journal = Journal()
    unused = [Unused(Rejected("empty", ""), "a", Provenance("own", request=r)) for r in ("r1", "")]
    journal.add(unused, {"r1": ("Write one.", ""), "r2": ("Write one.", "A row.")})
    assert journal.unused == unused
    assert journal.exchanges == {"r1": ("Write one.", "")}


def test_added_rows_share_their_prompt_and_have_their_text_once():
    lines = [
        json.dumps({"text": "said", "label": "a", "prompt": "Write one.", "completion": "said"})
        for _ in range(2)
    ]
    one, other = (AddedRow.from_dict(json.loads(line)) for line in lines)
    assert one.origin == Origin("", "Write one.", "said")
    assert one.origin.prompt is other.origin.prompt
    assert one.origin.completion is one.example.text


@pytest.mark.parametrize(
    ("row", "said"),
    [({"text": "no label"}, "label"), ({"text": {}, "label": "a"}, "a text .* is no text")],
)
def test_a_damaged_row_is_named(demo, tmp_path, row, said):
    run = copy(demo.folder, tmp_path)
    (run.round(1) / "examples.jsonl").write_text(json.dumps(row) + "\n")
    opened = stepsynth.open_run(run.path)
    with pytest.raises(RunFolderError, match=rf"rounds/1/examples\.jsonl: damaged: .*{said}"):
        _ = opened.rounds[1].added


def copy(folder, tmp_path):
    """Return a copy of a run folder that may be changed."""
    shutil.copytree(folder, tmp_path / "run")
    return RunFolder(tmp_path / "run")


# Records --------------------------------------------------------------------------------------


def test_scores_go_by_their_names():
    scores = Scores(accuracy=0.5, auc=None, n=8, confusion={"a": {"a": 1}})
    assert scores["accuracy"] == 0.5
    assert scores.names == ["accuracy", "auc"]
    assert ("auc" in scores, scores.get("auc"), scores.get("f1")) == (True, None, None)
    assert list(scores.known()) == [("accuracy", 0.5)]
    with pytest.raises(KeyError):
        _ = scores["auc"]
    assert Scores(**scores.to_dict()) == scores
    assert scores.brief().to_dict() == {"accuracy": 0.5, "auc": None}
    assert scores.brief("n", "by_label").to_dict() == {"accuracy": 0.5, "auc": None, "n": 8}


def test_a_summary_of_a_round_leaves_the_confusion_out():
    scores = Scores(accuracy=0.5, n=8, confusion={"a": {"a": 1}})
    metrics = RoundMetrics(round=1, added=2, train_size=3, misclassified=4, select=scores)
    told = metrics.summary().to_dict()
    assert told == {
        **{"round": 1, "added": 2, "train_size": 3, "misclassified": 4},
        "select": {"accuracy": 0.5},
    }


def test_the_page_names_every_file_and_key(demo):
    said = PAGE.read_text(encoding="utf-8")
    kinds = [v for v in vars(run_records).values() if isinstance(v, type) and issubclass(v, Record)]
    assert Summary in kinds
    for kind in kinds:
        for key in kind.model_fields:
            assert f"`{key}`" in said, f"{kind.__name__}.{key} is not in docs/run-folder.md"
    run = RunFolder(demo.folder)
    names = {p.name for p in [*run.path.iterdir(), *run.round(0).iterdir()]}
    for name in names - {"0"}:
        assert re.search(rf"`(rounds/N/)?{re.escape(name)}/?`", said), name
