"""The usage, scores and predictions of the runs of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from stepsynth.comparison.plan import PlannedRun
from stepsynth.comparison.run import Ended
from stepsynth.metrics import membership, one_hot, score_by_label
from stepsynth.records import label_from_json
from stepsynth.run_records import AnsweredTest
from stepsynth.runfolder import Run
from stepsynth.students import students
from stepsynth.taskfile import read_yaml


@dataclass(frozen=True)
class RunRow:
    """Usage and scores of one run.

    Attributes:
        method: The name of the entry.
        error: Why there is no result; else empty.
        scores: Test scores of the kept round.
        rounds: For each round: round, rows (trained on), calls (so far), scores.
        rows: Synthetic rows that the kept round's model was trained on.
        train_size: All rows that it was trained on, including gold rows.
        calls: All requests of the run, whether the LLM, the store or a recording answered.
        sent: Requests sent to the LLM in the last invocation.
        usd: Cost of all answers; None: not known.
        training_tokens: White-space tokens of the training rows, times the epochs of the student.
        usd_per_1000_predictions: Cost of predictions, if the LLM itself predicts.
        by_label: Label -> recall and F1 on test.
    """

    method: str
    random_seed: int
    folder: str
    error: str = ""
    hint: str = ""
    exit_code: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    train_size: int = 0
    calls: int = 0
    sent: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    seconds: float = 0.0
    training_tokens: int = 0
    usd_per_1000_predictions: float | None = None
    by_label: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether there is a result."""
        return bool(self.scores)


def read_run(planned: PlannedRun, ended: Ended) -> tuple[RunRow, AnsweredTest | None]:
    """Return a run's row, and what its kept model predicts for the test rows.

    The row has its numbers, its error, or neither if it was not tried.
    """
    name, seed, place = planned.entry.name, planned.random_seed, str(planned.folder)
    if failure := ended.failures.get(planned.folder):
        row = RunRow(name, seed, place, failure.message, failure.hint, failure.exit_code)
        return row, None
    if not planned.is_done:
        return RunRow(name, seed, place), None
    run = Run(planned.folder)
    summary, llm = run.summary, run.summary.llm
    assert summary.test is not None
    gold_rows, tokens = _count_rows(run)
    answers = run.kept.answers
    row = RunRow(
        method=name,
        random_seed=seed,
        folder=place,
        scores=dict(summary.test.known()),
        rounds=_read_rounds(run),
        rows=summary.kept.train_size - gold_rows,
        train_size=summary.kept.train_size,
        calls=llm.calls,
        sent=llm.requests,
        prompt_tokens=llm.prompt_tokens,
        completion_tokens=llm.completion_tokens,
        usd=llm.usd,
        seconds=summary.seconds,
        training_tokens=tokens * _passes(run),
        usd_per_1000_predictions=summary.usd_per_1000_predictions,
        by_label=score_labels(answers.gold, answers.predicted),
        warnings=list(summary.warnings),
    )
    return row, answers


def _count_rows(run: Run) -> tuple[int, int]:
    """Return the numbers of gold rows and white-space tokens in a run's training rows."""
    gold = sum(row.provenance.kind == "gold" for row in run.dataset)
    tokens = sum(len(row.text.split()) + len((row.context or "").split()) for row in run.dataset)
    return gold, tokens


def _passes(run: Run) -> int:
    """Return the number of passes of the student over its rows."""
    section: dict[str, Any] = dict(read_yaml(run.folder.config).values["student"])
    student = students().get(section.pop("name")).model_validate(section)
    return student.passes(run.summary.kept.train_size)


def _read_rounds(run: Run) -> list[dict[str, Any]]:
    """Return each round's scores and the usage up to it.

    Calls for rows count to their round; all others (rationales, contexts) count as before the
    first.
    """
    calls = run.summary.llm.calls
    asked = [
        numbers.added + sum(numbers.rejected.values()) + sum(numbers.failed.values())
        for numbers in (done.metrics for done in run.rounds)
    ]
    before = calls - sum(asked)
    return [
        {
            "round": row.round,
            "rows": row.train_size,
            "calls": min(calls, max(0, so_far + before)),
            **dict(row.test.known() if row.test else ()),
        }
        for row, so_far in zip(run.summary.rounds, accumulate(asked), strict=True)
    ]


def score_labels(gold: Sequence[Any], predicted: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the recall and F1 of each gold label; empty if labels are answers."""
    if not gold or isinstance(gold[0], dict):
        return {}
    if isinstance(gold[0], list):
        names = sorted({name for own in gold for name in own})
        own = membership([str(label_from_json(each)) for each in gold], names)
        said = membership(predicted, names)
    else:
        names = sorted(set(gold))
        own, said = one_hot(gold, names), one_hot(predicted, names)
    found = score_by_label(own, said, names)
    return {name: {key: row[key] for key in ("recall", "f1")} for name, row in found.items()}
