"""One run, from a configuration to a finished folder.

The runner alone holds the test split. It gives a method everything but that, keeps each round's
model, and scores all of them on test when the method has ended and the kept round is chosen.
"""

import contextlib
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stepsynth._util.hashing import digest
from stepsynth.data import Gold
from stepsynth.errors import LimitReachedError, StepsynthError, TooFewRowsError
from stepsynth.inputs import GoldData, Inputs, read_gold, read_inputs
from stepsynth.llm import Usage
from stepsynth.methods import Journal, Round, run_method
from stepsynth.metrics import AnyPredictions, Predictions, fit_offsets, tuned_accuracy
from stepsynth.observer import Observer
from stepsynth.records import Dataset, label_to_json
from stepsynth.retrieval import digest_corpus
from stepsynth.run_records import AnsweredTest, Manifest, RoundMetrics, Scores, Summary
from stepsynth.runfolder import OpenRun, RunFolder, UsageLog, round_numbers
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.runner.open_llm import open_llm
from stepsynth.runner.setup import Progress, Warnings, make_setup
from stepsynth.runner.totals import llm_totals, unused_in_words
from stepsynth.runner.usage import CountedLLM, plan_run
from stepsynth.taskfile import Config, check_curation
from stepsynth.tasks import Task

VERSIONED = ("stepsynth", "numpy", "scikit-learn", "pydantic", "aiohttp")
EXTRAS = ("torch", "transformers", "accelerate", "sentence-transformers", "optuna")


