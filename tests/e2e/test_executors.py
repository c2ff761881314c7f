"""Runs on workers of a cluster: the same folders as here, whatever is killed, and no orphans.

The clusters are several processes of this machine.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from stepsynth.comparison.run import run_plan
from stepsynth.errors import ConfigError, RunFolderError
from stepsynth.executors import WorkerLostError, _remote
from stepsynth.executors._remote import Orders, RemotePool, obey, versions
from stepsynth.taskfile import load_config
from tests.clusters import (
    ALL,
    NAMES,
    SCRIPTED,
    Told,
    die_once_in_random,
    executor_of,
    finish,
    finish_slowly,
    plan_in,
    results,
)
from tests.e2e.cli import refused, wait_until, write_task

pytestmark = pytest.mark.timeout(400)  # each starts a cluster, and a process for each run

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(_remote, "GRACE_S", 3.0)


def start(*command):
    return subprocess.Popen(
        command, env=ENV, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def dask_cluster(folder, workers=2):
    pytest.importorskip("distributed")
    place = folder / "scheduler.json"
    cli = [sys.executable, "-m", "distributed.cli.dask_scheduler", f"--scheduler-file={place}"]
    running = [start(*cli, "--host=127.0.0.1", "--port=0", "--no-dashboard")]
    cli = [sys.executable, "-m", "distributed.cli.dask_worker", f"--scheduler-file={place}"]
    quiet = ("--nthreads=1", "--no-dashboard", f"--local-directory={folder}/dask")
    running += [start(*cli, *quiet) for _ in range(workers)]
    try:
        wait_until(place.exists)
        yield json.loads(place.read_text())["address"], running[1:]
    finally:
        for process in reversed(running):
            stop(process)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """What one process writes."""
    plan = plan_in(tmp_path_factory.mktemp("here"))
    run_plan(plan, finish, jobs=1, watcher=Told())
    assert len(results(plan.out)) > 20
    return results(plan.out)


def test_dask_writes_what_one_process_writes_though_a_run_is_killed(tmp_path, here):
    plan, told = plan_in(tmp_path / "there"), Told()
    with dask_cluster(tmp_path) as (address, _):
        executor = executor_of("dask", {"address": address, "cpus": 1})
        ended = run_plan(plan, die_once_in_random, jobs=2, watcher=told, executor=executor)
    assert (ended.failures, ended.stopped, ended.error) == ({}, None, None)
    assert sorted(told.ended) == ALL
    assert told.warnings == [
        "random, random seed 0: its process was killed; the run goes on in another one"
    ]
    assert results(plan.out) == here
    assert not (plan.out / ".orders").exists()


def test_a_dask_worker_that_is_killed_is_done_without(tmp_path, here):
    plan, told = plan_in(tmp_path / "there"), Told()
    with dask_cluster(tmp_path) as (address, workers):

        def kill_one():
            wait_until(lambda: len(list(plan.out.glob("*/*/config.yaml"))) > 1)
            workers[0].kill()

        threading.Thread(target=kill_one, daemon=True).start()
        executor = executor_of("dask", {"address": address, "cpus": 1})
        ended = run_plan(plan, finish_slowly, jobs=2, watcher=told, executor=executor)
    assert (ended.failures, ended.stopped, ended.error) == ({}, None, None)
    assert sorted(told.ended) == ALL
    assert results(plan.out) == here


def test_a_coordinator_that_is_killed_leaves_no_run_and_the_same_command_goes_on(tmp_path, here):
    folder = tmp_path / "there"
    folder.mkdir()
    task = write_task(folder, llm=SCRIPTED)
    command = [sys.executable, "-m", "stepsynth", "compare", task, "--methods", ",".join(NAMES)]
    command += ["--seeds", "2", "--out", folder / "out", "--executor", "dask", "--json"]
    with dask_cluster(tmp_path) as (address, _):
        command += ["--set", f"executors.dask.address={address}"]
        first = start(*command)
        wait_until(lambda: list(folder.glob("out/*/*/config.yaml")))
        first.kill()
        first.wait()
        second = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=350)
    assert second.returncode == 0, second.stderr
    assert results(folder / "out") == here
    assert {run["error"] for run in json.loads(second.stdout)["runs"]} == {""}


def test_slurm_jobs_of_this_machine_write_the_same(tmp_path, here):
    pytest.importorskip("submitit")
    plan, told = plan_in(tmp_path / "there"), Told()
    executor = executor_of("slurm", {"cluster": "local"})
    ended = run_plan(plan, finish, jobs=2, watcher=told, executor=executor)
    assert (ended.failures, ended.stopped, ended.error) == ({}, None, None)
    assert results(plan.out) == here


def test_ray_writes_the_same_in_shards_and_though_a_node_is_taken_away(tmp_path, here):
    pytest.importorskip("ray")
    alone = ["unshare", "-rn", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*alone, "ip link set lo up"]).returncode:
        pytest.skip("needs a network namespace of its own")
    script = f"ip link set lo up; exec {sys.executable} -m tests.ray_cluster {tmp_path / 'there'}"
    env = {**ENV, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [*alone, script], env=env, cwd=ROOT, capture_output=True, text=True, timeout=380
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["same in shards"]
    assert said["results"] == here
    assert [tuple(each) for each in said["ended"]] == ALL
    assert (said["failures"], said["stopped"], said["error"]) == ([], None, None)
    assert any("its process was killed" in warning for warning in said["warnings"])


# What can be wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_an_address_where_nothing_answers_is_one_message_within_seconds(tmp_path, name):
    pytest.importorskip({"dask": "distributed"}.get(name, name))
    executor = executor_of(name, {"address": {"dask": "tcp://127.0.0.1:1"}.get(name, "auto")})
    started = time.monotonic()
    with pytest.raises(ConfigError, match=f"executors.{name}: no .* answers at") as caught:
        executor.open(1, tmp_path)
    assert "starts one" in caught.value.hint
    assert time.monotonic() - started < 30


def orders(folder, **others):
    (folder / ".orders").write_text("me 1\n")
    return replace(Orders(folder / ".orders", "me", versions(), str(folder), 1), **others)


def test_a_worker_of_another_version_says_which(tmp_path):
    with pytest.raises(ConfigError, match=r"has stepsynth .*, and the coordinator 0.0.0"):
        obey(orders(tmp_path, versions=("0.0.0", versions()[1])), print, ())


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(ConfigError, match="does not see") as caught:
        obey(orders(tmp_path, path=tmp_path / "elsewhere"), print, ())
    assert "on a disk that all workers share" in caught.value.hint


@pytest.mark.parametrize("said", ["me -1\n", "another 1\n", None])
def test_a_job_stops_at_the_orders_and_without_them(tmp_path, said):
    given = orders(tmp_path)

    def change():
        wait_until(lambda: (tmp_path / "began").exists())
        given.path.unlink() if said is None else given.path.write_text(said)

    threading.Thread(target=change, daemon=True).start()
    assert obey(given, wait_for_the_end, (str(tmp_path),)) == "stopped"


def wait_for_the_end(folder):
    from stepsynth.executors import at_work

    try:
        with at_work():
            (Path(folder) / "began").touch()
            time.sleep(60)
    except KeyboardInterrupt:
        return "stopped"
    return "done"


def test_two_coordinators_do_not_work_on_one_comparison(tmp_path):
    path, is_over = tmp_path / ".orders", threading.Event()
    path.write_text("other 0\n")

    def go_on():
        for i in range(100):
            if is_over.wait(0.5):
                return
            path.write_text(f"other {i}\n")

    threading.Thread(target=go_on, daemon=True).start()
    with pytest.raises(RunFolderError, match="another process is working on this comparison"):
        _remote._wait_for_others(path)
    is_over.set()


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("executors: {dusk: {}}", "no executor is named 'dusk'"),
        ("executors: {dask: {adress: x}}", "unknown key"),
        ("executors: {ray: {gpus: -1}}", "executors.ray.gpus"),
    ],
)
def test_a_section_that_is_wrong_is_named_with_its_place(tmp_path, section, said):
    task = write_task(tmp_path, llm=SCRIPTED)
    task.write_text(task.read_text() + section + "\n")
    with pytest.raises(ConfigError, match=said):
        load_config(task)


def test_an_unknown_executor_is_named_before_anything_runs(tmp_path):
    task = write_task(tmp_path, llm=SCRIPTED)
    error = refused("compare", task, "--methods", "gold", "--executor", "dusk", cwd=tmp_path)
    assert "no executor is named 'dusk'" in error
    assert "did you mean 'dask'?" in error


class Queue(RemotePool):
    """A pool whose jobs never begin."""

    def send(self, fn, *args):
        return Future()


def test_jobs_that_have_not_begun_do_not_hold_up_a_stop(tmp_path):
    with Queue(tmp_path, threads=1, lost=()) as pool:
        future = pool.submit(print)
        pool.stop()
        with pytest.raises(WorkerLostError):
            future.result(timeout=10)


def test_orders_that_cannot_be_written_for_a_moment_end_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(_remote, "BEAT_S", 0.05)
    write, failures = _remote.write_text, iter([OSError(28, "no space left")] * 3)

    def fail(*args):
        if (error := next(failures, None)) is not None:
            raise error
        write(*args)

    with Queue(tmp_path, threads=1, lost=()) as pool:
        monkeypatch.setattr(_remote, "write_text", fail)
        before = pool._orders.path.read_text()
        wait_until(lambda: pool._orders.path.read_text() != before, limit_s=10)
