"""A rehearsal asks what the run asks, as often, and leads to no test row."""

import json
from collections import Counter

import pytest

from stepsynth._util.rng import make_rng
from stepsynth.dryrun.count import EXPECTED, HIGH, LOW, RehearsedLLM, rehearse
from stepsynth.dryrun.lengths import fit_task
from stepsynth.dryrun.stubs import MARK, PretendStudent, StubLLM
from stepsynth.inputs import prepare
from stepsynth.llm import LLM, Completion, Request
from stepsynth.methods import methods
from stepsynth.methods._training import run_method
from stepsynth.records import Answers, Dataset, Example
from stepsynth.taskfile.config import Config
from stepsynth.tasks.extractive_qa import ExtractiveQA
from tests.architecture.test_no_test_access import reachable
from tests.fakes import FakeBackend, answer_anything, make_setup, rows
from tests.rehearsed import configured, method_kinds


def counts_of(config: Config, scenario=EXPECTED, most_rows=2000):
    prepared = prepare(config, lambda _: None)
    gold, inputs = prepared.gold, prepared.inputs
    found = rehearse(config, gold, inputs, scenario, most_rows=most_rows)
    assert found.trouble == ""
    return found.counts


@pytest.mark.parametrize(("kind", "name"), method_kinds())
def test_every_method_is_rehearsed_on_every_kind_that_it_is_defined_for(kind, name, tmp_path):
    config = configured(tmp_path, kind, f"method={name}")
    low, expected, high = (counts_of(config, s, 300) for s in (LOW, EXPECTED, HIGH))
    sent = {kind for part in config.method.parts for kind in part.prompts}
    assert set(expected) <= {*sent, "decide"}
    for kind_of_prompt, count in expected.items():
        assert count.requests > 0
        assert count.prompt_tokens > 5 * count.requests
        assert count.completion_tokens > 0
        least = low[kind_of_prompt].requests if kind_of_prompt in low else 0
        assert least <= count.requests <= high[kind_of_prompt].requests


@pytest.mark.parametrize("kind", ["classification", "sentence_pair", "extractive_qa"])
@pytest.mark.parametrize(
    "settings",
    [
        ["method.drop_duplicates=true"],
        ["method.cleaning=true"],
        ["curation.duplicates=near"],
        ["curation.min_words=40"],
        ["curation.clean=false"],
    ],
)
def test_made_up_rows_are_never_rejected_so_each_is_asked_for_once(kind, settings, tmp_path):
    config = configured(tmp_path, kind, "method=zerogen", "method.seed_size=150", *settings)
    assert counts_of(config)["seed"].requests == 150
    # In the upper scenario every third row is rejected, and drawn again 1.5 times at most.
    assert counts_of(config, HIGH)["seed"].requests == pytest.approx(225, abs=2)


def test_several_texts_in_one_prompt_are_fewer_requests(tmp_path):
    config = configured(
        tmp_path,
        "classification",
        "method={name: zerogen, seed_size: 100, texts_per_prompt: 5}",
    )
    found = counts_of(config)["seed"]
    assert 20 <= found.requests <= 22  # an order for each label may be unfilled
    assert found.completion_tokens > 100 * 5


def test_prompts_that_repeat_are_sent_once_for_several_answers(tmp_path):
    method = "method={name: zerogen, seed_size: 64}"
    one = configured(tmp_path, "classification", method)
    four = configured(tmp_path, "classification", method, "llm.n=4")
    whole, grouped = counts_of(one)["seed"], counts_of(four)["seed"]
    assert whole.requests == 64
    assert 16 <= grouped.requests <= 18  # each label may have an incomplete one
    assert grouped.prompt_tokens == pytest.approx(whole.prompt_tokens / 4, rel=0.13)
    assert grouped.completion_tokens == whole.completion_tokens


@pytest.mark.parametrize(("calls", "size", "sent"), [(16, 1, 16), (8, 5, 16), (1, 40, 10)])
def test_prompts_are_grouped_as_the_engine_groups_them(tmp_path, calls, size, sent):
    class Grouped(FakeBackend):
        groups = 0
        group_size = 4

        async def complete_group(self, requests):
            self.groups += 1
            return [Completion("x") for _ in requests]

        async def complete(self, request):
            return (await self.complete_group([request]))[0]

    config = configured(tmp_path, "classification", "method=zerogen", "llm.n=4")
    rehearsed, backend = RehearsedLLM(config.llm, Mute()), Grouped(str)
    engine = LLM(backend)
    for llm in (rehearsed, engine):
        for _ in range(calls):
            llm.generate([Request("p", "s", {"kind": "seed"})] * size, phase="test")
        llm.close()
    assert backend.groups == rehearsed.counts["seed"].requests == sent


class Mute:
    def say(self, _request: Request) -> str:
        return "nothing"


