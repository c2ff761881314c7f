"""Comparisons that are run on a cluster, and what is left of them."""

import hashlib
import os
import signal
import time

from stepsynth.comparison.plan import make_plan
from stepsynth.comparison.run import Silence
from stepsynth.executors import executor_kinds
from tests.e2e.cli import write_task

SCRIPTED = "{backend: scripted, rules: [{pattern: Write, answers: [x, y, z]}]}"
NAMES = ["gold", "random", "zerogen"]
ALL = sorted((name, seed, "done") for name in NAMES for seed in (0, 1))


class Told(Silence):
    """Keeps what it is told."""

    def __init__(self):
        self.ended, self.warnings = [], []

    def run_ended(self, outcome, done, total):
        self.ended.append((outcome.run.entry.name, outcome.run.random_seed, outcome.kind))

    def warn(self, message):
        self.warnings.append(message)


def finish(runner):
    runner.run()


def finish_slowly(runner):
    runner.run()
    time.sleep(2)


def die_once_in_random(runner):
    """Kill this process in the first attempt of one run."""
    folder = runner.folder.path
    folder.mkdir(parents=True, exist_ok=True)
    if folder.parts[-2:] == ("random", "0") and not (folder / ".death").exists():
        (folder / ".death").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    runner.run()


def plan_in(folder):
    folder.mkdir(exist_ok=True)
    task = write_task(folder, llm=SCRIPTED)
    return make_plan(task, NAMES, seeds=2, out=folder / "out")


def results(out):
    """Return the digest of every file that a run's results are in."""
    files = [*out.glob("*/*/dataset.jsonl"), *out.glob("*/*/rounds/*/*.json*")]
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def executor_of(name, settings):
    return executor_kinds().get(name).model_validate(settings)
