"""Why a run could not go on reaches the user: on stderr, in the run folder, by the exit code."""

import json

import pytest

from stepsynth.llm.store.store import Store
from tests.e2e.cli import in_json, stepsynth, summary_of, write_task
from tests.stub_server import completion, failure

ZEROGEN = "{name: zerogen, seed_size: 8}"
REFUSAL = "I'm sorry, but I can't assist with that."


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(task, out, *options):
    return stepsynth("run", task, "--out", out, "--json", *options)


def finish(task, out, *options):
    """Run to the end, and return the summary."""
    return in_json("run", task, "--out", out, *options)


@pytest.fixture
def task(tmp_path, server):
    llm = f"{{backend: openai_compatible, base_url: '{server.url}', model: m, max_attempts: 2}}"
    return write_task(tmp_path, method=ZEROGEN, llm=llm)


def sent(value):
    return 200, {}, json.dumps(value).encode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (sent({"error": {"message": "Invalid API key provided", "code": 401}}), "Invalid API key"),
        (sent({"error": {"message": "upstream is full", "code": 429}}), "upstream is full"),
        (sent({"choices": None, "base_resp": {"status_msg": "insufficient balance"}}), "balance"),
        (failure(529, "Overloaded by a fair"), "Overloaded by a fair"),
        (failure(400, "maximum context length is 1024 tokens"), "llm.max_tokens"),
        ((200, {"Content-Encoding": "br"}, b"\x0b\x02\x80"), "packed with 'br'"),
    ],
)
def test_where_nothing_is_answered_the_provider_is_quoted_with_exit_code_4(
    tmp_path, server, task, answer, said
):
    server.answer = lambda *_: answer
    done = run(task, tmp_path / "run", "--set", "llm.patience_s=1")
    assert done.returncode == 4, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert summary_of(done)["exit_code"] == 4
    # The folder says it too.
    *_, last = lines(tmp_path / "run/rounds/0/failed.jsonl")
    assert last["reason"] == "stopped"
    assert said in last["detail"]
    assert lines(tmp_path / "run/rounds/0/rejected.jsonl") == []


def test_the_cause_of_each_failure_is_in_the_run_folder(tmp_path, server, task):
    server.answer = lambda *_: failure(529, "Overloaded by a fair")
    assert run(task, tmp_path / "run", "--set", "llm.patience_s=1").returncode == 4
    # Given up are none of them: the provider was down.
    server.answer = lambda number, _: (
        failure(529, "Overloaded by a fair") if number % 3 == 0 else completion("a ripe one")
    )
    finish(task, tmp_path / "run", "--set", "llm.max_attempts=1")
    failed = lines(tmp_path / "run/rounds/0/failed.jsonl")
    assert failed
    for row in failed:
        assert row["reason"] == "server_error"
        assert "Overloaded by a fair" in row["detail"]
        assert "Overloaded by a fair" in row["completion"]


def test_where_every_answer_is_refused_they_are_quoted_and_kept(tmp_path, server, task):
    server.answer = lambda *_: completion(REFUSAL)
    done = run(task, tmp_path / "run")
    assert done.returncode == 5
    assert "12 became no row: refusal" in done.stderr
    assert REFUSAL in done.stderr
    rejected = lines(tmp_path / "run/rounds/0/rejected.jsonl")
    assert [row["completion"] for row in rejected] == [REFUSAL] * 12
    assert [row["reason"] for row in lines(tmp_path / "run/rounds/0/failed.jsonl")] == ["stopped"]
    # Nothing is asked again, and the same is said.
    before = len(server.bodies)
    again = run(task, tmp_path / "run")
    assert (again.returncode, len(server.bodies)) == (5, before)
    assert REFUSAL in again.stderr


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("max_tokens", "truncated"), ("model_length", "truncated"), ("content_filter", "refusal")],
)
def test_half_an_answer_becomes_no_row_and_its_word_is_kept(tmp_path, server, task, finish, reason):
    server.answer = lambda *_: completion("The first half of a note that", finish=finish)
    done = run(task, tmp_path / "run")
    assert done.returncode == 5
    rejected = lines(tmp_path / "run/rounds/0/rejected.jsonl")
    assert {(row["reason"], row["detail"]) for row in rejected} == {(reason, finish)}


