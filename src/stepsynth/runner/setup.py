"""The set-up of a method, made from a configuration and the data of a run.

Nothing in it leads to test rows: the method gets only their digests, to reject copies.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from stepsynth._util.stopping import check_stop
from stepsynth._util.words import alike
from stepsynth.curation import Curator, Gate
from stepsynth.dryrun import fit_task, text_tokens
from stepsynth.inputs import Prepared
from stepsynth.llm import LLM
from stepsynth.methods import Preparation, Setup, SpendingLimit, SynthesisMethod
from stepsynth.observer import Observer
from stepsynth.records import Dataset
from stepsynth.runfolder import RunFolder
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.students import FitCallbacks, StudentFactory, Weights


@dataclass
class Warnings:
    """Warnings of a run, for the summary and the observer.

    Attributes:
        messages: All warnings, each once.
        untold: Number of those that were not passed on, being like another one.

    A method gets its `warn`, so it must lead neither to the runner, which holds the test split,
    nor to the run folder.
    """

    observer: Observer
    messages: list[str] = field(default_factory=list)
    untold: int = 0

    def warn(self, message: str) -> None:
        """Record a warning, and pass on the first of those that differ only in numbers."""
        if message in self.messages:
            return
        is_new = alike(message) not in map(alike, self.messages)
        self.messages.append(message)
        if is_new:
            self.observer.warn(message)
        else:
            self.untold += 1

    def tell_rest(self) -> None:
        """Say how many warnings were not passed on."""
        if self.untold:
            what = "1 more warning" if self.untold == 1 else f"{self.untold} more warnings"
            self.observer.warn(f"{what} like these, with other numbers: the report has all")
        self.untold = 0


@dataclass
class Progress:
    """Progress of training, for the observer; like `Warnings` it leads to no test row."""

    observer: Observer
    phase: str = "round 0"

    def tell(self, what: str, done: int, total: int) -> None:
        """Report the steps that are done."""
        phase = "search of hyper-parameters" if what == "trials" else f"{self.phase}: {what}"
        self.pass_on(phase, done, total)

    def pass_on(self, phase: str, done: int, total: int) -> None:
        """Report the steps that are done of a phase.

        Raises:
            KeyboardInterrupt: The run is to stop.
        """
        check_stop()
        self.observer.progress(phase, done, total)


@dataclass
class Admission:
    """Last check before training: no method may train on a copy of a held-out row."""

    gate: Gate
    warn: Callable[[str], None]

    def __call__(self, rows: Dataset, weights: Weights) -> tuple[Dataset, Weights]:
        """Return the rows that may be trained on, and their weights."""
        places = [place for place, row in enumerate(rows) if self.gate.admits(row)]
        if len(places) == len(rows):
            return rows, weights
        self.warn(
            f"{len(rows) - len(places)} rows were not trained on: copies of test or select rows"
        )
        kept = Dataset(rows[place] for place in places)
        return kept, weights and [weights[place] for place in places]


def make_setup(
    prepared: Prepared,
    *,
    llm: LLM,
    budget: EqualBudget | None,
    folder: RunFolder,
    warn: Callable[[str], None],
    progress: Progress,
) -> Setup:
    """Return the set-up of a run's method."""
    config, gold, inputs = prepared.config, prepared.gold, prepared.inputs
    student = StudentFactory(
        config.student,
        config.task.label_names,
        config.random_seed,
        folder.fitted,
        FitCallbacks(
            gold.select,
            partial(config.task.main_score, gold.select),
            on_progress=progress.tell,
            warn=warn,
        ),
        Admission(inputs.gate, warn),
    )
    is_checked = config.curation.check in ("student", "confident")
    # Gold rows are the reference: only synthetic rows are checked and weighted.
    method = config.method
    if isinstance(method, SynthesisMethod) and (is_checked or method.reweight != "none"):
        student.prepare = Preparation(
            method, config.curation, student, gold.mine, config.random_seed, warn
        )
    index = None
    if config.retriever is not None:
        place, told = folder.index, progress.pass_on
        index = config.retriever.index(inputs.passages, place, warn=warn, on_progress=told)
    return Setup(
        task=fit_task(config.task, config.method, gold.mine),
        llm=llm,
        student=student,
        mine=gold.mine,
        select=gold.select,
        random_seed=config.random_seed,
        warn=warn,
        contexts=inputs.contexts,
        index=index,
        given=inputs.given,
        unlabelled=inputs.unlabelled,
        curator=Curator(config.curation, inputs.gate),
        spending=budget.spending(llm) if budget else SpendingLimit(),
        text_tokens=text_tokens(gold.mine),
    )
