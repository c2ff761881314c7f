"""Money, minutes and caps of a plan, and how it is compared with what a run used."""

import json
import socket

import pytest

from stepsynth.cli import _shared
from stepsynth.cli.plan import print_plan
from stepsynth.dryrun.plan import MOST_ROWS, make_plan
from stepsynth.errors import ConfigError
from stepsynth.inputs import prepare
from stepsynth.llm import Completion, Failed, Request
from stepsynth.runner import usage as spending
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.runner.usage import Tally, compare_with_plan, plan_run
from stepsynth.taskfile.config import load_config, recipe_names
from tests.rehearsed import configured, write_recipe

PRICE = "llm.price={prompt: 1, completion: 2}"
ZEROGEN = "method={name: zerogen, seed_size: 100}"
S3 = "method={name: s3, seed_size: 100, rounds: 2, rationales: false}"


def plan_of(config, **options):
    prepared = prepare(config, lambda _: None)
    return make_plan(prepared, **options)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a plan sends nothing")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_money_is_tokens_times_price_in_each_scenario(tmp_path):
    made = plan_of(configured(tmp_path, "classification", ZEROGEN, PRICE))
    (seed,) = made.phases
    for name in ("low", "expected", "high"):
        tokens = [
            getattr(getattr(seed, key), name) for key in ("prompt_tokens", "completion_tokens")
        ]
        assert getattr(seed.usd, name) == pytest.approx((tokens[0] + 2 * tokens[1]) / 1e6)
    assert seed.usd.low < seed.usd.expected < seed.usd.high
    assert made.total.usd == seed.usd


def test_a_price_that_is_not_known_is_null_and_never_a_guess(tmp_path):
    made = plan_of(configured(tmp_path, "classification", S3))
    assert json.loads(json.dumps(made.to_dict()))["total"]["usd"] is None
    assert any("price is not known" in line for line in made.assumptions)
    # One phase with a price makes no total.
    phases = "llm.phases={extrapolate: {model: strong, price: {prompt: 1, completion: 1}}}"
    made = plan_of(configured(tmp_path, "classification", S3, phases))
    by_kind = {phase.kind: phase for phase in made.phases}
    assert by_kind["extrapolate"].usd is not None
    assert by_kind["extrapolate"].models == ("strong",)
    assert by_kind["seed"].usd is made.total.usd is None


def test_several_teachers_in_turn_share_a_phase(tmp_path):
    of = "{{model: {}, price: {{prompt: {}, completion: {}}}}}"
    phases = f"llm.phases={{seed: [{of.format('x', 1, 1)}, {of.format('y', 3, 3)}]}}"
    (seed,) = plan_of(configured(tmp_path, "classification", ZEROGEN, phases)).phases
    tokens = seed.prompt_tokens.expected + seed.completion_tokens.expected
    assert seed.models == ("x", "y")
    assert seed.usd.expected == pytest.approx(2 * tokens / 1e6)


def test_a_cap_that_the_run_would_cross_is_said_with_its_phase(tmp_path):
    def said(*limits):
        return plan_of(configured(tmp_path, "classification", S3, PRICE, *limits)).limits

    assert said("limits.usd=100", "limits.requests=10000") == ()
    assert said("limits.requests=99") == ("limits.requests 99 would stop it in phase seed",)
    assert said("limits.requests=105") == (
        "limits.requests 105 would stop it in phase extrapolate",
    )
    assert said("limits.requests=140") == ("limits.requests 140 could stop it in phase seed",)
    assert said("limits.usd=0.000001") == ("limits.usd 1e-06 would stop it in phase seed",)
    assert said("limits.tokens=100")[0].startswith("limits.tokens 100 would stop it")
    assert said("limits.minutes=0.001")[0].startswith("limits.minutes 0.001 would stop it")


