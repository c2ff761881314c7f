"""What a model is trained on besides rows as they were written; curation on the way in."""

import json
from collections import Counter

import numpy as np
import pytest

import stepsynth
from stepsynth.curation import Curation, Curator
from stepsynth.errors import ConfigError
from stepsynth.methods._training import Preparation, density_ratios, run_method
from stepsynth.methods.s3 import S3
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory
from stepsynth.students.linear import Linear
from tests.fakes import FakeBackend, WrongOn, answer_anything, make_setup, rows

GOLD = rows(
    *((f"a red apple, no {i}", "a") for i in range(10)),
    *((f"a soft pear, no {i}", "p") for i in range(10)),
)
RULES = {
    "backend": "scripted",
    "rules": [
        {"pattern": f"that is {f}", "answers": [f"{f} {w}" for w in "bcdefghjk"]}
        for f in ("apple", "pear")
    ],
}


def curated(task, settings, answer=answer_anything, size=12, select=GOLD):
    backend = FakeBackend(answer)
    setup, warnings = make_setup(task, backend, WrongOn(), GOLD, select=select)
    curator = Curator(Curation(**settings))
    object.__setattr__(setup, "curator", curator)
    rounds = list(run_method(ZeroGen(seed_size=size), setup))
    setup.llm.close()
    return backend, rounds[0], warnings


def test_both_adds_gold_rows_with_their_weight_and_mines_without_them(task):
    setup, _ = make_setup(task, FakeBackend(answer_anything), WrongOn(words=("red",)), GOLD)
    method = S3(rationales=False, seed_size=8, rounds=1, train_on="both", gold_weight=3.0)
    rounds = list(run_method(method, setup))
    setup.llm.close()
    assert len(rounds[1].added) == 10  # the errors of the model of synthetic rows
    assert [row.provenance.kind for row in rounds[1].train][-20:] == ["gold"] * 20
    assert rounds[1].weights == (1.0,) * 18 + (3.0,) * 20
    assert len(rounds[0].train) == 8 + 20


def test_a_weight_counts():
    mixed = rows(*(("a plum", "a"),) * 3, *(("a plum", "p"),) * 3, ("a nut", "a"), ("a fig", "p"))
    said = []
    for weight in (0.1, 10.0):
        student = Linear().start(("a", "p"), 0)
        student.fit(mixed, weights=[weight] * 3 + [1.0] * 5)
        said.append(student.predict_probabilities(["a plum"]).probabilities[0, 0])
    assert said[0] < 0.5 < said[1]


def test_rows_like_gold_weigh_more():
    gold = rows(*((f"short apple note {i}", "a") for i in range(30)))
    synthetic = rows(
        *((f"short apple note {i} too", "a") for i in range(10)),
        *((f"as a poem of autumn and of longing {i}", "a") for i in range(30)),
    )
    ratios = density_ratios(synthetic, gold, 0)
    assert np.mean(ratios) == pytest.approx(1.0)
    assert min(ratios[:10]) > max(ratios[10:])
    assert density_ratios(synthetic, gold, 0) == ratios


@pytest.mark.parametrize("check", ["student", "confident"])
@pytest.mark.parametrize("on_wrong", ["drop", "relabel"])
def test_students_find_a_wrong_label(check, on_wrong):
    wrong = Example("a red apple, no 3 again", "p")
    warnings = []
    factory = StudentFactory(Linear(), ("a", "p"), 0)
    factory.prepare = Preparation(
        ZeroGen(), Curation(check=check, on_wrong=on_wrong), factory, GOLD, 0, warnings.append
    )
    model = factory.new()
    model.fit(Dataset([*GOLD, wrong]))
    texts = dict(zip(model.rows.texts, model.rows.labels, strict=True))
    assert texts.get(wrong.text) == (None if on_wrong == "drop" else "a")
    assert len(model.rows) == (20 if on_wrong == "drop" else 21)
    assert warnings[0].startswith("label check: 1 of 21 rows")


def test_a_label_with_a_single_text_is_kept_unchecked_and_the_others_are_checked():
    wrong, lone = Example("a red apple, no 3 again", "p"), Example("a quince", "q")
    warnings = []
    factory = StudentFactory(Linear(), ("a", "p", "q"), 0)
    factory.prepare = Preparation(
        ZeroGen(), Curation(check="student"), factory, GOLD, 0, warnings.append
    )
    model = factory.new()
    model.fit(Dataset([wrong, lone, *GOLD]), [5.0, 7.0, *(1.0 for _ in GOLD)])
    assert wrong.text not in model.rows.texts
    assert dict(zip(model.rows, model.weights or (), strict=True))[lone] == 7.0
    assert len(model.rows) == len(GOLD) + 1
    assert "no other text has the label 'q'" in warnings[0]


