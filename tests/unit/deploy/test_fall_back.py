"""An LLM behind a model: what it answers, what it remembers, and what happens without it."""

import json
import time

import pytest

from stepsynth.cli._falling_back import open_unsure
from stepsynth.deploy import FallBack, ModelServer, fall_back, read_task
from stepsynth.errors import ConfigError, RunFolderError
from stepsynth.metrics import CALIBRATION_FILE, Abstention, Calibration
from stepsynth.records import Example
from stepsynth.runfolder import RunFolder
from stepsynth.students.linear import Linear
from tests.e2e.cli import refused, stepsynth
from tests.stub_server import StubServer, completion, failure
from tests.unit.deploy.test_serve import FRUIT, Served, call

LLM = {
    "backend": "openai_compatible",
    "model": "m",
    "price": {"prompt": 20_000, "completion": 0},
}


def says(number, body):
    prompt = body["messages"][-1]["content"]
    label = "no idea" if "odd" in prompt else "a" if "red" in prompt else "p"
    return completion(json.dumps({"label": label}), tokens=(100, 5))


def refuse(number, body):
    return failure(401, "the text was: red")


@pytest.fixture
def llm():
    with StubServer(answer=says) as server:
        yield server


@pytest.fixture
def task(tmp_path, llm):
    (tmp_path / "gold.jsonl").write_text('{"text": "x", "label": "a"}\n')
    values = {
        "task": {"labels": {"a": "apples", "p": "pears"}},
        "data": {"gold": "gold.jsonl"},
        "llm": {**LLM, "base_url": llm.url},
        "method": "gold",
    }

    def write(**more):
        file = tmp_path / "task.yaml"
        file.write_text(json.dumps(values | more))
        return file

    return write


@pytest.fixture
def open_llm(tmp_path, task):
    opened = []

    def open_one(timeout_s=5.0, **more):
        config = read_task(task(**more), Linear().start(("p", "a"), 0))
        opened.append(FallBack(config, RunFolder(tmp_path), timeout_s=timeout_s))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def ask(llm, *texts):
    return [(r.label, r.why) for r in llm.ask([Example(text, "") for text in texts])]


def test_each_text_is_asked_about_once_and_remembered(open_llm, llm, tmp_path):
    first = open_llm()
    assert ask(first, "red", "green", "red") == [("a", ""), ("p", ""), ("a", "")]
    assert ask(first, "green", "odd") == [("p", ""), (None, fall_back.UNREADABLE)]
    assert len(llm.bodies) == 3
    assert first.spent[:2] == (3, 6.0)
    first.close()
    second = open_llm()
    (reply,) = second.ask([Example("red", "")])
    assert (reply.label, reply.usd) == ("a", 2.0)
    assert len(llm.bodies) == 3
    assert second.spent == (0, 0.0, 0)
    assert second.store == tmp_path / "fall-back.sqlite"


def test_each_of_two_endpoints_of_one_model_has_its_own_price(open_llm, llm, tmp_path):
    dear = {
        "model": "m",
        "base_url": f"{llm.url}?dear=1",
        "price": {"prompt": 50_000, "completion": 0},
    }
    settings = {**LLM, "base_url": llm.url, "phases": {"decide": [{"price": LLM["price"]}, dear]}}
    first = open_llm(llm=settings)
    rows = [Example(f"red {i}", "") for i in range(12)]
    costs = [reply.usd for reply in first.ask(rows)]
    assert set(costs) == {2.0, 5.0}
    assert first.spent.usd == sum(costs)
    first.close()
    assert [reply.usd for reply in open_llm(llm=settings).ask(rows)] == costs


def test_at_a_cap_new_texts_get_no_label_and_known_ones_do(open_llm, llm):
    capped = open_llm(limits={"requests": 1})
    assert ask(capped, "red") == [("a", "")]
    assert ask(capped, "green") == [(None, "limits.requests is reached")]
    assert ask(capped, "red") == [("a", "")]
    again = open_llm(limits={"requests": 1})
    assert ask(again, "green") == [(None, "limits.requests is reached")], "it holds over starts"
    assert len(llm.bodies) == 1


