"""What a run says of its requests: on stderr, in events.jsonl, in the --json line of any end."""

import json
from pathlib import Path

import pytest

from stepsynth.runfolder.events import read_events
from tests.e2e.cli import ok, stepsynth, summary_of, write_task
from tests.stub_server import StubServer, echo, failure

SMALL = "{name: s3, seed_size: 40, rounds: 1, rationales: false}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose server is overloaded at every fifth request, and refuses one."""

    def answer(number, body):
        if number == 7:
            return failure(400, "this prompt is not allowed")
        return failure(429, "slow down") if number % 5 == 1 else echo(number, body)

    folder = tmp_path_factory.mktemp("accounting")
    with StubServer(answer=answer) as server:
        task = write_task(folder, url=server.url, method=SMALL)
        done = ok("run", task, "--out", folder / "run", "--json")
        yield folder / "run", done


def test_the_summary_counts_every_attempt_by_cause(run):
    llm = summary_of(run[1])["llm"]
    assert llm["failed"] == sum(llm["failures"].values()) == 1
    assert llm["retries"] > 0
    assert sum(llm["setbacks"].values()) >= llm["retries"]
    rows = summary_of(run[1])["rounds"][-1]["train_size"]
    tokens = llm["prompt_tokens"] + llm["completion_tokens"]
    assert llm["tokens_per_kept_row"] == pytest.approx(tokens / rows, abs=0.1)
    assert llm["usd_per_kept_row"] is None


def test_events_say_where_each_phase_ended(run):
    folder, done = run
    events = list(read_events(folder / "events.jsonl"))
    assert events[0]["event"] == "start"
    last = {e["phase"]: e for e in events if e["event"] == "usage"}
    assert {"seed data", "round 1: extrapolate errors"} <= set(last)
    for row in last.values():
        assert row["done"] == row["total"]
        assert row["in_flight"] == 0
    llm = summary_of(done)["llm"]
    final = [e for e in events if e["event"] == "usage"][-1]
    for key in ("requests", "retries", "setbacks", "failures", "prompt_tokens", "usd"):
        assert final[key] == llm[key]


def test_stderr_is_no_stream_of_lines_and_names_the_causes(run):
    lines = run[1].stderr.splitlines()
    (seed,) = [line for line in lines if line.startswith("seed data: 4")]
    assert "retried" in seed
    assert len(lines) < 20


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_bug_of_ours(tmp_path):
    with StubServer() as server:
        task = write_task(tmp_path, url=server.url, method=SMALL)
        assert stepsynth("run", task, "--out", tmp_path / "run").returncode == 0
        (tmp_path / "run/events.jsonl").unlink()
        (tmp_path / "run/events.jsonl").symlink_to("/dev/full")
        done = stepsynth("run", task, "--out", tmp_path / "run", "--json")
        assert done.returncode == 2
        assert "the disk is full" in done.stderr
        assert "free some space" in done.stderr
        assert "bug" not in done.stderr
        line = summary_of(done)
        assert (line["exit_code"], line["run"]) == (2, str(tmp_path / "run"))
        (tmp_path / "run/events.jsonl").unlink()
        assert stepsynth("run", task, "--out", tmp_path / "run").returncode == 0


def test_json_prints_its_line_when_the_provider_fails(tmp_path):
    with StubServer(answer=lambda *_: failure(401, "wrong key")) as server:
        task = write_task(tmp_path / "b", url=server.url, method=SMALL)
        done = stepsynth("run", task, "--out", tmp_path / "q", "--json")
    line = summary_of(done)
    assert (done.returncode, line["exit_code"]) == (4, 4)
    assert line["stopped"] == line["error"]
    assert line["run"] == str(tmp_path / "q")


def test_json_prints_its_line_for_bad_input_and_for_too_few_rows(tmp_path):
    for command in ("run", "check"):
        done = stepsynth(command, tmp_path / "none.yaml", "--json")
        line = summary_of(done)
        assert (done.returncode, line["exit_code"]) == (2, 2)
        assert "there is no such file" in line["error"]
    rows = [{"kind": "seed", "label": "a", "completion": f"t {i}"} for i in range(9)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = write_task(tmp_path, llm="{backend: replay, recordings: [r.jsonl]}")
    done = stepsynth("run", task, "--out", tmp_path / "run", "--json")
    assert (done.returncode, summary_of(done)["exit_code"]) == (5, 5)
    # Predictions are lines of JSON themselves: none of them is an error.
    done = stepsynth("predict", tmp_path / "nowhere", "text", "--json")
    assert (done.returncode, done.stdout) == (2, "")