def test_a_cap_is_near_when_the_most_that_a_request_can_cost_is_above_it(tmp_path):
    held = "would stop it in phase seed: the most that a request can cost is held back"
    cheap = ("llm.max_tokens=100000", "llm.price={prompt: 1, completion: 10}")
    for cap, number in (("limits.usd=0.9", "usd 0.9"), ("limits.tokens=90000", "tokens 90000")):
        config = configured(tmp_path, "classification", ZEROGEN, *cheap, cap)
        made = plan_of(config)
        assert made.total.usd.high < 0.1
        assert made.total.prompt_tokens.high + made.total.completion_tokens.high < 50_000
        assert made.limits == (f"limits.{number} {held}",)
    config = configured(tmp_path, "classification", ZEROGEN, *cheap, "limits.usd=2")
    assert plan_of(config).limits == ()


@pytest.mark.parametrize(
    ("settings", "useless"),
    [
        ((), ["correct", "judge"]),
        (("curation.correct=true",), ["judge"]),
        # Lists get an LLM with more room, which nobody has asked for.
        (("llm.max_tokens=100",), ["correct", "judge"]),
    ],
)
def test_llms_for_what_is_never_asked_are_said_to_be_of_no_use(tmp_path, settings, useless):
    other = {"model": "m2"}
    phases = f"llm.phases={json.dumps({'judge': other, 'correct': other, 'seed': other})}"
    made = plan_of(configured(tmp_path, "classification", S3, phases, *settings))
    said = [each.split()[0] for each in made.assumptions if "of no use" in each]
    assert said == [f"llm.phases.{kind}" for kind in useless]


def test_long_names_of_models_leave_room_for_the_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_shared, "WIDTH_OF_A_FILE", 80)
    long = "llm.phases={extrapolate: {model: meta-llama/Llama-3.3-70B-Instruct-Turbo}}"
    config = configured(tmp_path, "classification", S3, PRICE, long)
    print_plan(plan_of(config), [])
    shown = capsys.readouterr().out
    assert "│ extrapolate │" in shown
    assert "completion" in shown
    table = [line for line in shown.splitlines() if line.startswith(("┏", "│", "└"))]
    assert table
    assert max(map(len, table)) <= 80


def test_curation_that_cannot_be_is_said_before_it_is_rehearsed(tmp_path):
    config = configured(tmp_path, "extractive_qa", "curation.check=llm")
    with pytest.raises(ConfigError, match=r"curation\.check: these filters are about labels"):
        prepare(config, lambda _: None)


def test_minutes_follow_from_what_may_be_in_flight_and_sent(tmp_path):
    def minutes(*settings):
        return plan_of(configured(tmp_path, "classification", ZEROGEN, *settings)).total.minutes

    few, many = minutes("llm.concurrency=10"), minutes("llm.concurrency=50")
    assert few.expected == pytest.approx(5 * many.expected)
    assert minutes("llm.rpm=20").expected == pytest.approx(100 / 20)
    assert minutes("llm.batch=true") is None


def test_an_llm_in_this_process_costs_nothing_and_nobody_knows_its_pace(tmp_path):
    here = "llm={backend: transformers, model: m}"
    made = plan_of(configured(tmp_path, "classification", ZEROGEN, here, "limits.usd=1"))
    assert made.total.usd.high == 0.0
    assert made.total.requests.expected > 0
    assert made.total.minutes is None
    assert any("in this process answers is not known" in line for line in made.assumptions)
    assert not any("price" in line or "batch API" in line for line in made.assumptions)
    assert made.limits == ()


