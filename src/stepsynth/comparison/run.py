"""The runs of a plan: random seeds in parallel processes, the methods of a seed in sequence.

The order of methods matters if they share a store: GoldGen finds there what S3 has paid for, and
nothing is sent twice.
"""

import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from stepsynth._util.disk import as_disk_trouble
from stepsynth._util.hashing import digest
from stepsynth._util.stopping import check_stop
from stepsynth._util.words import set_path
from stepsynth.comparison.plan import STORE, Failure, Plan, PlannedRun
from stepsynth.errors import (
    ConfigError,
    FolderInUseError,
    LimitReachedError,
    ProviderError,
    RunFolderError,
    StepsynthError,
)
from stepsynth.executors import DEATHS, ExecutorSettings, Pool, at_work
from stepsynth.executors.local import Local
from stepsynth.llm import Spent
from stepsynth.llm.store import Store
from stepsynth.observer import Observer
from stepsynth.runfolder import RunFolder, last_progress
from stepsynth.runner import Runner, stop_reason
from stepsynth.taskfile import load_config

Finish = Callable[[Runner], Any]
"""Function that runs a runner to its end, at module level so that processes can import it."""

LOOK_S = 2.0
"""Seconds between two looks at the runs in progress."""
IN_USE_S = 30.0
"""Seconds that a worker waits for a folder in use."""
_MEMORY = "is there too little memory? --jobs 1 needs less"


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run.

    Attributes:
        kind: done; failed: only this run cannot be done; stopped: no run should go on.
        stopped: Why it was stopped ("limits.usd", "interrupted", ...).
    """

    run: PlannedRun
    kind: Literal["done", "failed", "stopped"]
    seconds: float = 0.0
    failure: Failure | None = None
    stopped: str = ""


class Watcher(Protocol):
    """Receiver of the progress of a comparison."""

    def observer_of(self, run: PlannedRun) -> Observer:
        """Return the observer of a run; called only if the runs share this process."""
        return Observer()

    def planned(self, plan: Plan, done: int, total: int) -> None:
        """Receive the plan, of which `done` of `total` runs were done before."""

    def progressed(self, run: PlannedRun, phase: str, done: int, total: int) -> None:
        """Receive how far a run is that goes on in another process."""

    def run_ended(self, outcome: Outcome, done: int, total: int) -> None:
        """Receive the outcome of a run; `done` of `total` runs have ended."""

    def warn(self, message: str) -> None:
        """Receive a warning; the comparison goes on."""


class Silence(Watcher):
    """Watcher that ignores all progress."""


@dataclass
class Ended:
    """Outcome of a plan.

    Attributes:
        failures: Run folder -> why its run failed.
        stopped: Why not all runs were tried, if so; `error` is the cause, if there was one.
    """

    failures: dict[Path, Failure] = field(default_factory=dict)
    stopped: str | None = None
    error: Failure | None = None


def run_plan(
    plan: Plan,
    finish: Finish,
    *,
    jobs: int,
    watcher: Watcher,
    executor: ExecutorSettings | None = None,
) -> Ended:
    """Run what is not done yet and return the outcome; Ctrl-C stops it cleanly.

    Args:
        plan: The plan.
        finish: Runs one run to its end.
        jobs: Number of random seeds at once.
        watcher: Receives the progress.
        executor: Where the runs are done; None: on this machine.
    """
    return _Schedule(plan, finish, watcher).run(jobs, executor or Local())


class _Schedule:
    """Schedule of the remaining runs, seed by seed."""

    def __init__(self, plan: Plan, finish: Finish, watcher: Watcher) -> None:
        self.plan, self.finish, self.watcher = plan, finish, watcher
        self.left = {
            seed: [run for run in runs if not run.is_done] for seed, runs in plan.runs.items()
        }
        self.total = sum(map(len, plan.runs.values()))
        self.count = self.total - sum(map(len, self.left.values()))
        self.ended = Ended()
        self.began = time.time()
        self.pending: dict[Future[Outcome], PlannedRun] = {}
        self.deaths: Counter[Path] = Counter()

    def run(self, jobs: int, executor: ExecutorSettings) -> Ended:
        self.watcher.planned(self.plan, self.count, self.total)
        seeds = [seed for seed, runs in self.left.items() if runs]
        jobs = min(jobs, len(seeds))
        if not seeds:
            return self.ended
        with executor.open(jobs, self.plan.out) as pool:
            try:
                self._run_all(pool, seeds, jobs)
            except KeyboardInterrupt:
                self.ended.stopped = "interrupted"
                self._stop(pool)
        return self.ended

    def _run_all(self, pool: Pool, seeds: list[int], jobs: int) -> None:
        """Keep `jobs` seeds going, each with one run at a time, until none is left."""
        waiting = seeds[jobs:]
        for seed in seeds[:jobs]:
            self._submit_next(pool, seed)
        while self.pending:
            done, _ = wait(self.pending, LOOK_S, return_when=FIRST_COMPLETED)
            check_stop()
            if not pool.is_here:
                self._tell_of_progress()
            for future in done:
                run = self.pending.pop(future)
                self._take_result(pool, future, run)
                if not self._submit_next(pool, run.random_seed):
                    while waiting and not self._submit_next(pool, waiting.pop(0)):
                        pass

    def _tell_of_progress(self) -> None:
        """Pass on what the runs in progress have logged."""
        for run in self.pending.values():
            row = last_progress(RunFolder(run.folder).events)
            if row is not None and row.get("total"):
                self.watcher.progressed(run, row["phase"], row["done"], row["total"])

    def _stop(self, pool: Pool) -> None:
        """Stop the runs in progress and keep their results; another Ctrl-C kills them."""
        try:
            self.watcher.warn(
                "stopping: waiting for answers that are on their way; Ctrl-C again drops them"
            )
            pool.stop()
            for future in list(self.pending):
                if not isinstance(future.exception(), BrokenExecutor):
                    self._take(future.result())
        except KeyboardInterrupt:
            pool.kill()

    def _submit_next(self, pool: Pool, seed: int) -> bool:
        """Start the next run of a random seed; return whether there was one."""
        if self.ended.stopped is not None or not self.left[seed]:
            return False
        run = self.left[seed].pop(0)
        try:
            limits = _limits_left(self.plan, run, time.time() - self.began)
        except LimitReachedError as error:
            self._take(Outcome(run, "stopped", 0.0, _failure(error), stop_reason(error)))
            return False
        # Another process cannot reach the watcher of this one.
        observer = self.watcher.observer_of(run) if pool.is_here else Observer()
        self.pending[pool.submit(_work, run, limits, self.finish, observer)] = run
        return True

    def _take_result(self, pool: Pool, future: "Future[Outcome]", run: PlannedRun) -> None:
        """Record the outcome of a run; a run whose process was killed is queued again.

        Raises:
            ConfigError: No process could start.
        """
        error = future.exception()
        if not isinstance(error, BrokenExecutor):
            self._take(future.result())
            return
        self.deaths[run.folder] += getattr(error, "deaths", 1)
        name, deaths = run.name, self.deaths[run.folder]
        if deaths < DEATHS:
            self.watcher.warn(f"{name}: its process was killed; the run goes on in another one")
            self.left[run.random_seed].insert(0, run)
        elif pool.can_start:
            message = f"{name} was given up: its process was killed {deaths} times"
            hint = f"{_MEMORY}; the same command tries it again"
            self._take(Outcome(run, "failed", failure=Failure(message, hint, exit_code=2)))
        else:
            raise ConfigError(
                f"no process could start to work on {name}, in {deaths} attempts: each ended "
                "without a word",
                hint=f'{_MEMORY}. In a script, call compare() under `if __name__ == "__main__":`',
            )

    def _take(self, outcome: Outcome) -> None:
        if outcome.kind == "stopped":
            self.ended.stopped = self.ended.stopped or outcome.stopped
            self.ended.error = self.ended.error or outcome.failure
            return
        if outcome.failure is not None:
            self.ended.failures[outcome.run.folder] = outcome.failure
        self.count += 1
        self.watcher.run_ended(outcome, self.count, self.total)


def _work(run: PlannedRun, limits: tuple[str, ...], finish: Finish, observer: Observer) -> Outcome:
    """Do one run; an error becomes an outcome, so that other runs can go on."""
    began = time.monotonic()

    def end(kind: Literal["done", "failed", "stopped"], *rest: Any) -> Outcome:
        return Outcome(run, kind, time.monotonic() - began, *rest)

    try:
        with at_work():
            config = load_config(run.task, (*run.overrides, *limits))
            runner = Runner(config, out=run.folder, observer=observer, budget=run.budget)
            _finish_once_free(runner, finish)
            run.mark_done()
        return end("done")
    except KeyboardInterrupt:
        if multiprocessing.parent_process() is None:
            raise
        return end("stopped", None, "interrupted")
    except (LimitReachedError, ProviderError) as error:
        return end("stopped", _failure(error), stop_reason(error))
    except RunFolderError as error:
        option = set_path("llm.store", (run.folder.parent.parent / STORE).absolute())
        hint = f"give another --out; with {option} nothing is paid twice"
        return end("failed", Failure(error.message, hint, error.exit_code))
    except StepsynthError as error:
        return end("failed", _failure(error))
    except Exception as error:  # a bug in one method is no reason to lose the others' results
        if (trouble := as_disk_trouble(error)) is not None:  # but no other run could write either
            return end("stopped", _failure(trouble), stop_reason(trouble))
        if os.environ.get("STEPSYNTH_DEBUG"):
            raise
        message = f"this is a bug of stepsynth: {type(error).__name__}: {error}"
        return end("failed", Failure(message, "STEPSYNTH_DEBUG=1 shows where"))


def _finish_once_free(runner: Runner, finish: Finish) -> None:
    """Run to the end; a process whose parent was killed may have the folder for a moment yet."""
    began = time.monotonic()
    while True:
        try:
            finish(runner)
            return
        except FolderInUseError:
            if time.monotonic() - began > IN_USE_S or multiprocessing.parent_process() is None:
                raise
            time.sleep(1)


def _failure(error: StepsynthError) -> Failure:
    return Failure(error.message, error.hint, error.exit_code)


def _limits_left(plan: Plan, run: PlannedRun, elapsed_s: float) -> tuple[str, ...]:
    """Return a run's share of the caps, which hold for the whole comparison.

    Each random seed gets an equal share, so that processes need not watch each other.

    Raises:
        LimitReachedError: The other runs of its random seed have used up the share.
    """
    limits, shares = plan.config.limits, len(plan.runs)
    if plan.configs[run.entry.name].llm is None:
        return ()
    others = [r for r in plan.runs[run.random_seed] if r.folder != run.folder]
    is_capped = any(getattr(limits, name) is not None for name in Spent._fields)
    spent = Spent.sum([Spent(), *(_spent(r, plan) for r in others if is_capped)])
    left: dict[str, float] = {}
    for name, gone in zip(Spent._fields, spent, strict=True):
        if (cap := getattr(limits, name)) is not None:
            left[name] = (cap // shares if isinstance(cap, int) else cap / shares) - gone
    if limits.minutes is not None:
        left["minutes"] = limits.minutes - elapsed_s / 60
    for name, amount in left.items():
        if amount <= 0:
            raise LimitReachedError(
                f"limits.{name} is reached: it is for the whole comparison, an equal share for "
                f"each of {shares} random seeds, and that of {run.random_seed} is used up",
                hint=f"the same command with a higher limits.{name} goes on where this stopped",
                cap=f"limits.{name}",
            )
    return tuple(f"limits.{name}={amount!r}" for name, amount in left.items())


def _spent(run: PlannedRun, plan: Plan) -> Spent:
    """Return what a run has spent so far, in all its invocations."""
    folder = RunFolder(run.folder)
    settings = plan.config.llm
    path = settings.store_path(plan.store) if settings else plan.store
    if not path.exists() or not folder.identity.exists():
        return Spent()
    store = Store(path)
    try:
        return store.spent(digest(json.loads(folder.identity.read_text(encoding="utf-8"))))
    except ValueError:  # a damaged folder: the run itself says so
        return Spent()
    finally:
        store.close()