def test_errored_answers_are_asked_for_again_by_the_same_command(tmp_path, server, task):
    error = {"message": {"content": ""}, "finish_reason": "error", "error": {"message": "idle"}}
    server.answer = lambda *_: sent({"choices": [error]})
    assert run(task, tmp_path / "run").returncode == 4
    server.answer = lambda number, _: completion(f"a ripe one, number {number}")
    assert finish(task, tmp_path / "run")["llm"]["requests"] == 8


def test_a_label_that_the_seed_data_lacks_is_repaired_by_extrapolation(tmp_path, server):
    def answer(number, body):
        prompt = body["messages"][-1]["content"]
        is_seed = "similar to this one" not in prompt
        return completion(
            REFUSAL if is_seed and "that is pear" in prompt else f"note {number} of it"
        )

    server.answer = answer
    method = "{name: s3, seed_size: 12, rounds: 1, rationales: false}"
    task = write_task(tmp_path, url=server.url, method=method)
    done = run(task, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    summary = summary_of(done)
    first, last = summary["rounds"]
    assert "no training row has the label 'p'" in done.stderr
    # All pears are errors of a model that knows none.
    assert first["misclassified"] == last["added"] > 0
    rows = lines(tmp_path / "run/dataset.jsonl")
    assert {row["label"] for row in rows} == {"a", "p"}


def test_a_label_that_is_never_written_is_an_error_at_the_end_and_the_rest_is_kept(
    tmp_path, server
):
    server.answer = lambda number, body: completion(
        REFUSAL
        if "that is pear" in body["messages"][-1]["content"]
        else f"a crisp one, number {number}"
    )
    method = "{name: zerogen, seed_size: 12}"
    labels = "{a: apple, p: pear, q: quince}"
    task = write_task(tmp_path, url=server.url, method=method, labels=labels)
    done = run(task, tmp_path / "run")
    assert done.returncode == 5, done.stderr
    assert "no training row has the label 'p' at the end" in done.stderr
    folder = tmp_path / "run"
    assert (folder / "report.html").exists()
    predicted = stepsynth("predict", folder, "a crisp one").stdout
    assert predicted.split("\t")[0] in ("a", "q")
    assert summary_of(done)["test"]["n"] > 0
    finish(task, tmp_path / "both", "--set", "method.train_on=both")


def test_other_gold_is_said_in_words(tmp_path, server, task):
    assert run(task, tmp_path / "run").returncode == 0
    gold = task.parent / "gold.jsonl"
    gold.write_text(
        gold.read_text() + json.dumps({"text": "one more, and ripe", "label": "a"}) + "\n"
    )
    done = run(task, tmp_path / "run")
    assert done.returncode == 2
    assert "have changed" in done.stderr
    assert "rows" in done.stderr


def test_completions_that_are_gone_are_not_paid_for_again_unasked(tmp_path, server, task):
    assert run(task, tmp_path / "run").returncode == 0
    sent_before = len(server.bodies)
    store = tmp_path / "run/requests.sqlite"
    whole = store.read_bytes()
    store.unlink()
    for empty in (lambda: None, lambda: Store(store).close()):
        empty()
        done = run(task, tmp_path / "run")
        assert done.returncode == 2
        assert "would be asked and paid for again" in done.stderr
        assert len(server.bodies) == sent_before
        assert (tmp_path / "run/manifest.json").exists()
    store.write_bytes(whole)
    assert run(task, tmp_path / "run").returncode == 0
    assert len(server.bodies) == sent_before


def test_a_wrong_key_can_be_corrected_in_the_same_folder(tmp_path, server, task):
    server.answer = lambda *_: failure(401, "no such key")
    assert run(task, tmp_path / "run").returncode == 4
    server.answer = lambda number, _: completion(f"a ripe one, number {number}")
    assert run(task, tmp_path / "run", "--set", "llm.model=other").returncode == 0
