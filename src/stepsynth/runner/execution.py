"""The rounds of a run whose data is read and whose folder is open, one after the other.

It alone holds the test split. It gives a method everything but that, keeps each round's model, and
scores all of them on test when the method has ended and the kept round is chosen.
"""

from dataclasses import dataclass, field, replace

from stepsynth.inputs import Prepared
from stepsynth.methods import Journal, Round, run_method
from stepsynth.metrics import Predictions, fit_offsets, tuned_accuracy
from stepsynth.observer import Observer
from stepsynth.records import label_to_json
from stepsynth.run_records import AnsweredTest, Scores
from stepsynth.runfolder import OpenRun, RunFolder, UsageLog, round_numbers
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.runner.outcome import Outcome
from stepsynth.runner.setup import Progress, make_setup
from stepsynth.runner.usage import CountedLLM
from stepsynth.tasks import Task


@dataclass
class Execution:
    """A run on its way.

    Args:
        prepared: What it is given.
        opened: Its folder.
        llm: Answers its requests.
        usage_log: Takes what the engine says.
        budget: What the method may use up.
        observer: Is told of progress.
        outcome: Takes what is done.

    Attributes:
        journal: What came of the requests of the round in progress.
        sources: Gold texts that it writes from, by their ids.
    """

    prepared: Prepared
    opened: OpenRun
    llm: CountedLLM
    usage_log: UsageLog
    budget: EqualBudget | None
    observer: Observer
    outcome: Outcome
    journal: Journal = field(default_factory=Journal)
    sources: dict[str, str] = field(default_factory=dict)

    def synthesize(self) -> None:
        """Run the method, and write down each of its rounds."""
        config, gold, outcome = self.prepared.config, self.prepared.gold, self.outcome
        progress = Progress(self.observer)
        setup = make_setup(
            self.prepared,
            llm=self.llm,
            budget=self.budget,
            folder=RunFolder(outcome.folder),
            warn=outcome.warnings.warn,
            progress=progress,
        )
        student, self.journal = setup.student, setup.journal
        self.sources = {row.id: row.text for row in gold.mine}
        for done in run_method(config.method, setup):
            scores = config.task.score(gold.select, done.model.predict(gold.select))
            numbers = round_numbers(done, scores, self.prepared.inputs.gate.seen)
            self.opened.write_round(done, numbers, self.sources)
            if done.index == 0:
                filled = filled_prompts(setup.task, done)
                self.opened.write_prompts(self.prepared.prompts(), filled)
            self.usage_log.flush()
            self.opened.event("round", **numbers.summary().to_dict())
            outcome.rounds.append(done)
            outcome.numbers.append(numbers)
            setup.journal.clear()
            self.observer.round_done(numbers)
            progress.round = done.index + 1
            if student.found is not None and outcome.search is None:
                outcome.search = student.found
                self.opened.write_config(replace(config, student=student.chosen))

    def finish(self) -> None:
        """Choose the round that is kept, score all of them on test, and write the result."""
        config, outcome = self.prepared.config, self.outcome
        outcome.kept = config.method.choose_round(outcome.rounds)
        for i, done in enumerate(outcome.rounds):
            self._score_test(i, done)
        outcome.warn_of_better_round()
        columns = config.data.columns if config.data else {}
        kept = outcome.kept_round
        self.opened.write_result(kept.train, kept.model, {**config.task.columns, **columns})

    def stop(self, why: str) -> None:
        """Write what came of the round in progress, and why the run has ended in it."""
        if self.outcome.kept is None:
            index = len(self.outcome.rounds)
            self.opened.write_unfinished(index, self.journal, self.sources, why)
        self.usage_log.flush()

    def _score_test(self, i: int, done: Round) -> None:
        """Score a round's model on test; the threshold is set on select."""
        gold, outcome = self.prepared.gold, self.outcome
        selected, predictions = (done.model.predict(rows) for rows in (gold.select, gold.test))
        scores = self.prepared.config.task.score(gold.test, predictions)
        spread = done.model.student and done.model.student.spread(gold.test)
        if spread is not None:
            scores["spread"] = float(spread.mean())
        if isinstance(selected, Predictions) and isinstance(predictions, Predictions):
            offsets = fit_offsets(gold.select.labels, selected)
            scores["tuned_accuracy"] = tuned_accuracy(gold.test.labels, predictions, offsets)
        outcome.numbers[i] = outcome.numbers[i].model_copy(update={"test": Scores(**scores)})
        self.opened.write_metrics(outcome.numbers[i])
        answers = AnsweredTest(
            ids=tuple(row.id for row in gold.test),
            gold=tuple(label_to_json(row.label) for row in gold.test),
            predicted=tuple(predictions.labels),
        )
        self.opened.write_answers(done.index, answers)


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
