"""What answers cost: the scores, USD and shares of each way, and rows that the model has seen."""

import json
import re

import numpy as np
import pytest

import stepsynth
from stepsynth._util.hashing import digest
from stepsynth.deploy import FallBack, estimate, measure_cost, read_task, unseen_rows
from stepsynth.deploy import cost as deploy_cost
from stepsynth.errors import DataError, ProviderError
from stepsynth.metrics import f1_interval
from stepsynth.records import Answers, Dataset, Example, LabelSet
from stepsynth.runfolder import open_run
from stepsynth.students import load_student
from stepsynth.taskfile import load_config
from tests.e2e.cli import ok, refused
from tests.e2e.cli import stepsynth as command
from tests.fakes import rows
from tests.stub_server import StubServer
from tests.unit.deploy.test_fall_back import refuse, says

GOLD = [
    {"text": f"{'red round' if i % 2 else 'long green'} {i} {i % 7}", "label": "ap"[i % 2 == 0]}
    for i in range(120)
]
TEST = [
    {"text": f"new {word} thing {i} of {i * i}", "label": label}
    for i in range(10)
    for word, label in (("red round", "a"), ("long green", "p"), ("odd shape", "p"))
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GOLD))
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TEST))
    task = {
        "task": {"labels": ["a", "p"]},
        "data": {"gold": "gold.jsonl", "split": {"mine": 0.3, "select": 0.5, "test": 0.2}},
        "method": "gold",
    }
    (folder / "fruit.yaml").write_text(json.dumps(task))
    stepsynth.run(folder / "fruit.yaml", out=folder / "run")
    # Some select rows must be unsure, so that there is something to abstain on.
    file = folder / "run" / "model" / "calibration.json"
    known = json.loads(file.read_text())
    known["held_out"] = [(0.5 + i / 120, i > 20) for i in range(60)]
    file.write_text(json.dumps(known))
    return folder / "run"


@pytest.fixture
def llm():
    with StubServer(answer=says) as server:
        yield server


@pytest.fixture
def task(llm, tmp_path):
    def write(**more):
        section = {"backend": "openai_compatible", "model": "m", "base_url": llm.url}
        section |= {"price": {"prompt": 20_000, "completion": 0}, "store": "answers.sqlite"}
        values = {"task": {"labels": ["a", "p"]}, "llm": section, "data": {"gold": "x"}}
        (tmp_path / "llm.yaml").write_text(json.dumps(values | more))
        return tmp_path / "llm.yaml"

    return write


def measured(run, task, test=TEST, **more):
    opened = open_run(run)
    llm = FallBack(
        read_task(task(**more), load_student(opened.folder.model)), opened.folder, timeout_s=5
    )
    try:
        return measure_cost(opened, rows(*((r["text"], r["label"]) for r in test)), llm)
    finally:
        llm.close()


def test_each_way_has_its_scores_and_its_price(run, task, llm):
    found = measured(run, task)
    alone, *between, asked = found.ways
    assert (alone.name, alone.by_llm, alone.usd) == ("model alone", 0.0, 0.0)
    assert (asked.name, asked.by_llm) == ("LLM alone", 1.0)
    # The LLM names no label for "odd", which counts as wrong; each answer costs 2 USD.
    assert asked.scores["accuracy"].mean == pytest.approx(20 / 30)
    assert asked.usd == pytest.approx(2000.0)
    assert any("10 answers of the LLM cannot be read" in note for note in found.notes)
    assert between
    shares = [way.by_llm for way in between]
    assert shares == sorted(shares)
    for way in between:
        assert re.fullmatch(r"precision [01]\.\d\d", way.name)
        assert way.usd == pytest.approx(2000 * way.by_llm)
        assert way.ms == pytest.approx(alone.ms + way.by_llm * asked.ms, rel=1e-6)
    assert len(llm.bodies) == 30
    again = measured(run, task)
    assert len(llm.bodies) == 30, "answers are remembered"
    assert again.ways[-1] == asked, "the time of the LLM too"


def test_usd_are_not_known_where_an_answer_does_not_say_its_tokens(run, task, llm):
    def uncounted(number, body):
        status, headers, answer = says(number, body)
        kept = {key: value for key, value in json.loads(answer).items() if key != "usage"}
        return status, headers, answer if number > 1 else json.dumps(kept).encode()

    llm.answer = uncounted
    found = measured(run, task)
    assert (found.ways[0].usd, found.ways[-1].usd) == (0.0, None)