@dataclass
class Runner:
    """Runs a configuration.

    Args:
        config: What to run.
        data: Labelled rows; read from the configuration's files if they are not given.
        budget: What the method may use up; its sizes are made to fit.
        out: The run folder; default `runs/<task>-<method>-<random_seed>`.
        observer: Is told of progress.
    """

    config: Config
    data: GoldData | None = None
    out: Path | None = None
    observer: Observer = field(default_factory=Observer)
    budget: EqualBudget | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            self.config = replace(
                self.config, method=self.budget.apply(self.config.method, self.config.own_keys)
            )
        c = self.config
        self.out = self.out or Path("runs") / f"{c.name}-{c.method.name}-{c.random_seed}"
        self.rounds: list[Round] = []
        self.numbers: list[RoundMetrics] = []
        self.warnings = Warnings(self.observer)
        self.search: dict[str, Any] | None = None
        self.kept: int | None = None
        self._llm: CountedLLM | None = None
        self._open: OpenRun | None = None
        self._usage: UsageLog | None = None
        self._journal, self._sources = Journal(), dict[str, str]()
        self._started = time.monotonic()

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        assert self.out is not None
        return RunFolder(self.out)

    def run(self) -> Summary:
        """Run to the end and return the summary, as `run --json` prints it.

        Raises:
            StepsynthError: See `stepsynth.errors`; what was paid for is in the store.
        """
        warn = self.warnings.warn
        data = self.data or read_gold(self.config, warn)
        check_curation(self.config.curation, self.config.method, self.config.task, warn)
        self.config.student.check()
        if self.config.retriever is not None:
            self.config.retriever.check()
        gold, inputs = read_inputs(self.config, data, warn)
        identity = self.identity(gold, inputs)
        self._open = OpenRun(self.folder.path, identity, self.config)
        began = datetime.now(UTC)
        try:
            self._open.event("start", version=_version("stepsynth"))
            plan = plan_run(self.config, gold, inputs, self.budget, self.warnings.warn)
            self._open.write_plan(plan and plan.to_dict())
            self._llm = self._open_llm(digest(self._open.identity))
            self._synthesize(gold, inputs)
            self.kept = self.config.method.choose_round(self.rounds)
            self._score_test(gold)
            self._warn_of_better_round()
            kept = self.rounds[self.kept]
            columns = self.config.data.columns if self.config.data else {}
            self._open.write_result(kept.train, kept.model, {**self.config.task.columns, **columns})
            summary = self.summary()
            for message in self.warnings.messages:
                self._open.event("warning", message=message)
            scores = summary.test and summary.test.to_dict()
            self._open.event("end", test=scores, llm=summary.llm.to_dict())
            self._open.write_manifest(self._manifest(identity, summary, began))
            return summary
        except BaseException as error:
            if isinstance(error, TooFewRowsError):
                error.message += unused_in_words(self._journal.unused)
            # The disk may be full; the error that stopped the run is the one to tell.
            with contextlib.suppress(OSError):
                if self.kept is None:
                    end = (len(self.rounds), self._journal, self._sources, str(error))
                    self._open.write_unfinished(*end)
                if self._usage is not None:
                    self._usage.flush()
                self._open.event("stop", reason=type(error).__name__, message=str(error))
            raise
        finally:
            if self._llm is not None:
                with contextlib.suppress(OSError):
                    self._open.write_used(self._llm.used())
                self._llm.close()
            self._open.close()

    def summary(self, *, stopped: str | None = None) -> Summary:
        """Return the summary of what is done so far.

        Args:
            stopped: Why the run ended early, if it did.
        """
        usage = self._llm.usage if self._llm else Usage(usd=None)
        rejected: Counter[str] = Counter()
        for numbers in self.numbers:
            rejected.update(numbers.rejected)
        kept = None if self.kept is None else self.numbers[self.kept]
        # Rounds in progress are not in `rounds`; their rejects are counted when they are done.
        llm = llm_totals(
            usage,
            rejected,
            backend=self.config.llm.backend if self.config.llm else None,
            kept_rows=kept and kept.train_size,
        )
        asked = getattr(self.rounds[-1].model, "asked", 0) if self.rounds else 0
        more: dict[str, Any] = {} if stopped is None else {"stopped": stopped}
        if asked and usage.usd is not None:
            more["usd_per_1000_predictions"] = 1000 * usage.usd / asked
        return Summary(
            run=str(self.folder.path),
            task=self.config.name,
            method=self.config.method.name,
            student=self.config.student.name,
            random_seed=self.config.random_seed,
            search=self.search,
            rounds=tuple(numbers.summary() for numbers in self.numbers),
            kept_round=self.kept,
            test=kept and kept.test and kept.test.brief(with_n=True),
            llm=llm,
            warnings=tuple(self.warnings.messages),
            seconds=round(time.monotonic() - self._started, 2),
            **more,
        )

    def check_labels(self) -> None:
        """Make sure that the kept model can predict every label.

        Raises:
            TooFewRowsError: A label ended with no row; the model of the other labels is kept.
        """
        assert self.kept is not None
        counts = self.rounds[self.kept].train.label_counts()
        missing = [name for name in self.config.task.label_names if not counts[name]]
        if counts and missing:
            raise TooFewRowsError(
                f"no training row has the label {', '.join(map(repr, missing))} at the end, so the "
                f"model cannot predict it; what there is is kept in {self.folder.path}",
                hint="see rounds/*/rejected.jsonl for what the LLM wrote; raise the seed size, set "
                "method.train_on: both, or look at data.contexts if they fix the labels",
            )

    def _synthesize(self, gold: Gold, inputs: Inputs) -> None:
        assert self._open is not None
        assert self._llm is not None
        assert self._usage is not None
        config = self.config
        progress = Progress(self.observer)
        setup = make_setup(
            config,
            gold,
            inputs,
            llm=self._llm,
            budget=self.budget,
            folder=self.folder,
            warn=self.warnings.warn,
            progress=progress,
        )
        student, self._journal = setup.student, setup.journal
        sources = self._sources = {row.id: row.text for row in gold.mine}
        for done in run_method(config.method, setup):
            scores = self._score(gold.select, done.model.predict(gold.select))
            numbers = round_numbers(done, scores, inputs.gate.seen)
            self._open.write_round(done, numbers, sources)
            if done.index == 0:
                self._open.write_prompts(self._prompts(), filled_prompts(setup.task, done))
            self._usage.flush()
            self._open.event("round", **numbers.summary().to_dict())
            self.rounds.append(done)
            self.numbers.append(numbers)
            setup.journal.clear()
            self.observer.round_done(numbers)
            progress.round = done.index + 1
            if student.found is not None and self.search is None:
                self.search = student.found
                self._open.write_config(replace(config, student=student.chosen))

    def _prompts(self) -> dict[str, str]:
        """Return the templates of the prompts that the method sends."""
        sources = self.config.task.template_sources()
        return {name: text for name, text in sources.items() if name in self.config.method.prompts}

    def _warn_of_better_round(self) -> None:
        """Say so where an earlier round scored higher on select than the one that is kept."""
        assert self.kept is not None
        method = self.config.method
        best = max(self.rounds, key=lambda r: r.select_score)
        kept = self.rounds[self.kept]
        if best.select_score > kept.select_score:
            name = self.config.task.score_name
            self.warnings.warn(
                f"round {best.index} has a higher {name} on select ({best.select_score:.3f}) than "
                f"round {kept.index}, which is kept ({kept.select_score:.3f})"
                + ("; method.keep=best keeps the best" if hasattr(method, "keep") else "")
            )

    def _score_test(self, gold: Gold) -> None:
        """Score every round's model on test; the threshold is set on select."""
        assert self._open is not None
        for i, done in enumerate(self.rounds):
            selected, predictions = (done.model.predict(s) for s in (gold.select, gold.test))
            scores = self._score(gold.test, predictions)
            spread = done.model.student and done.model.student.spread(gold.test)
            if spread is not None:
                scores["spread"] = float(spread.mean())
            if isinstance(selected, Predictions) and isinstance(predictions, Predictions):
                offsets = fit_offsets(gold.select.labels, selected)
                tuned = tuned_accuracy(gold.test.labels, predictions, offsets)
                scores["tuned_accuracy"] = tuned
            self.numbers[i] = self.numbers[i].model_copy(update={"test": Scores(**scores)})
            self._open.write_metrics(self.numbers[i])
            answers = AnsweredTest(
                ids=tuple(row.id for row in gold.test),
                gold=tuple(label_to_json(row.label) for row in gold.test),
                predicted=tuple(predictions.labels),
            )
            self._open.write_answers(done.index, answers)

    def _score(self, rows: Dataset, predictions: AnyPredictions) -> dict[str, Any]:
        return self.config.task.score(rows, predictions)

    def _open_llm(self, run: str) -> CountedLLM:
        llm = open_llm(self.config, self.folder, run)
        assert self._open is not None
        self._usage = UsageLog(self._open.events, self.observer)
        llm.on_progress = self._usage.asking
        llm.on_notice = self._usage.notice
        return llm

    def identity(self, gold: Gold, inputs: Inputs) -> dict[str, Any]:
        """Return what decides the run's results; the store counts by its digest what is spent."""
        resolved = self.config.to_dict()
        contexts = [[c.text, c.label and label_to_json(c.label)] for c in inputs.contexts]
        retriever = self.config.retriever
        return {
            "random_seed": self.config.random_seed,
            "method": resolved["method"],
            "student": resolved["student"],
            "task": resolved["task"],
            "curation": resolved["curation"],
            "retrieval": retriever and retriever.model_dump(mode="json", exclude={"folder"}),
            "budget": str(self.budget) if self.budget else None,
            "llm": self.config.llm.identity() if self.config.llm else None,
            "data": {
                "mine": gold.mine.digest(),
                "select": gold.select.digest(),
                "test": gold.test.digest(),
                **({"contexts": digest(contexts)} if self.config.task.has_context else {}),
                **({"corpus": digest_corpus(inputs.passages)} if retriever else {}),
                **{key: rows.digest() for key, rows in inputs.given.items()},
            },
        }

    def _manifest(self, identity: Mapping[str, Any], summary: Summary, began: datetime) -> Manifest:
        return Manifest(
            summary=summary,
            data=identity["data"],
            rows={r.index: r.train.digest() for r in self.rounds},
            prompts={name: digest(text) for name, text in self._prompts().items()},
            versions={name: _version(name) for name in VERSIONED}
            | {name: found for name in EXTRAS if (found := _version(name))}
            | {"python": platform.python_version()},
            commit=_commit(),
            platform=platform.platform(),
            began=began.isoformat(timespec="seconds"),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def filled_prompts(task: Task, done: Round) -> dict[str, str]:
    """Return each prompt filled in with what round 0 has, as a reader of the report wants it."""
    filled: dict[str, str] = {}
    for row in done.added[:1]:
        if row.provenance.request in done.exchanges:
            # The kind of a row is the name of the prompt that it was written from.
            filled[row.provenance.kind] = done.exchanges[row.provenance.request][0]
    label = task.label_names[0] if task.label_names else ""
    rationales = done.rationales.get(label, ())
    if rationales:
        filled["rationale"] = task.rationale_prompt(label, len(rationales))
    if done.misclassified:
        filled["extrapolate"] = task.extrapolation_prompt(done.misclassified[0])
    return filled


def stop_reason(error: BaseException) -> str:
    """Return the word for why a run ended early, as the summary says it."""
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
    """Return the commit of a source checkout that this package runs from, if it does."""
    root = Path(sys.modules["stepsynth"].__path__[0]).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
