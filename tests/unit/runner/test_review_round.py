"""The round of a reviewer: trained on the decisions, scored and kept like any other, no request."""

import json
import shutil

import numpy as np
import pytest

import stepsynth
from stepsynth.errors import RunFolderError, TooFewRowsError
from stepsynth.methods import _cross_fitting
from stepsynth.observer import Observer
from stepsynth.review import Decision, ReviewLog, Version
from stepsynth.students import load_student
from tests.unit.runner.test_setup import COMMON, S3, swapped

METHOD = {**S3, "seed_size": 24, "drop_duplicates": True}


def run(out, method=METHOD, **more):
    return stepsynth.synthesize(
        **{**COMMON, "gold": swapped()}, method=method, out=out, name="fruit", **more
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture
def folder(plain, tmp_path):
    shutil.copytree(plain.folder, tmp_path / "run")
    return tmp_path / "run"


def decide(folder, *pairs, data="synthetic"):
    """Append decisions: each a row and its text and label afterwards, or None."""
    made = []
    for row, after in pairs:
        before = Version.of(row)
        version = after and before.model_copy(update=after)
        what = "reject" if after is None else "edit" if "text" in after else "relabel"
        made.append(
            Decision(
                id=f"id-{row.id}", time="", data=data, row=row.id, what=what, before=before,
                after=version,
            )
        )  # fmt: skip
    ReviewLog(folder / "review.jsonl").append(made)


def test_the_same_command_trains_a_further_round_on_the_decisions(plain, folder):
    first, second, third = plain.dataset[:3]
    edits = ((first, {"text": "a better text"}), (second, None), (third, {"label": "pear"}))
    decide(folder, *edits)
    done = run(folder)
    assert done.summary.llm.requests == 0, "no LLM was asked"
    *before, reviewed = done.summary.rounds
    assert before == list(plain.summary.rounds)
    assert (reviewed.round, done.summary.kept_round) == (2, 2), "S3 keeps the last round"
    assert (reviewed.added, reviewed.train_size) == (0, len(plain.dataset) - 1)
    review = reviewed.review
    assert (review.base, review.edited, review.rejected, review.unused) == (1, 1, 1, 0)
    assert (review.relabelled, review.approved) == ((1, 0) if third.label != "pear" else (0, 1))
    assert done.dataset.texts == ["a better text", *plain.dataset.texts[2:]]
    assert done.dataset[0].provenance.kind == "review"
    assert done.dataset[0].provenance.request == first.provenance.request
    assert done.dataset.labels[1] == "pear"
    assert reviewed.test["accuracy"] == done.summary.test["accuracy"]
    opened = stepsynth.open_run(folder)
    assert opened.kept.metrics.review == review
    assert opened.rounds[2].rows == []
    assert opened.dataset == done.dataset
    assert opened.lineage[1].newly_wrong is not None
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"Round 2 is round 1 with {review.in_words}." in page


def test_the_same_file_gives_the_same_model_and_none_the_one_before(plain, folder, tmp_path):
    decide(folder, (plain.dataset[0], {"text": "better"}), (plain.dataset[4], None))
    run(folder)
    (tmp_path / "other").mkdir()
    shutil.copy(folder / "review.jsonl", tmp_path / "other")
    with pytest.raises(RunFolderError, match="is no run folder"):
        run(tmp_path / "other")
    other = tmp_path / "third"
    run(other)
    shutil.copy(folder / "review.jsonl", other)
    run(other)
    run(other)
    assert contents(other) == contents(folder)
    (other / "review.jsonl").unlink()
    run(other)
    assert contents(other) == contents(plain.folder)


def contents(folder):
    kept = [folder / "dataset.jsonl", *folder.glob("model/*"), *folder.glob("rounds/*/*")]
    return {path.relative_to(folder): path.read_bytes() for path in kept}


def test_more_decisions_are_one_round_with_all_of_them(plain, folder):
    decide(folder, (plain.dataset[0], None))
    run(folder)
    decide(folder, (plain.dataset[1], None))
    done = run(folder)
    assert [r.round for r in done.summary.rounds] == [0, 1, 2]
    assert done.summary.rounds[2].review.rejected == 2
    assert done.dataset == plain.dataset[2:]


def test_the_runs_own_rule_keeps_a_round(tmp_path):
    method = {**METHOD, "keep": "best"}
    plain = run(tmp_path / "run", method)
    other = {"apple": "pear", "pear": "apple"}
    decide(tmp_path / "run", *((row, {"label": other[row.label]}) for row in plain.dataset))
    done = run(tmp_path / "run", method)
    assert done.summary.rounds[-1].review.relabelled == len(plain.dataset)
    assert done.summary.rounds[-1].review.base == plain.summary.kept_round
    assert done.summary.kept_round == plain.summary.kept_round, "all labels were made wrong"
    assert done.dataset == plain.dataset


def test_gold_rows_in_training_are_not_the_reviewers_and_keep_their_weight(tmp_path):
    method = {**METHOD, "train_on": "both", "gold_weight": 3.0}
    plain = run(tmp_path / "run", method)
    synthetic = [row for row in plain.dataset if row.provenance.kind != "gold"]
    gold = next(row for row in plain.dataset if row.provenance.kind == "gold")
    decide(tmp_path / "run", (synthetic[0], None), (gold, None))
    done = run(tmp_path / "run", method)
    assert len(done.dataset) == len(plain.dataset) - 1
    before, after = plain.rounds[-1].weights, done.rounds[-1].weights
    assert after == before[1:]
    assert done.summary.rounds[-1].review.unused == 1
    assert any("1 decisions are on rows that round 1" in said for said in done.summary.warnings)


def test_the_reviewed_model_has_the_offsets_of_the_one_before(tmp_path, monkeypatch):
    offsets = np.array([0.0, 50.0])
    monkeypatch.setattr(_cross_fitting, "balance_labels", lambda *_, **__: offsets)
    method = {"name": "s3_plus", "seed_size": 24, "rationales": False, "rounds": 0}
    plain = run(tmp_path / "run", method)
    synthetic = [row for row in plain.dataset if row.provenance.kind != "gold"]
    decide(tmp_path / "run", (synthetic[0], None))
    done = run(tmp_path / "run", method)
    assert done.rounds[-1].index == 1
    assert np.array_equal(done.rounds[-1].offsets, offsets)
    favoured = done.model.label_names[1]
    assert done.model.predict(["an apple", "a pear"]) == [favoured] * 2
    assert load_student(tmp_path / "run" / "model").predict(["an apple"]) == [favoured]


@pytest.mark.parametrize("data", ["gold", "synthetic"])
def test_decisions_on_other_rows_train_nothing(plain, folder, data):
    gold = stepsynth.Example("a gold row", "apple")
    decide(folder, (gold, None), data=data)
    done = run(folder)
    assert done.summary.rounds == plain.summary.rounds
    assert any("review:" in said for said in done.summary.warnings) == (data == "synthetic")


def test_an_edit_that_copies_a_held_out_row_is_not_trained_on(plain, folder):
    held_out = json.loads((folder / "rounds/1/test_predictions.json").read_text())["ids"]
    gold = {row.id: row for row in map(example, swapped())}
    decide(folder, (plain.dataset[0], {"text": gold[held_out[0]].text}))
    done = run(folder)
    assert len(done.dataset) == len(plain.dataset) - 1
    assert any("copies of test or select rows" in said for said in done.summary.warnings)


def example(row):
    return stepsynth.Example(row["text"], row["label"])


def test_where_every_row_is_rejected_it_is_said(plain, folder):
    decide(folder, *((row, None) for row in plain.dataset))
    with pytest.raises(TooFewRowsError, match="every row is rejected") as caught:
        run(folder)
    assert "stepsynth review" in caught.value.hint


def test_a_damaged_file_stops_the_run_before_anything_is_asked(folder):
    (folder / "review.jsonl").write_text("{}\n")
    with pytest.raises(RunFolderError, match=r"review\.jsonl, line 1: not a decision"):
        run(folder)


def test_its_training_is_a_phase_of_its_own(plain, folder):
    phases = []

    class Watcher(Observer):
        def progress(self, phase, done, total):
            phases.append(phase)

    decide(folder, (plain.dataset[0], None))
    student = {"name": "ensemble", "members": 2}
    shutil.rmtree(folder)
    run(folder, student=student)
    decide(folder, (plain.dataset[0], None))
    run(folder, student=student, observer=Watcher())
    assert any(phase.startswith("review: ") for phase in phases), phases


def test_a_reviewed_run_gives_other_runs_the_rows_that_it_added(plain, folder, tmp_path):
    decide(folder, (plain.dataset[0], None))
    run(folder)
    given = {"name": "s3", "seed_from": str(folder), "added_from": str(folder)}
    done = run(tmp_path / "other", given)
    assert done.dataset.texts == plain.dataset.texts
    assert stepsynth.open_run(folder).lineage[-1].index == 2
