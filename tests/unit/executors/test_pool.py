"""The processes of a comparison: killed, told to stop, and outliving nobody."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from stepsynth.comparison import run
from stepsynth.comparison.plan import make_plan
from stepsynth.comparison.run import Silence, run_plan
from stepsynth.errors import ConfigError
from stepsynth.executors import DEATHS
from stepsynth.executors._pool import Processes
from stepsynth.runfolder.events import EventLog
from tests.e2e.cli import wait_until, write_task

SCRIPTED = "{backend: scripted, rules: [{pattern: Write, answers: [x]}]}"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there nothing is killed so")


@pytest.fixture
def plan(tmp_path):
    task = write_task(tmp_path, llm=SCRIPTED)
    return make_plan(task, ["gold", "random", "zerogen"], seeds=2, out=tmp_path / "out")


class Told(Silence):
    """Keeps what it is told."""

    def __init__(self):
        self.ended, self.warnings, self.seen = [], [], set()

    def run_ended(self, outcome, done, total):
        self.ended.append((outcome.run.entry.name, outcome.run.random_seed, outcome.kind))

    def warn(self, message):
        self.warnings.append(message)

    def progressed(self, run, phase, done, total):
        self.seen.add((run.entry.name, phase, done, total))


def die(runner, times):
    """Kill this process, so many times in this run; then end the run."""
    folder = runner.folder.path
    folder.mkdir(parents=True, exist_ok=True)
    deaths = len(list(folder.glob("death-*")))
    if deaths < times:
        (folder / f"death-{deaths}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    runner.folder.manifest.touch()


def die_twice_in_random(runner):
    die(runner, 2 if runner.folder.path.parts[-2:] == ("random", "0") else 0)


def die_always_in_random(runner):
    die(runner, DEATHS if runner.folder.path.parts[-2:] == ("random", "0") else 0)


ALL = [(name, seed, "done") for name in ("gold", "random", "zerogen") for seed in (0, 1)]


def test_a_run_whose_process_is_killed_is_begun_again_and_no_other_one_is_touched(plan):
    told = Told()
    ended = run_plan(plan, die_twice_in_random, jobs=2, watcher=told)
    assert sorted(told.ended) == ALL
    assert (ended.failures, ended.stopped, ended.error) == ({}, None, None)
    said = "random, random seed 0: its process was killed; the run goes on in another one"
    assert told.warnings == [said] * 2


def test_a_run_is_given_up_by_name_after_its_third_death_and_the_same_call_tries_it_again(plan):
    told = Told()
    ended = run_plan(plan, die_always_in_random, jobs=2, watcher=told)
    assert sorted(told.ended) == sorted({*ALL, ("random", 0, "failed")} - {("random", 0, "done")})
    (folder, failure), *others = ended.failures.items()
    assert not others
    assert folder == plan.out / "random" / "0"
    assert failure.message == "random, random seed 0 was given up: its process was killed 3 times"
    assert "the same command tries it again" in failure.hint
    assert failure.exit_code == 2
    assert [run.is_done for run in plan.runs[0]] == [True, False, True]
    again = Told()
    assert run_plan(plan, die_always_in_random, jobs=2, watcher=again).failures == {}
    assert again.ended == [("random", 0, "done")]


def log_and_linger(runner):
    """Log some progress, and end after the next look at it."""
    runner.folder.path.mkdir(parents=True, exist_ok=True)
    log = EventLog(runner.folder.events)
    log.write("usage", phase="seed data", done=3, total=9)
    log.close()
    time.sleep(3 * run.LOOK_S)
    runner.folder.manifest.touch()


def test_the_progress_of_all_runs_in_other_processes_is_passed_on(plan, monkeypatch):
    monkeypatch.setattr(run, "LOOK_S", 0.1)
    told = Told()
    run_plan(plan, log_and_linger, jobs=2, watcher=told)
    assert {("gold", "seed data", 3, 9), ("zerogen", "seed data", 3, 9)} <= told.seen


def test_a_process_that_is_killed_while_it_has_nothing_to_do_is_replaced():
    with Processes(2) as pool:
        first = pool.submit(os.getpid).result(60)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not is_running(first))
        assert pool.submit(os.getpid).result(60) != first


def test_a_process_is_used_again_and_ends_with_the_pool():
    with Processes(2) as pool:
        first = pool.submit(os.getpid).result(60)
        assert pool.submit(os.getpid).result(60) == first
    assert not is_running(first)


def test_where_no_process_can_start_that_is_the_error(tmp_path, plan):
    """A script without its guard is run again by each process, and ends it."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import stepsynth
            stepsynth.compare({str(tmp_path / "fruit.yaml")!r}, ["gold"], seeds=2, jobs=2)
            """
        )
    )
    done = run_script(script)
    assert "no process could start to work on gold, random seed" in done.stderr
    assert 'under `if __name__ == "__main__":`' in done.stderr
    assert ConfigError.__name__ in done.stderr


STARTER = """
import os, sys, time
from stepsynth.executors._pool import Processes, at_work
from pathlib import Path

def work(folder):
    (Path(folder) / f"began-{os.getpid()}").touch()
    try:
        with at_work():
            time.sleep(60)
    except KeyboardInterrupt:
        return "stopped"
    return "done"

if __name__ == "__main__":
    with Processes(2) as pool:
        jobs = [pool.submit(work, sys.argv[1]) for _ in range(2)]
        print("started", flush=True)
        for line in sys.stdin:
            pool.stop()
        print(*[job.result() for job in jobs])
"""


@pytest.fixture
def starter(tmp_path):
    """A process that has two others at work, each of which leaves a file with its id."""
    script = tmp_path / "starter.py"
    script.write_text(STARTER)
    process = subprocess.Popen(
        [sys.executable, script, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == "started\n"
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()


def began(folder):
    return [int(path.name.removeprefix("began-")) for path in folder.glob("began-*")]


@pytest.mark.parametrize("are_born", [False, True])
def test_jobs_are_stopped_even_before_they_have_begun(starter, tmp_path, are_born):
    if are_born:
        wait_until(lambda: len(began(tmp_path)) == 2)
    started = time.monotonic()
    out, err = starter.communicate("stop\n", timeout=60)
    assert time.monotonic() - started < 30
    assert (out, err) == ("stopped stopped\n", "")
    assert not any(map(is_running, began(tmp_path)))


def test_processes_end_soon_when_their_parent_is_killed(starter, tmp_path):
    wait_until(lambda: len(began(tmp_path)) == 2)
    starter.kill()
    starter.communicate()
    wait_until(lambda: not any(map(is_running, began(tmp_path))), limit_s=8)


def run_script(script: Path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, script]
    return subprocess.run(
        command, capture_output=True, text=True, env=env, cwd=script.parent, timeout=120
    )


def is_running(pid):
    """Say whether a process is there, and no zombie."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")
