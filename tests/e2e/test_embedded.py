"""An LLM in the run's own process: killed, interrupted, begun again, and the words of `check`."""

import json
import signal
import sqlite3

import pytest

from tests.e2e.cli import in_json, ok, refused, start, stepsynth, summary_of, wait_until, write_task
from tests.embedded import needs_model

pytestmark = needs_model

# One at a time: what else is in a batch may round an answer to another one (docs/llm.md).
IN_FLIGHT, ROWS = 1, 20
LLM = f"{{preset: embedded, concurrency: {IN_FLIGHT}, max_tokens: 32, context: 512, threads: 1}}"
METHOD = f"{{name: zerogen, seed_size: {ROWS}}}"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("task"), llm=LLM, method=METHOD)


@pytest.fixture(scope="module")
def whole(task):
    """The data set of a run that nobody disturbs."""
    out = task.parent / "whole"
    done = ok("run", task, "--out", out, "--json")
    llm = summary_of(done)["llm"]
    assert (llm["usd"], llm["retries"]) == (0, 0)
    assert "0 USD" in done.stderr
    return (out / "dataset.jsonl").read_bytes()


def answers_in(out):
    """Return how many answers are in a run's store."""
    try:
        store = sqlite3.connect(f"file:{out / 'requests.sqlite'}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return 0
    try:
        return store.execute("SELECT count(*) FROM completions").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        store.close()


def start_and_wait_for(task, out, count):
    """Start a run, and return it once so many answers are in its store."""
    process = start("run", task, "--out", out, "--json")
    wait_until(lambda: answers_in(out) >= count, process)
    return process


def go_on(task, out):
    """Run to the end what has begun: whatever is in the store is used and not asked for again."""
    kept = answers_in(out)
    assert 0 < kept < ROWS
    llm = in_json("run", task, "--out", out)["llm"]
    assert llm["from_store"] == kept
    assert answers_in(out) == kept + llm["requests"]
    return (out / "dataset.jsonl").read_bytes()


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(task, whole, tmp_path):
    out = tmp_path / "run"
    process = start_and_wait_for(task, out, 3)
    process.send_signal(signal.SIGINT)
    said, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "stopped by Ctrl-C" in err
    assert json.loads(said.splitlines()[-1])["stopped"] == "interrupted"
    assert go_on(task, out) == whole


def test_check_loads_the_model_and_says_what_has_no_room(task, tmp_path):
    assert in_json("check", task)["ping"]["smollm2-135m-instruct"]["ok"]
    error = refused("check", task, "--no-ping", "--set", "llm.max_tokens=600")
    assert "512 tokens leave no room for a prompt beside max_tokens 600" in error
    # The prompts of `llm` hold the texts of gold.
    long = ("--set", "method=llm", "--set", "llm.max_tokens=490")
    warnings = summary_of(stepsynth("check", task, "--no-ping", *long, "--json"))["warnings"]
    assert any("takes 512 tokens at once" in line for line in warnings)


@pytest.mark.timeout(600)  # the LLM of 135 million parameters writes on one core
def test_the_demo_with_a_real_llm_is_a_whole_run(tmp_path):
    out = tmp_path / "live"
    small = ("seed_size=25", "num_rationales=2", "rationales_per_prompt=1", "rounds=0")
    options = [part for each in small for part in ("--set", f"method.{each}")]
    done = ok("demo", *options, "--out", out)
    assert "was written just now" in done.stdout
    assert "none was called" not in done.stdout
    rows = [json.loads(line) for line in (out / "dataset.jsonl").read_text().splitlines()]
    assert len(rows) >= 20
    assert {row["provenance"]["kind"] for row in rows} == {"seed"}
    assert (out / "report.html").stat().st_size > 10_000
