"""What a run is measured against: the commonest label and gold alone, on the same rows."""

from collections import Counter

import numpy as np
import pytest

import stepsynth
from stepsynth.run_records import Reference, RoundSummary, Scores, Summary
from stepsynth.runner import against_references, label_table
from stepsynth.runner.references import paired_difference
from tests.conftest import DEMO


@pytest.mark.slow
def test_gold_alone_is_what_the_method_gold_does(demo, tmp_path):
    alone = stepsynth.run(DEMO, overrides=["method=gold"], out=tmp_path).summary
    majority, gold = demo.summary.references
    assert (majority.name, gold.name) == ("majority class", "gold alone")
    assert gold.test["accuracy"] == alone.test["accuracy"]
    assert gold.test["macro_f1"] == alone.test["macro_f1"]
    assert gold.select["accuracy"] == alone.rounds[0].select["accuracy"]
    assert [each.name for each in alone.references] == ["majority class"]


def test_the_commonest_label_has_its_share(demo):
    run = stepsynth.open_run(demo.folder)
    majority = run.summary.references[0]
    gold = Counter(run.rounds[0].answers.gold)
    assert majority.test["accuracy"] in {count / majority.test.n for count in gold.values()}


def test_the_difference_is_that_of_the_scores(demo):
    summary = demo.summary
    for each in summary.references:
        mean, low, high = each.kept_minus
        assert mean == pytest.approx(summary.test["accuracy"] - each.test["accuracy"])
        assert low < mean < high


def summary_of(low, high, **others):
    scores = Scores(accuracy=0.5, n=100)
    gold = Reference(
        name="gold alone",
        train_size=80,
        select=scores,
        test=scores,
        kept_minus=((low + high) / 2, low, high),
    )
    rounds = tuple(
        RoundSummary(round=i, added=9, train_size=9, misclassified=1, select=scores, test=scores)
        for i in range(2)
    )
    return Summary(
        run="r",
        task="t",
        method="s3",
        student="linear",
        random_seed=0,
        rounds=rounds,
        kept_round=1,
        test=scores,
        llm={"requests": 0},
        references=(gold,),
        **others,
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.1, "the synthetic rows pay"),
        (-0.2, -0.01, "gold alone is better here"),
        (-0.1, 0.1, "within noise"),
    ],
)
def test_whether_synthesis_pays_is_said(low, high, said):
    first, second = against_references(summary_of(low, high))
    assert first == (
        "Accuracy on 100 test rows, %: gold alone (80 rows, no LLM) 50.0; round 0 50.0; "
        "round 1, kept 50.0."
    )
    assert said in second
    assert f"[{100 * low:+.1f}, {100 * high:+.1f}]" in second


def test_a_study_is_named_only_where_there_is_one():
    worse = summary_of(-0.2, -0.01)
    assert "stepsynth study advice" in against_references(worse)[1]
    of_llm = tuple(each.model_copy(update={"train_size": 0}) for each in worse.rounds)
    of_sets = Scores.model_validate({"exact_match": 0.5, "micro_f1": 0.5, "n": 100})
    gold = tuple(each.model_copy(update={"test": of_sets}) for each in worse.references)
    rounds = tuple(each.model_copy(update={"test": of_sets}) for each in worse.rounds)
    changes = ({"rounds": of_llm}, {"test": of_sets, "references": gold, "rounds": rounds})
    for changed in changes:
        second = against_references(worse.model_copy(update=changed))[1]
        assert second.endswith("gold alone is better here.")


def test_a_run_of_an_earlier_version_has_none(demo):
    old = demo.summary.model_copy(update={"references": ()})
    assert against_references(old) == []
    scored = [each.brief("n") for each in (old.test, demo.summary.rounds[0].test)]
    rounds = (old.rounds[0].model_copy(update={"test": scored[1]}), *old.rounds[1:])
    assert label_table(old.model_copy(update={"test": scored[0], "rounds": rounds}))[1] == []


def test_each_label_is_scored_beside_the_references(demo):
    columns, rows = label_table(demo.summary)
    kept = demo.summary.test.by_label
    assert [name for name, _ in columns] == [
        *("label", "test rows", "majority class", "gold alone", "round 0", "round 2, kept"),
        "recall minus gold alone's",
    ]
    assert [row[0] for row in rows] == list(kept)
    assert sum(int(row[1]) for row in rows) == demo.summary.test.n
    assert [row[5] for row in rows] == [f"{100 * each['f1']:.1f}" for each in kept.values()]
    _, gold = demo.summary.references
    for label, (mean, low, high) in gold.kept_minus_by_label.items():
        gain = kept[label]["recall"] - gold.test.by_label[label]["recall"]
        assert mean == pytest.approx(gain)
        assert low < mean < high
    found = sum(
        mean * kept[label]["rows"] for label, (mean, *_) in gold.kept_minus_by_label.items()
    )
    assert found / demo.summary.test.n == pytest.approx(gold.kept_minus[0])


def test_the_scores_by_label_are_in_the_notebook_the_page_and_the_json(demo):
    page = (demo.folder / "report.html").read_text(encoding="utf-8")
    section = page[page.index("Scores by label") :].split("</table>")[0]
    told = demo.summary.to_dict()
    for row in label_table(demo.summary)[1]:
        assert all(f">{cell}</td>" in section for cell in row)
        assert all(f">{cell}</td>" in demo._repr_html_() for cell in row)
        assert all(row[0] in each["test"]["by_label"] for each in told["rounds"])
        assert row[0] in told["references"][1]["kept_minus_by_label"]


def test_the_report_begins_with_it_and_lists_them(demo):
    page = (demo.folder / "report.html").read_text(encoding="utf-8")
    assert page.index("Kept minus gold alone") < page.index("Did each round close the gap?")
    assert ">majority class</td>" in page
    assert ">gold alone</td>" in page


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows_are_never_certain(n):
    mean, low, high = paired_difference(np.ones(n))
    assert mean == 1
    assert low <= 0.0 or n == 5
    assert low < 0.45
    assert high == 1
    assert paired_difference(np.zeros(n))[1] < 0 < paired_difference(np.zeros(n))[2]


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        gain = rng.choice([-1, 0, 1], 60, p=[0.1, 0.7, 0.2])
        _, low, high = paired_difference(gain)
        held += low <= 0.1 <= high
    assert 0.92 <= held / 400 <= 0.99


def test_where_no_row_was_written_the_llm_itself_is_better():
    told = summary_of(0.01, 0.1)
    rounds = tuple(each.model_copy(update={"train_size": 0}) for each in told.rounds)
    said = against_references(told.model_copy(update={"rounds": rounds}))[1]
    assert "the LLM itself is better" in said
    assert "synthetic" not in said


def test_rows_that_were_trained_on_calibrate_nothing(tmp_path):
    run = stepsynth.run(
        DEMO, overrides=["method=gold", "data.select=null", "data.paper_splits=true"], out=tmp_path
    )
    assert not (run.folder / "model" / "calibration.json").exists()
