"""Nothing that was paid for is lost or paid for twice: a kill, Ctrl-C, a cap, a second process."""

import json
import signal

import pytest

from tests.e2e.cli import in_json, ok, refused, start, stepsynth, summary_of, wait_until, write_task
from tests.stub_server import completion, failure

TOTAL_SEED = 40


@pytest.fixture
def task(tmp_path, server):
    server.delay_s = 0.03
    return write_task(tmp_path, url=server.url)


def undisturbed(task, tmp_path, server):
    ok("run", task, "--out", tmp_path / "whole", "--json")
    needed = len(server.bodies)
    server.bodies.clear()
    return needed, (tmp_path / "whole/dataset.jsonl").read_bytes()


def test_a_killed_run_goes_on_and_asks_again_only_for_what_was_in_flight(tmp_path, task, server):
    needed, expected = undisturbed(task, tmp_path, server)
    process = start("run", task, "--out", tmp_path / "run", "--json")
    wait_until(lambda: len(server.bodies) >= 20)
    process.kill()
    process.communicate()
    wait_until(lambda: server.in_flight == 0)
    before = len(server.bodies)
    assert 20 <= before < needed
    again = in_json("run", task, "--out", tmp_path / "run")
    # 8 in flight, and answers that were not on disk yet: those of some milliseconds.
    assert len(server.bodies) - needed <= 16
    assert again["llm"]["requests"] == len(server.bodies) - before
    assert (tmp_path / "run/dataset.jsonl").read_bytes() == expected


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path, task, server):
    needed, expected = undisturbed(task, tmp_path, server)
    process = start("run", task, "--out", tmp_path / "run", "--json")
    wait_until(lambda: len(server.bodies) >= 10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "stopped by Ctrl-C" in err
    assert json.loads(out.splitlines()[-1])["stopped"] == "interrupted"
    ok("run", task, "--out", tmp_path / "run", "--json")
    # What was in flight at Ctrl-C was waited for: nothing at all is asked twice.
    assert len(server.bodies) == needed
    assert (tmp_path / "run/dataset.jsonl").read_bytes() == expected


def test_the_same_command_again_sends_nothing_and_gives_the_same_bytes(tmp_path, task, server):
    needed, expected = undisturbed(task, tmp_path, server)
    assert needed >= TOTAL_SEED
    done = stepsynth("run", task, "--out", tmp_path / "whole", "--json")
    llm = summary_of(done)["llm"]
    assert (llm["requests"], llm["from_store"]) == (0, needed)
    assert server.bodies == []
    assert (tmp_path / "whole/dataset.jsonl").read_bytes() == expected


def test_runs_may_share_a_store(tmp_path, task, server):
    shared = ["--set", f"llm.store={tmp_path / 'shared.sqlite'}"]
    assert stepsynth("run", task, "--out", tmp_path / "a", *shared).returncode == 0
    asked = len(server.bodies)
    done = stepsynth("run", task, "--out", tmp_path / "b", *shared, "--json")
    assert summary_of(done)["llm"]["requests"] == 0
    assert len(server.bodies) == asked


def test_a_reached_cap_is_exit_code_3_and_a_higher_one_goes_on(tmp_path, task, server):
    needed, expected = undisturbed(task, tmp_path, server)
    run = ["run", task, "--out", tmp_path / "run", "--json"]
    done = stepsynth(*run, "--set", "limits.requests=25")
    line = summary_of(done)
    assert (done.returncode, line["exit_code"], line["stopped"]) == (3, 3, "limits.requests")
    assert line["llm"]["requests"] == 25
    assert "limits.requests is reached" in line["error"]
    assert line["hint"]
    assert "limits.requests" in done.stderr
    ok(*run, "--set", "limits.requests=10000")
    assert len(server.bodies) == needed
    assert (tmp_path / "run/dataset.jsonl").read_bytes() == expected


def test_two_processes_do_not_write_into_one_folder(tmp_path, task, server):
    server.delay_s = 1.0
    first = start("run", task, "--out", tmp_path / "run", "--json")
    wait_until(lambda: len(server.bodies) >= 3)
    assert "another process is writing" in refused("run", task, "--out", tmp_path / "run")
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_a_wrong_key_is_exit_code_4_and_what_was_answered_is_kept(tmp_path, task, server):
    server.answer = lambda n, body: (
        completion(f"text {body['seed']}") if n <= 12 else failure(401, "the key has expired")
    )
    error = refused("run", task, "--out", tmp_path / "run", code=4)
    assert "the key has expired" in error
    assert "OPENAI_API_KEY" in error
    answered = len(server.bodies)
    server.answer = lambda _, body: completion(f"text {body['seed']}")
    done = stepsynth("run", task, "--out", tmp_path / "run", "--json")
    assert summary_of(done)["llm"]["from_store"] == 12
    assert answered >= 13


def test_faults_lose_no_row_and_empty_answers_are_counted(tmp_path, task, server):
    bad = [
        failure(500),
        failure(429),
        (200, {}, b"{oops"),
        completion(""),
        completion("x", finish="length"),
    ]
    server.delay_s = 0.0
    server.answer = lambda n, body: (
        bad[n // 4 % len(bad)] if n % 4 == 0 else completion(f"a text for {body['seed']}")
    )
    summary = in_json("run", task, "--out", tmp_path / "run")
    assert set(summary["llm"]["rejected"]) <= {"empty", "truncated"}
    texts = [
        json.loads(x)["text"] for x in (tmp_path / "run/dataset.jsonl").read_text().splitlines()
    ]
    assert summary["rounds"][0]["added"] == TOTAL_SEED
    assert all(text.startswith("a text for") for text in texts)


def test_a_run_with_fewer_rounds_than_before_leaves_no_old_round(tmp_path, task, server):
    run = ["run", task, "--out", tmp_path / "run"]
    assert stepsynth(*run).returncode == 0
    (tmp_path / "run/rounds/7").mkdir()
    assert stepsynth(*run).returncode == 0
    assert sorted(p.name for p in (tmp_path / "run/rounds").iterdir()) == ["0", "1", "2"]


def test_a_finished_run_whose_report_cannot_be_written_shows_its_result(tmp_path):
    task, folder = write_task(tmp_path, method="gold"), tmp_path / "run"
    (folder / "report.html").mkdir(parents=True)
    (folder / "identity.json").write_text("{}")  # else the folder would be refused
    done = stepsynth("run", task, "--out", folder)
    assert done.returncode == 0
    assert "report.html" in done.stderr
    assert "the run is done, but its report is not" in " ".join(done.stderr.split())
    assert f"report {folder}" in " ".join(done.stderr.split())
    assert "Data set:" in done.stdout
    assert "Report:" not in done.stdout
    (folder / "report.html").rmdir()
    ok("report", folder)
    assert (folder / "report.html").is_file()