def test_a_text_goes_to_the_same_one_of_several_llms(open_llm, llm):
    several = {"phases": {"decide": [{"model": "b"}, {"model": "c"}]}}
    two = open_llm(llm={**LLM, "base_url": llm.url, **several})
    for _ in range(3):
        assert ask(two, "red", "green", "dark red") == [("a", ""), ("p", ""), ("a", "")]
    assert len(llm.bodies) == 3
    assert {body["model"] for body in llm.bodies} == {"b", "c"}


def test_an_answer_serves_settings_of_any_random_seed(open_llm, llm):
    for random_seed in (0, 7):
        assert ask(open_llm(random_seed=random_seed), "red") == [("a", "")]
    assert len(llm.bodies) == 1


def test_what_was_answered_is_given_beside_texts_that_get_no_answer(open_llm, llm):
    one = open_llm(limits={"requests": 2})
    ask(one, "red", "odd")
    at_cap = (None, "limits.requests is reached")
    unreadable = (None, fall_back.UNREADABLE)
    assert ask(one, "new", "red", "odd") == [at_cap, ("a", ""), unreadable]
    llm.answer = refuse
    down = open_llm()
    assert ask(down, "new", "red") == [(None, fall_back.DOWN), ("a", "")]
    assert ask(down, "red", "new") == [("a", ""), (None, fall_back.DOWN)], "while it is left alone"


def test_an_llm_that_is_down_is_left_alone_and_asked_again_later(open_llm, llm, monkeypatch):
    told = []
    broken = open_llm()
    broken._on_notice = told.append
    llm.answer = refuse
    assert ask(broken, "red") == [(None, fall_back.DOWN)]
    sent = len(llm.bodies)
    assert ask(broken, "green") == [(None, fall_back.DOWN)]
    assert len(llm.bodies) == sent
    assert len(told) == 1
    assert "red" not in told[0]
    llm.answer = says
    monkeypatch.setattr(broken, "_rests_until", 0.0)
    assert ask(broken, "green") == [("p", "")]
    assert broken.spent.requests == sent + 1


def test_a_store_that_fails_when_it_is_closed_costs_no_answer(open_llm, llm, monkeypatch):
    one = open_llm()
    close = one._llm.close

    def fail():
        close()
        raise RunFolderError("the disk is full")

    monkeypatch.setattr(one._llm, "close", fail)
    llm.answer = refuse
    assert ask(one, "red") == [(None, fall_back.DOWN)]
    assert one.spent.requests == len(llm.bodies)


def test_a_task_with_other_labels_or_without_an_llm_is_refused(task):
    with pytest.raises(ConfigError, match="its labels are a, p; those of the model are a, b"):
        read_task(task(), Linear().start(("a", "b"), 0))
    with pytest.raises(ConfigError, match="no `llm` section"):
        read_task(task(llm=None), Linear().start(("a", "p"), 0))


@pytest.fixture(scope="module")
def unsure():
    """A model that abstains on all but the clearest text."""
    student = Linear().start(("a", "p"), 0)
    student.fit(FRUIT)
    sure = student.predict_probabilities(["red round 1"]).probabilities.max()
    return student, Abstention(float(sure), 1, 0, 1, 0.5)


def served(unsure, llm, timeout_s=5.0):
    student, abstention = unsure
    return Served(ModelServer(student, "fruit", None, abstention, llm, timeout_s))


def test_the_server_says_who_gave_a_label_and_counts(unsure, open_llm, llm):
    with served(unsure, open_llm()) as server:
        body = {"texts": ["red round 1", "green or red", "odd thing", "green or red"]}
        said = call(server, "/predict", body)[1]["predictions"]
        assert [(each["label"], each["by"]) for each in said] == [
            *(("a", "model"), ("a", "llm"), (None, None), ("a", "llm"))
        ]
        assert said[2]["why"] == fall_back.UNREADABLE
        assert said[1]["probability"] == max(said[1]["probabilities"].values()), "the model's"
        metrics = call(server, "/metrics")[1]
        assert "stepsynth_abstained_total 3" in metrics
        assert "stepsynth_llm_answered_total 2" in metrics
        assert "stepsynth_llm_requests_total 2" in metrics
        assert "stepsynth_llm_usd_total 4" in metrics
        assert call(server, "/health")[1]["falls_back"] is True
        sent = llm.bodies[-1]["messages"][-1]["content"]
        assert "apples" in sent, "the prompt has the words of the labels"


