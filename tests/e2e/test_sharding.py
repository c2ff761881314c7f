"""`llm.shards`: the run folder that one process writes, whatever is killed on the way."""

import hashlib
import json
import os
import shutil
import signal
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from benchmarks.mock_server import MockServer
from stepsynth.errors import ConfigError
from stepsynth.llm.store import StoreReader
from stepsynth.taskfile import load_config
from tests.e2e.cli import (
    in_json,
    ok,
    refused,
    start,
    stepsynth,
    summary_of,
    wait_until,
    workers_of,
    write_task,
)
from tests.e2e.test_executors import dask_cluster

ROWS, IN_FLIGHT, GROUP, SHARDS = 400, 8, 64, 2
SENT = ROWS + 1
"""One row is rejected, and another one asked for."""
METHOD = f"{{name: zerogen, seed_size: {ROWS}}}"


@pytest.fixture(scope="module")
def one():
    """The first server, whose URL names the LLM."""
    with MockServer(latency_ms=40) as server:
        yield server


@pytest.fixture
def servers(one):
    with MockServer(latency_ms=40) as two:
        yield one, two


def write(folder, servers, **keys):
    llm = {"backend": "openai_compatible", "model": "m", "concurrency": IN_FLIGHT}
    llm |= {"base_url": [server.url for server in servers], **keys}
    return write_task(folder, llm=json.dumps(llm), method=METHOD)


def results(folder):
    """Return the digests of a run's results, and the content of its store."""
    files = [folder / "dataset.jsonl", *folder.glob("rounds/*/*.json*")]
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    with StoreReader(folder / "requests.sqlite") as reader:
        found["store"] = sorted((c.id, c.completion["text"]) for c in reader.completions())
    assert not (folder / "shards").exists()
    return found


def received(servers):
    return sum(server.stats().requests for server in servers)


@pytest.fixture(scope="module")
def here(one, tmp_path_factory):
    """What one process writes."""
    folder = tmp_path_factory.mktemp("here")
    summary = in_json("run", write(folder / "t", [one]), "--out", folder / "run")
    assert summary["llm"]["requests"] == SENT
    return results(folder / "run")


def test_a_server_and_a_worker_are_killed_and_the_folder_is_that_of_one_process(
    servers, here, tmp_path
):
    before, (one, two) = received(servers), servers
    task = write(tmp_path / "t", servers, shards=SHARDS)
    running = start("run", task, "--out", tmp_path / "there", "--json")
    wait_until(lambda: received(servers) - before > 80)
    os.kill(workers_of(running.pid)[0], signal.SIGKILL)
    wait_until(lambda: received(servers) - before > 160)
    killed = two.kill()
    with MockServer(latency_ms=40, port=urlsplit(two.url).port) as back:
        out, err = running.communicate(timeout=100)
        assert running.returncode == 0, err
        total = one.stats().requests + killed.requests + back.stats().requests - before
    assert "its process died; what has no answer goes out again" in err
    assert results(tmp_path / "there") == here
    assert json.loads(out.splitlines()[-1])["llm"]["failed"] == 0
    # In flight at one of the kills, or on the way to the disk of the worker that was killed.
    assert total - SENT <= 2 * IN_FLIGHT + GROUP


def test_a_coordinator_that_is_killed_goes_on_and_pays_for_nothing_again(servers, here, tmp_path):
    before = received(servers)
    task = write(tmp_path / "t", servers, shards=SHARDS)
    command = ("run", task, "--out", tmp_path / "there", "--json")
    running = start(*command)
    wait_until(lambda: received(servers) - before > 150)
    running.kill()
    running.wait()
    done = stepsynth(*command)
    running.communicate()  # its workers, which hold its pipes, have ended
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "there") == here
    used = summary_of(done)["llm"]
    assert used["from_store"] > 0
    assert received(servers) - before - SENT <= IN_FLIGHT
    assert used["requests"] + used["from_store"] == SENT


def test_ctrl_c_keeps_what_was_answered_and_the_same_command_goes_on(servers, here, tmp_path):
    before = received(servers)
    task = write(tmp_path / "t", servers, shards=SHARDS)
    command = ("run", task, "--out", tmp_path / "there", "--json")
    running = start(*command)
    wait_until(lambda: received(servers) - before > 100)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "the same command goes on" in err
    assert not (tmp_path / "there/shards").exists()
    ok(*command)
    assert results(tmp_path / "there") == here
    assert received(servers) - before == SENT


def test_a_place_where_no_shard_can_write_stops_the_run_with_its_cause(servers, tmp_path):
    task = write(tmp_path / "t", servers, shards=SHARDS)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/shards").write_text("a file is in the way")
    assert "there/shards" in refused("run", task, "--out", tmp_path / "there")


@contextmanager
def cluster(name, folder):
    """Start a cluster, and yield the settings of its executor."""
    if name == "dask":
        with dask_cluster(folder) as (address, _):
            yield {"address": address, "cpus": 1}
    else:
        pytest.importorskip("submitit")
        yield {"cluster": "local"}


@pytest.mark.parametrize("name", ["dask", "slurm"])
def test_shards_on_a_cluster_bring_the_same(servers, here, tmp_path, name):
    task = write(tmp_path / "t", servers, shards=SHARDS)
    with cluster(name, tmp_path) as settings:
        task.write_text(task.read_text() + f"executors: {json.dumps({name: settings})}\n")
        done = stepsynth("run", task, "--out", tmp_path / "there", "--executor", name, "--json")
    assert done.returncode == 0, done.stderr
    if name == "slurm":
        left = (tmp_path / "there/shards").rglob("*")
        assert all(".slurm" in path.parts for path in left), "the logs of its jobs alone"
        shutil.rmtree(tmp_path / "there/shards")
    assert results(tmp_path / "there") == here


REPLAYED = "{seed: {backend: replay, recordings: x.jsonl}}"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("batch: true", "takes all requests from one process"),
        ("phases: {seed: {model: n, shards: 2}}", "llm.phases.seed: shards are of the whole run"),
        (f"phases: {REPLAYED}", "llm.shards: recordings and rules cannot be shared out"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_with_its_place(tmp_path, keys, said):
    task = write_task(tmp_path, llm=f"{{preset: openai, model: m, shards: 2, {keys}}}")
    with pytest.raises(ConfigError, match=said):
        load_config(task)