@pytest.mark.parametrize("name", ["zerogen", "s3", "targen", "goldgen", "fewgen"])
def test_it_asks_the_same_prompts_as_the_method_asks_another_llm(name, tmp_path):
    """The requests of a rehearsal, against those of the method with an LLM of the tests' own."""
    values = "method={{name: {}, seed_size: 60{}}}".format(
        name, ", size: 90" if name == "goldgen" else ""
    )
    config = configured(tmp_path, "classification", values, "method.train_on=synthetic")
    gold = prepare(config, lambda _: None).gold
    backend = FakeBackend(_listing(answer_anything))
    student = PretendStudent(wrong=EXPECTED.wrong)
    task = fit_task(config.task, config.method, gold.mine)
    setup, _ = make_setup(task, backend, student, gold.mine, select=gold.select)
    for _ in run_method(config.method, setup):
        pass
    setup.llm.close()
    asked = Counter(request.tags["kind"] for request in backend.requests)
    found = {kind: count.requests for kind, count in counts_of(config).items()}
    assert found == dict(asked)
    tokens = sum(-(-len(r.prompt) // 4) for r in backend.of_kind("extrapolate"))
    if tokens and name == "s3":
        # What is extrapolated are gold rows: the prompts are the very same.
        assert counts_of(config)["extrapolate"].prompt_tokens == tokens


def _listing(answer):
    def listed(request: Request) -> str:
        kind = request.tags["kind"]
        if kind in ("rationale", "domains", "instance_seeds"):
            return "\n".join(f"{i}. item number {i} {request.prompt[-9:]}" for i in range(1, 21))
        return answer(request)

    return listed


@pytest.mark.parametrize("name", ["s3", "goldgen", "targen", "zerogen", "attrprompt", "llm"])
def test_large_sizes_are_scaled_up_from_small_rehearsals(name, tmp_path):
    sizes = {"goldgen": ", seed_size: 2000, size: 3000", "llm": ""}.get(name, ", seed_size: 2000")
    config = configured(tmp_path, "classification", f"method={{name: {name}{sizes}}}", rows=2400)
    prepared = prepare(config, lambda _: None)
    gold, inputs = prepared.gold, prepared.inputs
    whole = rehearse(config, gold, inputs, EXPECTED, most_rows=10_000)
    small = rehearse(config, gold, inputs, EXPECTED, most_rows=450)
    assert (whole.is_scaled, small.is_scaled) == (False, True)
    assert list(whole.counts) == list(small.counts)
    for kind, count in whole.counts.items():
        assert small.counts[kind].requests == pytest.approx(count.requests, rel=0.02, abs=2)
        assert small.counts[kind].prompt_tokens == pytest.approx(count.prompt_tokens, rel=0.05)
        assert small.counts[kind].completion_tokens == pytest.approx(
            count.completion_tokens, rel=0.1
        )


@pytest.mark.parametrize("name", [name for kind, name in method_kinds() if kind[0] == "c"])
def test_the_test_split_cannot_be_reached_from_what_a_rehearsal_gives_a_method(
    name, tmp_path, monkeypatch
):
    config = configured(tmp_path, "classification", f"method={name}")
    prepared = prepare(config, lambda _: None)
    gold, inputs = prepared.gold, prepared.inputs
    secret = gold.test[0].text
    given = []

    def spy(self, setup):
        given.append([v for v in reachable(setup) if isinstance(v, str) and secret in v])
        return iter(())

    monkeypatch.setattr(methods().get(name), "synthesize", spy)
    rehearse(config, gold, inputs, EXPECTED, most_rows=300)
    assert given
    assert not any(given)


@pytest.mark.parametrize(
    ("share", "wrong"), [(0.05, 2), (0.25, 10), (0.5, 20), (0.0, 0), (1.0, 40)]
)
@pytest.mark.parametrize("names", [("a", "p"), ("a", "p", "q"), ()])
def test_the_pretend_student_is_wrong_on_its_share(share, wrong, names, task):
    labels = names or (Answers(("Rome",), (9,)),)
    mine = [Example(f"row {i}", labels[i % len(labels)], "lives in Rome") for i in range(40)]
    student = PretendStudent(wrong=share).start(names, 0)
    student.fit(Dataset(mine))
    said = student.predict_examples(mine).labels
    kind = task if names else ExtractiveQA()
    assert sum(not kind.is_correct(r, s) for r, s in zip(mine, said, strict=True)) == wrong


def test_a_list_has_as_many_items_as_its_prompt_asks_for(task):
    stub = StubLLM(task, rows(("a text", "a")), rng=make_rng(0, "t"))
    prompt = task.rationale_prompt("a", 17)
    said = stub.say(Request(prompt, "s", tags={"kind": "rationale", "label": "a"}))
    assert len(task.parse_rationales(said, truncated=False)) == 17
    numbered = task.model_copy(update={"instruction": "Rate 1 to 90."})
    stub = StubLLM(numbered, rows(("a text", "a")), rng=make_rng(0, "t"))
    prompt = numbered.rationale_prompt("a", 17)
    said = stub.say(Request(prompt, "s", tags={"kind": "rationale", "label": "a"}))
    assert said.count("\n") == 16
    assert MARK in said


def test_it_ends_where_the_run_would_end_and_says_so(tmp_path):
    config = configured(tmp_path, "classification", "method=synthesizrr", "method.min_words=200")
    prepared = prepare(config, lambda _: None)
    gold, inputs = prepared.gold, prepared.inputs
    found = rehearse(config, gold, inputs, EXPECTED, most_rows=300)
    assert "no passage can be content" in found.trouble
    json.dumps({kind: vars(count) for kind, count in found.counts.items()})
