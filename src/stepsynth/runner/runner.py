"""One run, from a configuration to a finished folder."""

import contextlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stepsynth._util.hashing import digest
from stepsynth.errors import LimitReachedError, StepsynthError, TooFewRowsError
from stepsynth.executors import ExecutorSettings
from stepsynth.inputs import GoldData, Prepared, check_packages, prepare
from stepsynth.observer import Observer
from stepsynth.run_records import Manifest, Summary
from stepsynth.runfolder import OpenRun, RunFolder, UsageLog
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.runner.execution import Execution
from stepsynth.runner.open_llm import open_llm
from stepsynth.runner.setup import Warnings
from stepsynth.runner.shown import ShownGold
from stepsynth.runner.state import RunState
from stepsynth.runner.totals import unused_in_words
from stepsynth.runner.usage import plan_run
from stepsynth.taskfile import Config

VERSIONED = ("stepsynth", "numpy", "scikit-learn", "pydantic", "aiohttp")
EXTRAS = ("torch", "transformers", "accelerate", "sentence-transformers", "optuna")


@dataclass
class Runner:
    """Runner of a configuration.

    Args:
        config: The configuration.
        data: Labelled rows; read from the configuration's files if not given.
        out: The run folder; default `runs/<task>-<method>-<random_seed>`.
        observer: Receives the progress.
        budget: The budget of the method, whose sizes are set to use it up.
        executor: Where the shards of large phases are worked on; None: on this machine.

    Attributes:
        state: The state of the run so far.
    """

    config: Config
    data: GoldData | None = None
    out: Path | None = None
    observer: Observer = field(default_factory=Observer)
    budget: EqualBudget | None = None
    executor: ExecutorSettings | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            method = self.budget.apply(self.config.method, self.config.own_keys)
            self.config = replace(self.config, method=method)
        c = self.config
        out = self.out or Path("runs") / f"{c.name}-{c.method.name}-{c.random_seed}"
        self.state = RunState(c, out, Warnings(self.observer))

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.state.folder)

    def run(self) -> Summary:
        """Run to the end and return the summary, as `run --json` prints it.

        Raises:
            StepsynthError: See `stepsynth.errors`; what was paid for is in the store.
        """
        check_packages(self.config)
        prepared = prepare(self.config, self.state.warnings.warn, self.data)
        identity = prepared.identity(self.budget)
        self.state.config = prepared.config  # with the student that was chosen
        opened = OpenRun(self.folder.path, identity, prepared.config)
        began, execution = datetime.now(UTC), None
        try:
            opened.events.write("start", version=_version("stepsynth"))
            execution = self._begin(prepared, opened)
            execution.synthesize()
            execution.finish()
            summary = self.state.summary()
            for message in summary.warnings:
                opened.events.write("warning", message=message)
            scores = summary.test and summary.test.to_dict()
            opened.events.write("end", test=scores, llm=summary.llm.to_dict())
            opened.write_record(
                self.folder.manifest, self._manifest(prepared, identity, began, summary)
            )
            return summary
        except BaseException as error:
            if isinstance(error, TooFewRowsError) and execution is not None:
                error.message += unused_in_words(execution.journal.unused)
            # The disk may be full; the error that stopped the run is the one to report.
            with contextlib.suppress(OSError):
                if execution is not None:
                    execution.stop(str(error))
                opened.events.write("stop", reason=type(error).__name__, message=str(error))
            raise
        finally:
            if execution is not None:
                with contextlib.suppress(OSError):
                    opened.write_used(execution.llm.used())
                execution.llm.close()
            opened.close()
            self.state.warnings.tell_rest()

    def _begin(self, prepared: Prepared, opened: OpenRun) -> Execution:
        """Write the plan, open the LLM, and return the execution."""
        warn = self.state.warnings.warn
        plan = plan_run(prepared, self.budget, warn)
        opened.write_plan(plan and plan.to_dict())
        log = UsageLog(opened.events, self.observer)
        run, where = digest(opened.identity), self.executor
        llm = open_llm(self.config, self.folder, run, executor=where, on_notice=log.notice)
        llm.on_progress = log.asking
        self.state.usage = llm.usage
        self.state.shown = llm.shown = ShownGold(prepared.gold.mine)
        return Execution(prepared, opened, llm, log, self.budget, self.observer, self.state)

    def _manifest(
        self, prepared: Prepared, identity: Mapping[str, Any], began: datetime, summary: Summary
    ) -> Manifest:
        return Manifest(
            summary=summary,
            data=identity["data"],
            rows={r.index: r.train.digest() for r in self.state.rounds},
            prompts={name: digest(text) for name, text in prepared.prompts().items()},
            versions={name: _version(name) for name in VERSIONED}
            | {name: found for name in EXTRAS if (found := _version(name))}
            | {"python": platform.python_version()},
            commit=_commit(),
            platform=platform.platform(),
            began=began.isoformat(timespec="seconds"),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def stop_reason(error: BaseException) -> str:
    """Return the reason why a run ended early, as the summary gives it."""
    if isinstance(error, LimitReachedError):
        return error.cap
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return error.message if isinstance(error, StepsynthError) else type(error).__name__


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the source checkout that this package runs from, if any."""
    root = Path(sys.modules["stepsynth"].__path__[0]).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
