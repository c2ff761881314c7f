"""Tasks of a stage: all are done, also where workers die, and an error ends them."""

import os
import signal
import sys
from pathlib import Path

import pytest

from stepsynth.errors import ConfigError, DataError
from stepsynth.executors import Pool, do_tasks
from stepsynth.executors._pool import Processes

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="there nothing is killed so")


def leave(folder, number, deaths=0):
    """Write a file, after killing this process so many times."""
    died = len(list(Path(folder).glob(f"death-{number}-*")))
    if died < deaths:
        (Path(folder) / f"death-{number}-{died}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (Path(folder) / str(number)).touch()
    return 10 * number


def fail(number):
    raise DataError(f"file {number} is damaged", hint="write it anew")


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("death"))


def test_all_tasks_are_done_and_counted_in_this_process(tmp_path):
    told: list[int] = []
    given = [(str(tmp_path), i) for i in range(5)]
    assert do_tasks(Pool(), leave, given, jobs=2, on_done=told.append) == [0, 10, 20, 30, 40]
    assert names(tmp_path) == list("01234")
    assert told == [1, 2, 3, 4, 5]


@needs_signals
def test_a_task_whose_worker_is_killed_is_done_again(tmp_path):
    told: list[int] = []
    given = [(str(tmp_path), i, 2 if i == 1 else 0) for i in range(3)]
    with Processes(2, threads=1) as pool:
        assert do_tasks(pool, leave, given, jobs=2, on_done=told.append) == [0, 10, 20]
    assert names(tmp_path) == list("012")
    assert told == [1, 2, 3]


@needs_signals
def test_a_task_that_kills_three_workers_is_given_up(tmp_path):
    with (
        Processes(1, threads=1) as pool,
        pytest.raises(ConfigError, match=r"leave\) was given up: its worker was killed 3 times"),
    ):
        do_tasks(pool, leave, [(str(tmp_path), 0, 3)], jobs=1, on_done=print)


def test_an_error_of_a_task_comes_with_its_hint(tmp_path):
    with Processes(1, threads=1) as pool, pytest.raises(DataError, match="file 7") as caught:
        do_tasks(pool, fail, [(7,)], jobs=1, on_done=print)
    assert caught.value.hint == "write it anew"