def test_rows_whose_labels_students_find_wrong_are_noted_with_their_round(task):
    def answer(request):
        swapped = {"a": "p", "p": "a"}[request.tags["label"]]
        label = swapped if request.draw == 7 else request.tags["label"]
        return f"{'red apple' if label == 'a' else 'soft pear'} number {request.draw}"

    setup, _ = make_setup(task, FakeBackend(answer), Linear(), GOLD)
    settings = Curation(check="student")
    method = ZeroGen(seed_size=40)
    setup.student.prepare = Preparation(method, settings, setup.student, GOLD, 0, setup.warn)
    (done,) = run_method(method, setup)
    setup.llm.close()
    (line,) = done.notes["label_check"]
    assert line["text"].endswith("number 7")
    assert {line["was"], line["now"]} == {"a", "p"}
    assert line["row"] in {row.id for row in done.added} - {row.id for row in done.train}


def test_the_llm_as_judge_drops_or_relabels_and_its_calls_count(task):
    def answer(request):
        if request.tags["kind"] != "judge":
            return answer_anything(request)
        is_odd = int(request.tags["source"].split()[-1]) % 2
        return '{"label": "apple"}' if is_odd else json.dumps({"label": request.tags["label"]})

    backend, dropped, _ = curated(task, {"check": "llm"}, answer)
    _, relabelled, _ = curated(task, {"check": "llm", "on_wrong": "relabel"}, answer)
    wrong = [u for u in dropped.unused if u.rejected.reason == "wrong_label"]
    assert wrong
    assert {u.label for u in wrong} == {"p"}
    assert len(dropped.train) == len(relabelled.train) == 12  # the dropped ones are replaced
    assert len(backend.of_kind("judge")) == len(backend.of_kind("seed")) == 12 + len(wrong)
    changed = {line["text"]: line["now"] for line in relabelled.notes["judged"]}
    labels = dict(zip(relabelled.train.texts, relabelled.train.labels, strict=True))
    assert changed
    assert {labels[text] for text in changed} == set(changed.values()) == {"a"}


def test_off_takes_completions_as_they_are(task):
    answer = lambda r: f'"{answer_anything(r)}" (Apple)'  # noqa: E731
    _, as_is, _ = curated(task, {"clean": False, "copies": False}, answer)
    _, cleaned, _ = curated(task, {}, answer)
    assert all(text.endswith("(Apple)") for text in as_is.train.texts)
    assert not any('"' in text for text in cleaned.train.texts)


def test_balance_asks_for_the_label_that_lacks_rows(task):
    def answer(request):
        refused = request.tags["label"] == "p" and request.draw % 2
        return "I'm sorry, but I can't help with that." if refused else answer_anything(request)

    _, plain, _ = curated(task, {}, answer, size=40)
    _, balanced, _ = curated(task, {"balance": True}, answer, size=40)
    assert Counter(balanced.train.labels) == {"a": 20, "p": 20}
    assert Counter(plain.train.labels)["p"] < 20


def test_balance_counts_labels_as_the_judge_sets_them(task):
    def answer(request):
        if request.tags["kind"] != "judge":
            return answer_anything(request)
        is_early = int(request.tags["source"].split()[-1]) < 8
        return json.dumps({"label": "apple" if is_early else request.tags["label"]})

    settings = {"check": "llm", "on_wrong": "relabel", "balance": True}
    _, done, _ = curated(task, settings, answer, size=12)
    assert Counter(done.train.labels) == {"a": 6, "p": 6}
    assert Counter(item.rejected.reason for item in done.unused).keys() == {"surplus"}


def test_balance_ends_where_a_label_is_never_written(task):
    answer = lambda r: "" if r.tags["label"] == "p" else answer_anything(r)  # noqa: E731
    _, done, warnings = curated(task, {"balance": True}, answer)
    assert set(done.train.labels) == {"a"}
    assert set(done.model.predict(GOLD).labels) == {"a"}
    assert done.model.student is None
    assert any("no training row has the label 'p'" in warning for warning in warnings)


@pytest.mark.slow
def test_gold_is_needed_only_by_those_that_use_it(tmp_path):
    for name in ("select", "test"):
        lines = [
            json.dumps({"text": f"{f} {name} {i}", "label": f})
            for f in ("apple", "pear")
            for i in range(4)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "t.yaml").write_text(
        "task: {labels: [apple, pear]}\n"
        "data: {select: select.jsonl, test: test.jsonl}\n"
        f"llm: {json.dumps(RULES)}\n"
        "method: {name: zerogen, seed_size: 20}\n"
    )
    result = stepsynth.run(tmp_path / "t.yaml", out=tmp_path / "run")
    assert result.summary.test["accuracy"] == 1.0
    for name in ("s3", "goldgen", "random", "gold", "fewgen"):
        with pytest.raises(ConfigError, match="there are no gold rows"):
            stepsynth.run(tmp_path / "t.yaml", overrides=[f"method={name}"])
    with pytest.raises(ConfigError, match="there are no gold rows"):
        stepsynth.run(tmp_path / "t.yaml", overrides=["method.train_on=both"])
    with pytest.raises(ConfigError, match="both `select` and `test`"):
        stepsynth.run(tmp_path / "t.yaml", overrides=["data={test: test.jsonl}"])