def test_recordings_and_methods_without_an_llm_cost_nothing(tmp_path):
    recording = tmp_path / "r.jsonl"
    recording.write_text('{"kind": "seed", "label": "a", "completion": "x"}\n')
    replay = f"llm={{backend: replay, recordings: {recording}}}"
    made = plan_of(configured(tmp_path, "classification", ZEROGEN, replay))
    assert made.total.usd.high == made.total.minutes.high == 0.0
    made = plan_of(configured(tmp_path, "classification", "method=gold"))
    assert made.phases == ()
    assert made.total.requests.high == 0


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_has_a_plan_at_its_full_size(recipe, tmp_path):
    config = load_config(write_recipe(tmp_path, recipe))
    prepared = prepare(config, lambda _: None)
    made = make_plan(prepared, most_rows=450)
    kinds = {phase.kind: phase for phase in made.phases}
    size = config.method.seed_size
    assert kinds["seed"].requests.expected == size > MOST_ROWS - 1
    assert kinds["seed"].requests.high == pytest.approx(1.5 * size, rel=0.01)
    assert kinds["seed"].completion_tokens.expected > 5 * size
    # A quarter of mine is wrong in each of two rounds.
    extrapolated = kinds["extrapolate"].requests
    assert extrapolated.expected == pytest.approx(2 * len(prepared.gold.mine) / 4, abs=2)
    assert extrapolated.high == pytest.approx(2 * len(prepared.gold.mine) / 2, abs=2)
    assert any("scaled up" in line for line in made.assumptions)
    assert not any("ended early" in line for line in made.assumptions)


def test_a_run_never_fails_by_its_plan(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    config = configured(tmp_path, "classification", ZEROGEN)
    prepared = prepare(config, lambda _: None)
    warnings: list[str] = []
    assert plan_run(prepared, None, warnings.append) is not None
    assert plan_run(prepared, EqualBudget("rows", 10), warnings.append) is None
    assert warnings == []
    monkeypatch.setattr(spending, "make_plan", fail)
    assert plan_run(prepared, None, warnings.append) is None
    assert warnings == ["this run goes on without a plan: RuntimeError: a bug"]


def test_the_error_of_a_plan_is_of_what_was_used(tmp_path):
    config = configured(tmp_path, "classification", S3, PRICE)
    tally = Tally()
    for i in range(80):
        answer = Completion("x", prompt_tokens=10, completion_tokens=5, model="m")
        tally.count(Request("p", "s", {"kind": "seed"}, i), answer, config.llm)
    tally.count(Request("p", "s", {"kind": "judge"}), Failed("timeout", "late"), config.llm)
    used = tally.to_dict(from_store=3)
    rows = {row["phase"]: row for row in compare_with_plan(plan_of(config).to_dict(), used)}
    assert list(rows) == ["seed", "extrapolate", "judge", "total"]
    assert rows["seed"]["requests"]["error"] == pytest.approx(0.25)  # 100 planned, 80 used
    assert rows["seed"]["usd"]["used"] == pytest.approx(80 * 20 / 1e6)
    assert rows["extrapolate"]["requests"] == {
        "planned": rows["extrapolate"]["requests"]["planned"],
        "used": None,
        "error": None,
    }
    assert rows["judge"]["requests"]["planned"] is None
    assert rows["total"]["requests"]["used"] == 81


def test_an_answer_without_token_counts_makes_its_cost_unknown(tmp_path):
    config = configured(tmp_path, "classification", S3, PRICE)
    tally = Tally()
    tally.count(Request("p", "s", {"kind": "seed"}), Completion("x"), config.llm)
    assert tally.to_dict(from_store=0)["total"]["usd"] is None


@pytest.mark.parametrize(("n", "requests"), [(4, 2), (1, 3)])
def test_answers_of_one_group_are_one_request(tmp_path, n, requests):
    """But a server that counts no token of a prompt that it has in its cache answers one each."""
    config = configured(tmp_path, "classification", ZEROGEN, f"llm.n={n}")
    assert config.llm is not None
    tally = Tally()
    for tokens in (10, 0, 10):
        answer = Completion("x", prompt_tokens=tokens)
        tally.count(Request("p", "s", {"kind": "seed"}), answer, config.llm)
    assert tally.kinds["seed"].requests == requests
