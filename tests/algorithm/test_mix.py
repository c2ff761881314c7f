"""Rows that the LLM writes and texts that it labels: rounds, the share, whose rows they are."""

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from pydantic import ValidationError

from stepsynth._util.files import write_json
from stepsynth.dryrun import PretendIndex, fit_task
from stepsynth.errors import ConfigError
from stepsynth.methods import SpendingLimit, run_method
from stepsynth.methods.annotate import Annotate
from stepsynth.methods.mix import SHARES, Mix, join
from stepsynth.methods.s3 import S3
from stepsynth.methods.synthesizrr import SynthesizRR
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.retrieval import Passage
from stepsynth.runner import EqualBudget
from stepsynth.students.linear import Linear
from stepsynth.taskfile.config import load_config
from tests.fakes import FakeBackend, answer_anything, make_setup, rows
from tests.rehearsed import configured

GOLD = rows(*((f"a crisp red fruit {i}", "a") for i in range(6)),
            *((f"a soft green fruit {i}", "p") for i in range(6)))  # fmt: skip
TEXTS = rows(*((f"one {colour} thing {i}", "") for i in range(4) for colour in ("red", "green")))
SMALL = ZeroGen(seed_size=8)


def by_colour(request):
    """Label and write by colour: red is an apple."""
    if request.tags["kind"] != "decide":
        colour = "red" if request.tags["label"] == "a" else "green"
        return f"a {colour} one, number {request.draw}"
    text = request.prompt.rsplit("Here is a fruit note:", 1)[1]
    return json.dumps({"label": "pear" if "green" in text else "apple"})


def wrongly(request):
    """Write as `by_colour`, and label the other way round."""
    said = by_colour(request)
    other = {"apple": "pear", "pear": "apple"}
    return json.dumps({"label": other[json.loads(said)["label"]]}) if said[0] == "{" else said


def follow(task, method, answer=by_colour, **more):
    backend = FakeBackend(answer)
    fields = {"unlabelled": TEXTS, "select": GOLD} | more
    setup, _ = make_setup(task, backend, Linear(), GOLD, **fields)
    rounds = list(run_method(method, setup))
    setup.llm.close()
    return backend, rounds, setup


def test_the_rounds_of_the_synthesis_come_first_and_are_as_they_are_alone(task):
    _, alone, _ = follow(task, S3(seed_size=8, rounds=1, num_rationales=3), answer_anything)
    method = Mix(size=8, check=0, synthesis=S3(seed_size=8, rounds=1, num_rationales=3))
    _, mixed, _ = follow(task, method, answer_anything)
    assert [done.index for done in mixed] == [0, 1, 2]
    for one, other in zip(alone, mixed, strict=False):
        assert (one.train, one.added, one.misclassified) == (
            *(other.train, other.added),
            other.misclassified,
        )
    assert method.choose_round(mixed, GOLD) == 2


def test_each_row_says_which_method_it_is_of(task):
    _, rounds, _ = follow(task, Mix(size=8, check=0, synthesis=SMALL))
    origins = [(row.provenance.method, row.provenance.round) for row in rounds[-1].train]
    assert origins == [("zerogen", 0)] * 8 + [("annotate", 1)] * 8
    assert rounds[-1].added.texts == TEXTS.texts


def test_labelled_rows_have_the_share_of_all_weight(task):
    _, (written, labelled), setup = follow(task, Mix(size=8, check=0, synthesis=SMALL))
    labelled = replace(labelled, train=labelled.added, weights=(1.0,) * 4 + (3.0,) * 4)
    done = join(written, labelled, 0.25, setup)
    weights = np.array(done.weights)
    is_labelled = [row.provenance.method == "annotate" for row in done.train]
    assert weights[is_labelled].sum() == pytest.approx(0.25 * weights.sum())
    assert weights.sum() == pytest.approx(8 + 16)
    assert weights[-1] == pytest.approx(3 * weights[8])


@pytest.mark.parametrize(("share", "which"), [(0.0, 0), (1.0, 1)])
def test_a_share_of_nothing_or_all_is_the_model_of_one_alone(task, share, which):
    _, (written, last), setup = follow(task, Mix(size=8, check=0, synthesis=SMALL))
    _, (labelled,), _ = follow(task, Annotate(size=8, check=0))
    done, own = join(written, last, share, setup), (written, labelled)[which]
    if share:
        done = join(written, replace(last, train=last.added, weights=None), share, setup)
    assert (done.train.texts, done.weights) == (own.train.texts, own.weights)
    assert done.select_score == own.select_score


@pytest.mark.parametrize(("answer", "share"), [(by_colour, 0.5), (wrongly, 0.0)])
def test_the_share_is_the_best_on_select_and_an_even_one_if_equal(task, answer, share):
    _, (written, last), _ = follow(task, Mix(size=8, check=4, synthesis=SMALL), answer)
    assert f"labelled texts have {share:.0%} of the weight of all rows" in str(last.verdict)
    assert "macro-F1: " in str(last.verdict)
    assert " gold rows (" in str(last.verdict)
    assert last.select_score >= written.select_score
    assert (last.train.texts == written.train.texts) == (share == 0)


