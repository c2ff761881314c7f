"""The rounds of a prepared run with an open run folder, one after the other.

Only this module holds the test split: the method gets everything else. Each round's model is kept.
All are scored on test once the method has ended and the kept round is chosen.
"""

from dataclasses import dataclass, field, replace

from stepsynth._util.stopping import check_stop
from stepsynth.inputs import Prepared
from stepsynth.methods import Journal, Round, run_method
from stepsynth.metrics import AnyPredictions, Predictions, calibrate_on, fit_offsets, tuned_accuracy
from stepsynth.observer import Observer
from stepsynth.records import label_to_json
from stepsynth.review import read_review
from stepsynth.run_records import AnsweredTest, Reviewed, Scores
from stepsynth.runfolder import OpenRun, RunFolder, UsageLog, round_numbers
from stepsynth.runner.equal_budget import EqualBudget
from stepsynth.runner.references import references
from stepsynth.runner.review_round import train_on_review
from stepsynth.runner.setup import Progress, make_setup
from stepsynth.runner.state import RunState
from stepsynth.runner.usage import CountedLLM
from stepsynth.students import StudentFactory
from stepsynth.tasks import Task


@dataclass
class Execution:
    """Execution of a run.

    Args:
        prepared: The configuration and data.
        opened: The open run folder.
        llm: The LLM.
        usage_log: Records the progress of the engine.
        budget: The budget of the method, if any.
        observer: Receives the progress.
        state: Collects the results.

    Attributes:
        journal: Results of the requests of the round in progress.
        sources: Id of a gold row that rows are written from -> its text.
        student: Factory of the run's models.
    """

    prepared: Prepared
    opened: OpenRun
    llm: CountedLLM
    usage_log: UsageLog
    budget: EqualBudget | None
    observer: Observer
    state: RunState
    journal: Journal = field(default_factory=Journal)
    sources: dict[str, str] = field(default_factory=dict)
    student: StudentFactory | None = None

    def synthesize(self) -> None:
        """Run the method, and write each of its rounds to the run folder."""
        config, gold, state = self.prepared.config, self.prepared.gold, self.state
        progress = Progress(self.observer)
        history = read_review(RunFolder(state.folder).review)
        setup = make_setup(
            self.prepared,
            llm=self.llm,
            budget=self.budget,
            folder=RunFolder(state.folder),
            warn=state.warnings.warn,
            progress=progress,
        )
        student, self.journal = setup.student, setup.journal
        self.student = student
        self.sources = {row.id: row.text for row in gold.mine}
        for done in run_method(config.method, setup):
            self._end_round(done)
            if done.index == 0:
                filled = filled_prompts(setup.task, done)
                self.opened.write_prompts(self.prepared.prompts(), filled)
            setup.journal.clear()
            progress.phase = f"round {done.index + 1}"
            if student.found is not None and state.search is None:
                state.search = student.found
                self.opened.write_config(replace(config, student=student.chosen))
        progress.phase = "review"
        base = config.method.choose_round(state.rounds, gold.select)
        reviewed = train_on_review(state.rounds, base, history, setup)
        if reviewed is not None:
            self._end_round(*reviewed)

    def _end_round(self, done: Round, review: Reviewed | None = None) -> None:
        """Score a round on select, and write it to the run folder."""
        check_stop()
        gold, task = self.prepared.gold, self.prepared.config.task
        scores = task.score(gold.select, done.model.predict(gold.select))
        numbers = round_numbers(done, scores, self.prepared.inputs.gate.seen)
        if review is not None:
            numbers = numbers.model_copy(update={"review": review})
        self.opened.write_round(done, numbers, self.sources)
        self.usage_log.flush()
        self.opened.events.write("round", **numbers.summary().to_dict())
        self.state.rounds.append(done)
        self.state.numbers.append(numbers)
        self.observer.round_done(numbers)

    def finish(self) -> None:
        """Choose the round to keep, score all rounds on test, and write the result."""
        config, state = self.prepared.config, self.state
        state.kept = config.method.choose_round(state.rounds, self.prepared.gold.select)
        said = [self._score_test(i, done) for i, done in enumerate(state.rounds)]
        of_select, of_test = said[state.kept]
        state.warn_of_better_round()
        assert self.student is not None
        is_gold = config.method.name == "gold"
        gold, student = self.prepared.gold, self.student
        state.references = tuple(references(config.task, gold, student, of_test, is_gold=is_gold))
        kept = state.kept_round
        calibration = calibrate_on(gold.select, of_select, kept.train)
        self.opened.write_result(
            kept.train, kept.model, {**config.task.columns, **config.data.columns}, calibration
        )

    def stop(self, why: str) -> None:
        """Write the results of the round in progress, and why the run stopped."""
        if self.state.kept is None:
            index = len(self.state.rounds)
            self.opened.write_unfinished(index, self.journal, self.sources, why)
        self.usage_log.flush()

    def _score_test(self, i: int, done: Round) -> tuple[AnyPredictions, AnyPredictions]:
        """Score a round's model on test; return what it says of select and of test.

        The tuned threshold is set on select.
        """
        check_stop()
        gold, state = self.prepared.gold, self.state
        selected, predictions = (done.model.predict(rows) for rows in (gold.select, gold.test))
        scores = self.prepared.config.task.score(gold.test, predictions)
        spread = done.model.student and done.model.student.spread(gold.test)
        if spread is not None:
            scores["spread"] = float(spread.mean())
        if isinstance(selected, Predictions) and isinstance(predictions, Predictions):
            offsets = fit_offsets(gold.select.labels, selected)
            scores["tuned_accuracy"] = tuned_accuracy(gold.test.labels, predictions, offsets)
        state.numbers[i] = state.numbers[i].model_copy(update={"test": Scores(**scores)})
        self.opened.write_metrics(state.numbers[i])
        answers = AnsweredTest(
            ids=tuple(row.id for row in gold.test),
            gold=tuple(label_to_json(row.label) for row in gold.test),
            predicted=tuple(predictions.labels),
        )
        place = self.opened.folder.round(done.index)
        self.opened.write_record(place / "test_predictions.json", answers)
        return selected, predictions


def filled_prompts(task: Task, done: Round) -> dict[str, str]:
    """Return each prompt filled in with rows of round 0, for the report."""
    filled: dict[str, str] = {}
    for row in done.added[:1]:
        if row.provenance.request in done.exchanges:
            # The kind of a row is the name of its prompt.
            filled[row.provenance.kind] = done.exchanges[row.provenance.request][0]
    label, rationales = next(iter(done.rationales.items()), ("", ()))
    if rationales:
        filled["rationale"] = task.rationale_prompt(label, len(rationales))
    if done.misclassified:
        filled["extrapolate"] = task.extrapolation_prompt(done.misclassified[0])
    return filled
