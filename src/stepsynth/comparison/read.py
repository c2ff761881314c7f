"""Read what the runs of a comparison used, scored and said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stepsynth._util.files import read_jsonl
from stepsynth.comparison.plan import PlannedRun
from stepsynth.comparison.run import Ended
from stepsynth.runfolder import RunFolder
from stepsynth.students import students
from stepsynth.taskfile import read_yaml


@dataclass(frozen=True)
class RunRow:
    """What one run used and scored.

    Attributes:
        method: The name of the entry.
        error: Why there is no result; else empty.
        scores: Of the kept round on test.
        rounds: For each round: round, rows (trained on), calls (so far), scores.
        rows: Synthetic rows that the kept round's model was trained on.
        train_size: All rows that it was trained on; gold rows too, where they are.
        calls: All requests that the run asked, whoever answered: the LLM, the store, a recording.
        sent: Those that were sent to the LLM when the run was last gone on with.
        usd: What all answers cost; None: not known.
        training_tokens: White-space tokens of the training rows, times the epochs of the student.
        usd_per_1000_predictions: Where the LLM itself predicts.
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


@dataclass(frozen=True)
class Answered:
    """What a run's model said of the test rows."""

    gold: list[Any]
    predicted: list[str]
    test: str
    ids: list[str] | None


def read_run(run: PlannedRun, ended: Ended) -> RunRow:
    """Return a run's row: its numbers, why it has none, or that it was not tried."""
    name, seed, place = run.entry.name, run.random_seed, str(run.folder)
    if failure := ended.failures.get(run.folder):
        return RunRow(name, seed, place, failure.message, failure.hint, failure.exit_code)
    if not run.is_done:
        return RunRow(name, seed, place)
    folder = RunFolder(run.folder)
    summary: dict[str, Any] = _read(folder.manifest)["summary"]
    llm: Mapping[str, Any] = summary["llm"]
    calls = count_calls(llm)
    gold_rows, tokens = _count_rows(folder)
    kept = summary["rounds"][summary["kept_round"]]
    answered = read_answers(folder)
    return RunRow(
        method=name,
        random_seed=seed,
        folder=place,
        scores={k: v for k, v in summary["test"].items() if k != "n" and v is not None},
        rounds=_read_rounds(folder, summary["rounds"], calls),
        rows=kept["train_size"] - gold_rows,
        train_size=kept["train_size"],
        calls=calls,
        sent=llm["requests"],
        prompt_tokens=llm["prompt_tokens"],
        completion_tokens=llm["completion_tokens"],
        usd=llm["usd"],
        seconds=summary["seconds"],
        training_tokens=tokens * _epochs(folder),
        usd_per_1000_predictions=summary.get("usd_per_1000_predictions"),
        by_label=score_labels(answered.gold, answered.predicted),
        warnings=summary["warnings"],
    )


def count_calls(llm: Mapping[str, Any]) -> int:
    """Return the requests that a run asked, whoever answered; a retry is no request of its own.

    Args:
        llm: The part `llm` of its summary.
    """
    # Attempts are counted, retries too; recorded answers that are used up are requests as well.
    calls = llm["requests"] - llm["retries"] + llm["from_store"] + llm["replayed"]
    return int(calls + (llm["failed"] if llm["replayed"] else 0))


def _count_rows(folder: RunFolder) -> tuple[int, int]:
    """Return the gold rows and the white-space tokens of a run's training rows."""
    if not folder.dataset.exists():
        return 0, 0
    gold, tokens = 0, 0
    for row in read_jsonl(folder.dataset):
        gold += row["provenance"]["kind"] == "gold"
        tokens += len(row["text"].split()) + len(row.get("context", "").split())
    return gold, tokens


def _epochs(folder: RunFolder) -> int:
    """Return how often the student went over its rows."""
    section: dict[str, Any] = dict(read_yaml(folder.config).values["student"])
    return students().get(section.pop("name")).model_validate(section).passes


def _read_rounds(
    folder: RunFolder, rounds: Sequence[Mapping[str, Any]], calls: int
) -> list[dict[str, Any]]:
    """Return each round's scores and what was used until then.

    Calls for rows are counted by round; the rest (rationales, contexts) came before the first.
    """
    used: list[int] = []
    for row in rounds:
        numbers = _read(folder.round(row["round"]) / "metrics.json")
        unused = sum(numbers["rejected"].values()) + sum(numbers["failed"].values())
        used.append((used[-1] if used else 0) + numbers["added"] + unused)
    before = calls - used[-1]
    return [
        {
            "round": row["round"],
            "rows": row["train_size"],
            "calls": min(calls, max(0, so_far + before)),
            **{key: value for key, value in row["test"].items() if value is not None},
        }
        for row, so_far in zip(rounds, used, strict=True)
    ]


def read_answers(folder: RunFolder) -> Answered:
    """Return what the kept round's model said of the test rows."""
    kept = _read(folder.manifest)["summary"]["kept_round"]
    values = _read(folder.round(kept) / "test_predictions.json")
    test = _read(folder.identity)["data"]["test"]
    return Answered(values["gold"], values["predicted"], test, values.get("ids"))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def score_labels(gold: Sequence[Any], predicted: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the recall and F1 of each label of gold; nothing where labels are answers."""
    if not gold or isinstance(gold[0], dict):
        return {}
    names = sorted(set(gold) | set(predicted))
    codes = {name: i for i, name in enumerate(names)}
    truth, said = (np.array([codes[x] for x in values]) for values in (gold, predicted))
    n = len(names)
    hits = np.bincount(truth[truth == said], minlength=n)
    in_gold, in_said = np.bincount(truth, minlength=n), np.bincount(said, minlength=n)
    return {
        name: {
            "recall": float(hits[i] / in_gold[i]),
            "f1": float(2 * hits[i] / (in_gold[i] + in_said[i])),
        }
        for i, name in enumerate(names)
        if in_gold[i]
    }