def test_gold_rows_join_before_the_share_is_chosen(task, monkeypatch):
    seen = []

    def spy(done, weight, setup):
        seen.append(len(done.train))
        return replace(done, select_score=float(len(done.train) == 8))

    monkeypatch.setattr("stepsynth.methods.mix.train_on_both", spy)
    _, rounds, _ = follow(task, Mix(size=8, check=0, synthesis=SMALL, train_on="both"))
    assert seen == [16, 16, 16, 8, 8]  # for each of SHARES
    assert SHARES[3] == 0
    assert [len(done.train) for done in rounds] == [8 + 12, 8 + 12]


def test_half_of_the_budget_is_for_each(task):
    spending = SpendingLimit(requests=12)
    backend, _, _ = follow(task, Mix(size=8, check=0, synthesis=SMALL), spending=spending)
    kinds = [request.tags["kind"] for request in backend.requests]
    assert (kinds.count("seed"), kinds.count("decide")) == (6, 6)
    sized = Mix(synthesis=SMALL).sized(31)
    assert (sized.size, sized.synthesis) == (15, ZeroGen(seed_size=16))


def test_it_uses_and_sends_what_its_parts_do(tmp_path):
    method = Mix(synthesis={"name": "s3_plus", "rounds": 1, "extrapolate_from": "passage"})
    assert method.uses_corpus
    assert method.joins_gold
    assert "trained on" in method.seen
    plain = Mix(shots=0, check=0, synthesis="zerogen")
    assert not any((plain.uses_corpus, plain.uses_gold, plain.joins_gold))
    config = configured(tmp_path, "classification", "method=mix", "method.synthesis=zerogen")
    assert config.to_dict()["method"]["synthesis"]["name"] == "zerogen"


@pytest.mark.parametrize("name", ["gold", "mix", "annotate", "selftrain", "llm"])
def test_a_method_that_writes_no_row_is_refused(name):
    with pytest.raises(ValidationError, match="expected a method that writes rows"):
        Mix(synthesis=name)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            "{name: mix, synthesis: {name: s3, num_rounds: 1}}",
            r"method\.synthesis\.num_rounds: unk",
        ),
        ("{name: mix, synthesis: s33}", r"method\.synthesis.*no method.*'s33'"),
        (
            "{name: mix, synthesis: {name: s3, rationales: false, num_rationales: 5}}",
            r"method\.synthesis\.num_rationales: 5 has no effect",
        ),
        ("{name: mix, synthesis: {name: s3, rounds: -1}}", r"method\.synthesis\.rounds: "),
        (
            "{name: mix, synthesis: {reweight: density_ratio}}",
            r"synthesis: reweight is a key of mix",
        ),
        ("{name: mix, train_on: both, synthesis: s3_plus}", "'s3_plus' is trained on them already"),
    ],
)
def test_wrong_keys_are_named_with_their_place(tmp_path, keys, message):
    with pytest.raises(ConfigError, match=message):
        configured(tmp_path, "classification", f"method={keys}")


def test_a_key_can_be_set_beside_the_name_of_the_synthesis(tmp_path):
    config = configured(
        tmp_path, "classification", *("method={name: mix, synthesis: zerogen}",),
        "method.synthesis.seed_size=5",
    )  # fmt: skip
    assert config.method.parts[-1] == ZeroGen(seed_size=5)


def test_a_length_is_asked_for_where_the_synthesis_alone_asks_for_one(task):
    plain = task.model_copy(update={"length": None})
    for written in (SMALL, S3(seed_size=8)):
        own = fit_task(plain, written, GOLD)
        assert fit_task(plain, Mix(synthesis=written), GOLD).length == own.length
    assert own.length is not None


def test_a_budget_of_calls_counts_the_texts_of_a_prompt():
    method = Mix(synthesis=ZeroGen(texts_per_prompt=5))
    assert EqualBudget("calls", 40).apply(method).synthesis.seed_size == 100


def test_a_rehearsal_finds_passages_as_alike_as_the_synthesis_wants_them():
    passages, method = [Passage("1", "a tree")], SynthesizRR()
    alone, mixed = (
        PretendIndex(passages, each, Random(0)).search(["tree"], 1)[0][0].cosine
        for each in (method, Mix(synthesis=method))
    )
    assert mixed == alone


def test_a_kind_that_one_part_is_not_for_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'simprompt' is not defined for sentence_pair"):
        configured(tmp_path, "sentence_pair", "method={name: mix, synthesis: simprompt}")


def test_rows_of_another_run_are_taken_for_the_synthesis(tmp_path):
    config = configured(
        *(tmp_path, "classification"), "method={name: mix, synthesis: {seed_from: gold.jsonl}}"
    )
    assert config.method.parts[-1].seed_from == str(tmp_path / "gold.jsonl")


def test_its_resolved_keys_can_be_read_again(tmp_path):
    config = configured(tmp_path, "classification", "method={name: mix, size: 9}")
    write_json(tmp_path / "again.yaml", config.to_dict())
    assert load_config(tmp_path / "again.yaml").method == config.method