def test_a_slow_llm_holds_nobody_up_and_its_answer_is_remembered(unsure, open_llm, llm):
    llm.delay_s = 0.6
    with served(unsure, open_llm(), timeout_s=0.2) as server:
        body = {"texts": ["green or red"]}
        (said,) = call(server, "/predict", body)[1]["predictions"]
        assert (said["label"], said["by"]) == (None, None)
        assert said["why"] == "the LLM took more than 0.2 s"
        deadline = time.monotonic() + 10
        while said["label"] is None and time.monotonic() < deadline:
            (said,) = call(server, "/predict", body)[1]["predictions"]
        assert (said["label"], len(llm.bodies)) == ("a", 1)


@pytest.fixture
def run(unsure, tmp_path):
    """A folder that looks like a run, with its model and what is known of its precision."""
    student, abstention = unsure
    folder = tmp_path / "run"
    student.save(folder / "model", columns={"text": "text", "label": "label"})
    least = abstention.threshold
    held_out = ((least, True), *((least - 0.1, i < 5) for i in range(20)))
    known = Calibration(1.0, 0.0, 0.0, held_out)
    (folder / "model" / CALIBRATION_FILE).write_text(json.dumps(known.to_dict()))
    (folder / "identity.json").write_text("{}")
    return folder


def test_serve_remembers_an_answer_that_takes_longer_than_its_timeout(run, unsure, task, llm):
    student, _ = unsure
    opened = open_unsure(run, student, Calibration.read(run / "model"), 0.9, task(), 0.2)
    llm.delay_s = 0.6
    with opened, served(unsure, opened.llm, timeout_s=0.2) as server:
        asked = len(llm.bodies)
        deadline, label = time.monotonic() + 10, None
        while label is None and time.monotonic() < deadline:
            body = {"texts": ["green or red"]}
            label = call(server, "/predict", body)[1]["predictions"][0]["label"]
        assert (label, len(llm.bodies) - asked) == ("a", 1)


def test_predict_says_whose_a_label_is(run, task, llm):
    options = ("--precision", 0.9, "--fall-back", task())
    texts = ("red round 1", "green or red", "odd thing", " ")
    done = stepsynth("predict", run, *texts, *options)
    assert [line.split("\t")[::2] for line in done.stdout.splitlines()] == [
        *(["a", "model"], ["a", "llm"], [""], [""])
    ]
    assert f"kept in {run / 'fall-back.sqlite'}" in done.stderr
    done = stepsynth("predict", run, *texts, *options, "--json")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["by"] for each in said] == ["model", "llm", None, None]
    assert said[2]["why"] == fall_back.UNREADABLE
    out = run / "out.csv"
    assert stepsynth("predict", run, *texts, *options, "-o", out).returncode == 0
    assert out.read_text().splitlines()[0] == "text,label,probability,by"
    asked = [body for body in llm.bodies if "or red" in body["messages"][-1]["content"]]
    assert len(asked) == 1
    alone = stepsynth("predict", run, *texts, "--precision", 0.9)
    assert [line[:1] for line in alone.stdout.splitlines()] == ["a", "", "", ""]


def test_what_does_not_fit_together_is_said_at_once(run, task):
    assert "goes with --precision" in refused("predict", run, "red", "--fall-back", task())
    error = refused("predict", run / "model", "red", "--precision", 0.9, "--fall-back", task())
    assert "set llm.store" in error
    error = refused("serve", run, "--precision", 1, "--fall-back", run / "nowhere.yaml")
    assert "nowhere.yaml" in error


def test_what_the_model_is_sure_of_is_given_whatever_fails(unsure, open_llm, monkeypatch):
    llm = open_llm()

    def fail(rows):
        raise OSError("no space left: green or red")

    monkeypatch.setattr(llm, "ask", fail)
    with served(unsure, llm) as server:
        texts = ["red round 1", *["green or red"] * 40]
        said = call(server, "/predict", {"texts": texts})[1]["predictions"]
        assert [each["by"] for each in said] == ["model", *[None] * 40]
        assert {each["why"] for each in said[1:]} == {"the LLM cannot be asked: OSError"}