@pytest.mark.parametrize(
    "odd", ['{"llm": KEY, "requests": "x"}', "[]", '{"llm": KEY, "ms": 1}', "[" * 100_000]
)
def test_a_damaged_time_of_the_llm_is_measured_anew(run, task, odd):
    key = digest(load_config(task(), ["method=llm"]).llm.identity())
    open_run(run).folder.llm_speed.write_text(odd.replace("KEY", json.dumps(key)))
    assert measured(run, task).ways[-1].ms > 0


def test_at_a_cap_only_what_was_answered_is_scored(run, task):
    found = measured(run, task, limits={"requests": 12})
    assert found.rows < 30
    assert "(limits.requests is reached): only these" in found.notes[0]


def test_an_llm_that_answers_nothing_is_an_error(run, task, llm):
    llm.answer = refuse
    with pytest.raises(ProviderError, match="answers none of 30 rows"):
        measured(run, task)


def test_rows_that_the_model_has_seen_are_left_out(run):
    opened, told = open_run(run), []
    config = load_config(opened.folder.config)
    seen = opened.dataset[0]
    near = rows((TEST[0]["text"], "a"), (seen.text, seen.label))
    left = unseen_rows(opened, config, near, told.append)
    assert [row.text for row in left] == [TEST[0]["text"]]
    assert told == ["1 of 2 rows are left out: 1 copy_of_training"]
    with pytest.raises(DataError, match="seen every one"):
        unseen_rows(opened, config, near[1:], told.append)


def test_the_estimate_is_an_upper_bound(task):
    config = load_config(task(), ["method=llm"])
    most = estimate(rows(("x" * 400, "a")), config.task, config.llm)
    assert most.prompt_tokens > 100
    assert most.completion_tokens == 1024
    assert most.usd == pytest.approx(20_000 * most.prompt_tokens / 1e6)


def test_macro_f1_has_an_interval_and_no_answer_is_no_label():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    gold, said = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    flags = np.eye(3, dtype=bool)
    found = f1_interval(flags[gold], flags[said], average="macro")
    assert found.mean == pytest.approx(f1_score(gold, said, average="macro"))
    assert 0 < found.low < found.mean < found.high < 1
    is_said = np.array([[True], [False], [True], [False]])
    none = f1_interval(flags[[0, 0, 1, 1]], flags[[0, 0, 1, 1]] & is_said, average="macro")
    assert none.mean == pytest.approx(2 / 3)


def test_sets_and_answers_have_scores_of_their_own_and_no_answer_is_wrong():
    sets = Dataset(
        Example(f"t{i}", LabelSet(own)) for i, own in enumerate([("a",), ("a", "b"), ()])
    )
    found = deploy_cost.score_answers(sets, ["a", "a", None], ("a", "b"))
    assert found["exact_match"].mean == pytest.approx(1 / 3)
    assert found["micro_f1"].mean == pytest.approx(0.8)
    asked = Dataset(
        Example(f"q{i}", Answers((answer,), (0,)), "the passage")
        for i, answer in enumerate(["the red house", "Rome", "the"])
    )
    found = deploy_cost.score_answers(asked, ["Red house!", "in Rome", None], ())
    assert found["exact_match"].mean == pytest.approx(1 / 3)
    assert found["f1"].mean == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert 0 <= found["f1"].low < found["f1"].mean < found["f1"].high <= 1


def test_the_command_prints_a_table_and_writes_a_page(run, task, llm, tmp_path):
    page = tmp_path / "page.html"
    args = ("cost", run, run.parent / "test.jsonl", "--fall-back", task(), "--rows", 12)
    done = ok(*args, "--out", page)
    assert "m is asked about 12 rows: at most" in done.stderr
    assert len(llm.bodies) == 12
    assert "model alone" in done.stdout
    html = page.read_text("utf-8")
    assert "<svg" in html
    assert "LLM alone" in html
    assert "<script" not in html
    assert "://" not in html.replace("http://www.w3.org/", "")
    said = json.loads(command(*args, "--json").stdout)
    assert (said["rows"], len(llm.bodies)) == (12, 12)
    assert (run / "cost.html").exists()
    assert "no `llm` section" in refused("cost", run, run.parent / "test.jsonl")


def test_rows_are_drawn_in_the_same_way_each_time():
    many = rows(*((f"text {i}", "a") for i in range(50)))
    drawn = deploy_cost.draw_rows(many, 10, 0)
    assert [row.text for row in drawn] == [row.text for row in deploy_cost.draw_rows(many, 10, 0)]
    assert deploy_cost.draw_rows(many, 50, 0) is many
