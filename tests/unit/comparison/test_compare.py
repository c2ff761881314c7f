"""A comparison's plan and its table, without running anything."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from stepsynth import api
from stepsynth._util.hashing import digest
from stepsynth.comparison import plan as compare_plan
from stepsynth.comparison.plan import make_plan, read_entries, split_names
from stepsynth.comparison.read import RunRow, score_labels
from stepsynth.comparison.run import Ended, _limits_left
from stepsynth.comparison.speed import read_speed
from stepsynth.comparison.table import _warn, compare_answers, make_table
from stepsynth.errors import ConfigError, LimitReachedError
from stepsynth.llm import Spent
from stepsynth.llm.store import Store
from stepsynth.methods.gold import Gold
from stepsynth.methods.goldgen import GoldGen
from stepsynth.methods.llm import LLMItself
from stepsynth.methods.s3 import S3
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.report.compare_page import to_csv, to_html, to_markdown
from stepsynth.run_records import AnsweredTest
from stepsynth.runfolder import RunFolder
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.taskfile.config import load_config
from tests.e2e.cli import write_task

SCRIPTED = "{backend: scripted, rules: [{pattern: Write, answers: [x]}]}"


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path, llm=SCRIPTED)


# Budgets ---------------------------------------------------------------------------------------


def test_rows_are_shared_out_as_in_the_paper():
    budget = EqualBudget("rows", 600)
    s3 = budget.apply(S3())
    assert (s3.seed_size, s3.added_size) == (400, 100)
    assert budget.apply(S3(rounds=0)).seed_size == 600
    goldgen = budget.apply(GoldGen())
    assert (goldgen.seed_size, goldgen.size) == (400, 600)
    assert budget.apply(ZeroGen()).seed_size == 600


def test_a_size_that_was_set_by_hand_stays_and_is_named():
    budget, method = EqualBudget("rows", 600), S3(seed_size=50, rationales=False)
    assert budget.apply(method, ["seed_size"]).seed_size == 50
    assert budget.apply(method, ["seed_size"]).added_size == 100
    assert budget.kept_sizes(method, ["seed_size", "rounds"]) == ("seed_size",)
    assert budget.kept_sizes(S3(seed_size=400), ["seed_size"]) == ()
    assert budget.apply(method).seed_size == 400  # a recipe's size, say


def test_sizes_that_do_not_go_together_are_an_error():
    with pytest.raises(ConfigError, match="must be above seed_size"):
        EqualBudget("rows", 600).apply(GoldGen(seed_size=700), ["seed_size"])


def test_what_has_no_size_takes_no_budget():
    assert EqualBudget("rows", 600).fits(S3())
    assert not EqualBudget("rows", 600).fits(Gold())
    assert not EqualBudget("calls", 600).fits(LLMItself())


def test_the_purse_of_calls_and_of_usd():
    class Fake:
        class usage:
            usd: float | None = 0.25

    assert EqualBudget("rows", 10).spending(Fake()).affordable(99) == 99
    assert EqualBudget("calls", 10).spending(Fake()).affordable(99) == 10
    assert EqualBudget("usd", 0.5).spending(Fake()).spent_usd() == 0.25
    Fake.usage.usd = None
    with pytest.raises(ConfigError, match="tokens"):
        EqualBudget("usd", 0.5).spending(Fake()).affordable(1)


def test_the_sizes_of_a_recipe_give_way_to_the_budget(tmp_path):
    gold = [{"text": f"film {i}", "label": ("negative", "positive")[i % 2]} for i in range(40)]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    file = tmp_path / "imdb.yaml"
    file.write_text(
        "task: {recipe: imdb}\ndata: {gold: gold.jsonl}\n"
        "llm: {backend: scripted, rules: [{pattern: x, answers: [y]}]}\n"
    )
    for overrides, amount, seed_size in (((), None, 15_000), (("method.seed_size=40",), 60, 40)):
        plan = make_plan(file, ["s3", "zerogen"], seeds=1, overrides=overrides, out=tmp_path / "o")
        sized = {n: plan.budget.apply(c.method, c.own_keys) for n, c in plan.configs.items()}
        assert plan.budget.amount == (amount or 22_500)
        assert (sized["s3"].seed_size, sized["zerogen"].seed_size) == (
            seed_size,
            plan.budget.amount,
        )
        assert plan.warnings == []
    given = make_plan(file, ["s3"], seeds=1, budget=90, out=tmp_path / "o")
    s3 = given.budget.apply(given.configs["s3"].method, given.configs["s3"].own_keys)
    assert (s3.seed_size, s3.added_size, given.warnings) == (60, 15, [])


# Methods and their variants --------------------------------------------------------------------


def test_variants_are_read_and_have_folders_of_their_own():
    entries = read_entries(["s3", " s3:rationales=false;rounds=0", "s3:keep=best", "gold"])
    assert entries[1].values == {"rationales": False, "rounds": 0}
    assert entries[1].folder == "s3-rationales=false-rounds=0"
    assert len({entry.folder for entry in entries}) == 4
    one, two = read_entries(["s3:seed_from=a/b", "s3:seed_from=a-b"])
    assert one.folder != two.folder
    assert "/" not in one.folder
    outside = read_entries(["s3:seed_from=../../x"])[0].folder
    assert Path(outside).name == outside


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["s3", "zerogne"], "zerogen"),
        (["s3:ratoinales=false"], "rationales"),
        (["s3:rounds=many"], "rounds"),
        (["s3:rounds"], "KEY=VALUE"),
        (["s3", "s3"], "twice"),
        ([""], "no method is named"),
    ],
)
def test_what_is_misspelt_is_an_error_before_anything_runs(names, said, task, tmp_path):
    with pytest.raises(ConfigError) as caught:
        make_plan(task, names, seeds=2, out=tmp_path / "out")
    assert said in f"{caught.value.message} {caught.value.hint}" or not names[0]
    assert not (tmp_path / "out").exists()


def test_commas_in_brackets_are_part_of_a_value():
    names = split_names("s3,attrprompt:lengths=[30,100];per_class=2,gold")
    assert names == ["s3", "attrprompt:lengths=[30,100];per_class=2", "gold"]
    assert split_names("s3") == ["s3"]
    assert read_entries(["attrprompt:lengths=[30,100]"])[0].values == {"lengths": [30, 100]}


def test_a_label_that_looks_like_a_path_is_not_read(task, monkeypatch):
    monkeypatch.setattr(compare_plan, "_digest_of", lambda place: pytest.fail(place))
    config = load_config(task, ["task.labels={apple: /, pear: soft}", "data={gold: hf:x}"])
    compare_plan._describe(config, None)


def test_the_reference_must_be_compared(task):
    assert make_plan(task, ["s3", "zerogen"], seeds=1).against == "zerogen"
    assert make_plan(task, ["s3", "gold"], seeds=1).against == "s3"
    assert make_plan(task, ["s3", "gold"], seeds=1, against="gold").against == "gold"
    with pytest.raises(ConfigError, match="against"):
        make_plan(task, ["s3", "gold"], seeds=1, against="zerogen")


# Plans -----------------------------------------------------------------------------------------


def test_the_budget_is_made_of_the_task_files_seed_size(task):
    plan = make_plan(task, ["s3", "s3:rounds=0", "goldgen", "zerogen"], seeds=2)
    assert plan.budget == EqualBudget("rows", 60)  # 1.5 x 40
    assert plan.warnings == []
    sized = {name: plan.budget.apply(c.method, c.own_keys) for name, c in plan.configs.items()}
    assert (sized["s3"].seed_size, sized["s3:rounds=0"].seed_size) == (40, 60)
    assert sized["zerogen"].seed_size == 60
    # Options of seed data are shared by those who have them, and by nobody else.
    assert sized["goldgen"].rationales is False


def test_with_a_budget_of_its_own_only_what_the_command_sets_stays(task):
    def s3_of(plan, name="s3"):
        config = plan.configs[name]
        return plan.budget.apply(config.method, config.own_keys)

    plan = make_plan(task, ["s3", "zerogen"], seeds=2, budget=300)
    assert (s3_of(plan).seed_size, s3_of(plan).added_size) == (200, 50)
    assert plan.warnings == []
    set_ = make_plan(task, ["s3"], seeds=2, budget=300, overrides=["method.seed_size=40"])
    assert s3_of(set_).seed_size == 40
    assert "seed_size = 40 is set by hand" in set_.warnings[0]
    variant = make_plan(task, ["s3:seed_size=40"], seeds=2, budget=300)
    assert s3_of(variant, "s3:seed_size=40").seed_size == 40
    assert "seed_size = 40 is set by hand" in variant.warnings[0]


def test_runs_share_a_store_and_differ_in_their_seed(task, tmp_path):
    plan = make_plan(task, ["s3", "gold"], seeds=3, out=tmp_path / "out")
    assert list(plan.runs) == [0, 1, 2]
    assert len({run.key for runs in plan.runs.values() for run in runs}) == 6
    store = f'llm.store="{tmp_path}/out/requests.sqlite"'
    assert store in plan.runs[1][0].overrides
    assert store not in plan.runs[1][1].overrides
    assert plan.runs[2][0].folder == tmp_path / "out" / "s3" / "2"


def spend(plan, run, spent):
    """Record in the shared store what a run has spent."""
    run.folder.mkdir(parents=True)
    RunFolder(run.folder).identity.write_text(json.dumps({"of": run.name}))
    store = Store(plan.store)

    async def put():
        store.put((), digest({"of": run.name}), spent, lambda _: None)
        await store.drain()

    asyncio.run(put())
    store.close()


@pytest.mark.parametrize(
    ("cap", "left"), [("requests=101", 40), ("usd=2.0", 0.75), ("tokens=5001", 1500)]
)
def test_each_cap_is_shared_out_to_all_runs_of_the_comparison(tmp_path, cap, left):
    llm = "{preset: vllm, model: m, price: {prompt: 1, completion: 1}}"
    task, name = write_task(tmp_path, llm=llm), cap.partition("=")[0]
    overrides = [f"limits.{cap}"]
    plan = make_plan(task, ["s3", "zerogen"], seeds=2, out=tmp_path / "out", overrides=overrides)
    first, second = plan.runs[0]
    spend(plan, first, Spent(10, 0.25, 1000))
    assert _limits_left(plan, second, 0.0) == (f"limits.{name}={left}",)
    spend(plan, plan.runs[1][0], Spent(101, 2.0, 5001))
    with pytest.raises(LimitReachedError, match=f"limits.{name} is reached"):
        _limits_left(plan, plan.runs[1][1], 0.0)


def test_a_run_is_another_one_if_its_files_budget_or_keys_differ(task):
    def key(**options):
        return make_plan(task, ["zerogen"], seeds=1, **options).runs[0][0].key

    first = key()
    assert key() == first
    assert key(overrides=["limits.requests=9"]) == first
    assert key(overrides=["llm.concurrency=9"]) == first
    assert key(budget=50) != first
    assert key(equal="calls") != first
    assert key(overrides=["student.C=3"]) != first
    gold = task.parent / "gold.jsonl"
    gold.write_text(gold.read_text() + json.dumps({"text": "one more pear", "label": "p"}) + "\n")
    assert key() != first


@pytest.mark.parametrize(("stopped", "is_timed"), [("interrupted", False), ("limits.usd", True)])
def test_who_interrupts_a_comparison_does_not_wait_for_its_speed(
    task, tmp_path, monkeypatch, stopped, is_timed
):
    timed = []
    monkeypatch.setattr(api, "run_plan", lambda *_, **__: Ended(stopped=stopped))
    monkeypatch.setattr(api, "measure_speed", timed.append)
    comparison, _ = api.run_comparison(
        make_plan(task, ["s3"], seeds=1, out=tmp_path / "out"), jobs=1
    )
    assert comparison.stopped == stopped
    assert bool(timed) is is_timed


@pytest.mark.parametrize(
    "odd", ["[" * 100_000, '{"s3": 1}', json.dumps({"s3": {"key": "", "ms": 10**400}})]
)
def test_times_that_are_damaged_are_not_there(task, tmp_path, odd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/speed.json").write_text(odd)
    assert read_speed(make_plan(task, ["s3"], seeds=1, out=tmp_path / "out")) == {}


def test_a_method_that_cannot_run_here_is_a_failure_and_no_error(task):
    plan = make_plan(task, ["synthesizrr", "zerogen"], seeds=2)
    assert list(plan.failures) == ["synthesizrr"]
    assert "corpus" in plan.failures["synthesizrr"].message
    assert [run.entry.name for run in plan.runs[0]] == ["zerogen"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"equal": "usd"}, "how many USD"),
        ({"equal": "usd", "budget": 1}, "price"),
        ({"budget": -3}, "more than 0"),
        ({"budget": 1}, "2 rows or more"),
        ({"seeds": 0}, "1 or more"),
    ],
)
def test_options_that_make_no_sense_are_errors(task, options, said):
    with pytest.raises(ConfigError, match=said):
        make_plan(task, ["zerogen"], **({"seeds": 1} | options))


# Tables ----------------------------------------------------------------------------------------


def test_scores_of_labels_are_scikit_learns():
    rng = np.random.default_rng(0)
    gold, said = (list(rng.choice(["a", "b", "c"], 50)) for _ in range(2))
    found = score_labels(gold, said)
    for i, label in enumerate("abc"):
        f1 = f1_score(gold, said, average=None, labels=list("abc"))[i]
        recall = recall_score(gold, said, average=None, labels=list("abc"))[i]
        assert found[label] == pytest.approx({"f1": f1, "recall": recall})
    assert score_labels([{"text": ["x"]}], ["x"]) == {}


def answered(gold, said, ids=None):
    return AnsweredTest(gold=gold, predicted=said, ids=ids)


def test_answers_are_compared_on_the_seeds_that_both_have():
    gold = ["a", "b"] * 20
    right, wrong = answered(gold, gold), answered(gold, ["a"] * 40)
    found = compare_answers({0: right, 1: right}, {1: wrong, 2: wrong})
    assert found["accuracy"].mean == 0.5
    assert found["accuracy"].is_beyond_noise
    assert compare_answers({0: right}, {1: wrong}) == {}


def test_answers_to_questions_are_compared_by_what_each_row_scores():
    gold = [{"text": ["the red apple"], "answer_start": [0]}] * 10
    right, half = answered(gold, ["red apple"] * 10), answered(gold, ["red pear"] * 10)
    found = compare_answers({0: right}, {0: half})
    assert found["exact_match"].mean == 1
    assert found["f1"].mean == pytest.approx(0.5)


def test_a_row_that_two_splits_share_is_known_by_its_id():
    gold = ["a", "b"] * 30
    rng = np.random.default_rng(0)
    said = [list(rng.choice(["a", "b"], 60)) for _ in range(2)]

    def width(name):
        def turn(values, seed):
            return [*values[2 * seed :], *values[: 2 * seed]]

        ids = [[name.format(seed, i) for i in range(60)] for seed in range(4)]
        first, second = (
            {s: answered(gold, turn(one, s), turn(ids[s], s)) for s in range(4)} for one in said
        )
        found = compare_answers(first, second)["accuracy"]
        return found.high - found.low

    # The same rows four times tell as much as once.
    assert width("{1}") > 1.25 * width("{0} {1}")


def test_a_comparison_without_a_result_says_so(task, tmp_path):
    plan = make_plan(task, ["s3", "zerogen"], seeds=2, out=tmp_path / "out")
    table = make_table(plan, Ended(stopped="limits.usd"))
    assert table.verdict == []
    assert [run.is_done for run in table.runs] == [False] * 4
    assert table["s3"].mean == {}
    html = to_html(table, tmp_path / "out")
    assert "4 of 4 runs are not done" in html
    assert "zerogen, which the others are compared with, has no result" in to_markdown(table)
    assert len(to_csv(table).splitlines()) == 5


def test_gold_that_is_trained_on_too_is_gold_that_is_seen(task):
    plan = make_plan(task, ["zerogen", "zerogen:train_on=both;reweight=density_ratio"], seeds=1)
    plain, both = make_table(plan, Ended()).methods
    assert plain.sees == "none"
    assert both.sees.startswith("texts and labels of `mine`: trained on too; texts of `mine`")


def test_losses_and_noise_are_said_plainly(task):
    from stepsynth.comparison.table import _judge
    from stepsynth.metrics.bootstrap import Interval

    plan = make_plan(task, ["s3", "zerogen"], seeds=1)
    row = make_table(plan, Ended()).methods[0]

    def judged(**gains):
        rows = [replace(row, name=n, against={"f1": Interval(*g)}) for n, g in gains.items()]
        return " ".join(_judge(rows, "zerogen", {"f1": "F1"}))

    bad, noise, good = (-0.05, -0.08, -0.02), (0.01, -0.01, 0.03), (0.05, 0.02, 0.08)
    assert judged(s3=bad, fewgen=noise) == (
        "No method beats zerogen beyond noise (F1). "
        "Loses to zerogen (F1, points): s3 -5.0 [-8.0, -2.0]. "
        "Within noise of zerogen (F1, points): fewgen +1.0 [-1.0, +3.0]."
    )
    assert judged(s3=good) == "Better than zerogen (F1, points): s3 +5.0 [+2.0, +8.0]."


def test_no_verdict_is_passed_on_gold(task):
    from stepsynth.comparison.table import _judge
    from stepsynth.metrics.bootstrap import Interval

    plan = make_plan(task, ["gold", "s3", "zerogen"], seeds=1)
    gold, s3, _ = make_table(plan, Ended()).methods
    assert (gold.is_reference, s3.is_reference) == (True, False)
    gold, s3 = (replace(row, against={"f1": Interval(-0.05, -0.08, -0.02)}) for row in (gold, s3))
    assert _judge([gold], "zerogen", {"f1": "F1"}) == [
        "For reference, gold minus zerogen (F1, points): -5.0 [-8.0, -2.0]."
    ]
    assert _judge([gold, s3], "zerogen", {"f1": "F1"})[1] == (
        "Loses to zerogen (F1, points): s3 -5.0 [-8.0, -2.0]."
    )


def test_a_warning_of_many_runs_is_said_once(task):
    plan = make_plan(task, ["s3", "zerogen"], seeds=2)
    runs = [
        RunRow("s3", 0, "", warnings=["3 of 9 requests failed", "few rows"]),
        RunRow("s3", 1, "", warnings=["4 of 9 requests failed"]),
        RunRow("zerogen", 0, "", warnings=["5 of 9 requests failed"]),
    ]
    assert _warn(plan, [], runs) == [
        "s3, random seed 0: 3 of 9 requests failed (2 more like it, also of zerogen)",
        "s3, random seed 0: few rows",
    ]
