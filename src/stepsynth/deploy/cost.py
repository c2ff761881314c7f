"""What answers cost: the model of a run, an LLM, and the LLM where the model abstains.

All ways are scored on the same labelled rows, which the model has not seen.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stepsynth._util.files import read_object, write_json
from stepsynth._util.hashing import digest
from stepsynth._util.rng import make_rng
from stepsynth.curation import Gate
from stepsynth.deploy.fall_back import UNREADABLE, FallBack, Reply
from stepsynth.dryrun import count_tokens
from stepsynth.errors import DataError, ProviderError, StepsynthError
from stepsynth.inputs import read_gold, split
from stepsynth.llm import LLMSettings
from stepsynth.methods import decide_request
from stepsynth.metrics import (
    Calibration,
    Interval,
    Predictions,
    exact_match,
    f1_interval,
    mean_interval,
    membership,
    one_hot,
    token_f1,
    wilson_interval,
)
from stepsynth.records import Answers, Dataset, Example, LabelSet
from stepsynth.report import PredictionCost, Way
from stepsynth.runfolder import Run
from stepsynth.students import Student, load_student, time_predictions
from stepsynth.taskfile import Config
from stepsynth.tasks import Task

COVERAGES = (0.9, 0.75, 0.5, 0.25)
"""Shares of the select rows that the model labels itself, of the ways with a fall-back."""
LONGER = 1.25
"""Factor by which a prompt may have more tokens than its bytes say."""

Warn = Callable[[str], None]


def unseen_rows(run: Run, config: Config, rows: Dataset, warn: Warn) -> Dataset:
    """Return the rows that the model of a run has not seen: neither in training nor in `select`.

    Args:
        run: The run.
        config: Its configuration.
        rows: Labelled rows.
        warn: Told what was left out.

    Raises:
        DataError: None is left.
    """
    seen: dict[str, Dataset] = {"training": run.dataset}
    try:
        # The run itself has warned of what is wrong with gold.
        gold = split(config, read_gold(config, lambda _: None), lambda _: None)
        seen |= {"mine": gold.mine, "select": gold.select}
    except StepsynthError as error:
        warn(f"gold cannot be read, so rows of mine and select may be among these: {error.message}")
    gate = Gate(seen)
    left = Dataset(row for row in rows if gate.stop_row(row) is None)
    if gate.seen:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(gate.seen.items()))
        warn(f"{len(rows) - len(left)} of {len(rows)} rows are left out: {listed}")
    if not left:
        raise DataError(
            "the model has seen every one of these rows", hint="give labelled rows of their own"
        )
    return left


def draw_rows(rows: Dataset, number: int, random_seed: int) -> Dataset:
    """Return at most so many rows, in their order; the same ones in each call."""
    if len(rows) <= number:
        return rows
    chosen = make_rng(random_seed, "cost").sample(range(len(rows)), number)
    return Dataset(rows[i] for i in sorted(chosen))


@dataclass(frozen=True)
class Estimate:
    """What asking an LLM about rows costs at most, if no answer is remembered.

    Attributes:
        prompt_tokens: Tokens of all prompts.
        completion_tokens: Tokens of all answers, each as long as it may be.
        usd: None: the price is not known.
    """

    prompt_tokens: int
    completion_tokens: int
    usd: float | None


def estimate(rows: Sequence[Example], task: Task, settings: LLMSettings) -> Estimate:
    """Return what asking about rows costs at most."""
    prompts = round(LONGER * sum(count_tokens(decide_request(row, task).prompt) for row in rows))
    endpoints = settings.endpoints_of("decide")
    completions = len(rows) * max(each.live().max_tokens for each in endpoints)
    prices = [each.known_price() for each in endpoints]
    known = [price.usd(prompts, completions) for price in prices if price is not None]
    return Estimate(prompts, completions, max(known) if len(known) == len(prices) else None)


def measure_cost(run: Run, rows: Dataset, llm: FallBack) -> PredictionCost:
    """Ask the model and the LLM about labelled rows, and return what each way costs.

    Args:
        run: A finished run.
        rows: Rows that the model has not seen.
        llm: Its answers are remembered: another call costs nothing.

    Raises:
        ProviderError: The LLM answers none of the rows.
    """
    replies, llm_ms = _ask(run, rows, llm)
    answered = [i for i, each in enumerate(replies) if each.why in ("", UNREADABLE)]
    if not answered:
        raise ProviderError(f"the LLM answers none of {len(rows)} rows: {replies[0].why}")
    notes: list[str] = []
    if len(answered) < len(rows):
        why = next(each.why for each in replies if each.why not in ("", UNREADABLE))
        notes.append(f"The LLM answered {len(answered)} of {len(rows)} rows ({why}): only these.")
    rows = Dataset(rows[i] for i in answered)
    replies = [replies[i] for i in answered]
    if nameless := sum(each.label is None for each in replies):
        notes.append(f"{nameless} answers of the LLM cannot be read; they count as wrong.")
    student = load_student(run.folder.model)
    model_ms = time_predictions(student, rows)
    scored = _Scored(
        rows, student, Calibration.read(run.folder.model), replies, llm, model_ms, llm_ms
    )
    ways = [scored.way("model alone", 0.0), *scored.fall_backs(notes)]
    ways.append(scored.way("LLM alone", np.inf))
    notes += [
        "LLM: the share of texts that it answers. USD and ms (milliseconds) are for 1,000 texts; "
        "in brackets are 95 % intervals. precision: that of `serve --precision`.",
        "USD are those of the answers, whenever they were paid for; of the model none. The model's "
        "milliseconds are those of this machine, all rows asked for together.",
        "The LLM's milliseconds are those of the requests as they were sent, several at a time "
        "(llm.concurrency); with a fall-back they are the model's and the LLM's share together.",
    ]
    if llm_ms is None:
        notes.append("The LLM's time is not known: all answers were in the store.")
    name = run.folder.path.resolve().name
    return PredictionCost(
        name, student.name, llm.settings.model, len(rows), tuple(ways), tuple(notes)
    )


def _ask(run: Run, rows: Dataset, llm: FallBack) -> tuple[list[Reply], float | None]:
    """Return the LLM's answers, and its milliseconds for 1,000 as they are or were measured."""
    file, key = run.folder.llm_speed, digest(llm.settings.identity())
    known, ms = _known_speed(file, key)
    before, began = llm.spent.requests, time.perf_counter()
    replies = llm.ask(rows)
    seconds, sent = time.perf_counter() - began, llm.spent.requests - before
    # The time of a few that were left over says less than that of all.
    if sent > known:
        ms = 1e6 * seconds / sent
        write_json(file, {"llm": key, "requests": sent, "ms": ms})
    return replies, ms


def _known_speed(file: Path, key: str) -> tuple[int, float | None]:
    """Return how many requests of an LLM were timed, and its milliseconds for 1,000 of them."""
    try:
        known = read_object(file.read_bytes()) or {}
        if known["llm"] == key:
            return int(known["requests"]), float(known["ms"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass  # it is measured anew
    return 0, None


def score_answers(
    rows: Dataset, said: Sequence[str | None], label_names: Sequence[str]
) -> dict[str, Interval]:
    """Return the two main scores of answers with their 95 % intervals over rows.

    Args:
        rows: n labelled rows.
        said: n labels, sets as texts or answers; None: there is none, which is wrong.
        label_names: The labels of the task; none for questions.
    """
    n, texts = len(said), [each or "" for each in said]
    is_answered = np.array([each is not None for each in said])
    if not label_names:
        gold = [row.label.texts for row in rows if isinstance(row.label, Answers)]
        pairs = list(zip(texts, gold, strict=True))
        right, f1 = (np.array([of(*pair) for pair in pairs]) for of in (exact_match, token_f1))
        f1 = f1 * is_answered
        named, found = "f1", mean_interval(f1)
    else:
        has_sets = isinstance(rows[0].label, LabelSet)
        encode, average = (membership, "micro") if has_sets else (one_hot, "macro")
        own, given = (encode(each, label_names) for each in (rows.labels, texts))
        right = (own == given).all(axis=1)
        named, found = f"{average}_f1", f1_interval(own, given, average=average)
    hits = int(right[is_answered].sum())
    first = "accuracy" if named == "macro_f1" else "exact_match"
    return {first: Interval(hits / n, *wilson_interval(hits, n)), named: found}


class _Scored:
    """Scores of the ways on the same rows."""

    def __init__(
        self,
        rows: Dataset,
        student: Student,
        calibration: Calibration | None,
        replies: Sequence[Reply],
        llm: FallBack,
        model_ms: float,
        llm_ms: float | None,
    ) -> None:
        said = student.predict_examples(rows)
        self._rows, self._names = rows, llm.task.label_names
        self._calibration = calibration
        self._sure = np.ones(len(rows))
        if calibration is not None and isinstance(said, Predictions):
            self._sure = calibration.apply(said).probabilities.max(axis=1)
        self._model = said.labels
        self._llm = [None if each.label is None else str(each.label) for each in replies]
        usd = [each.usd for each in replies]
        self._usd = None if None in usd else np.array(usd)
        self._model_ms, self._llm_ms = model_ms, llm_ms

    def way(self, name: str, threshold: float) -> Way:
        """Return the way in which the LLM answers under a threshold."""
        asks = self._sure < threshold
        both = zip(asks, self._llm, self._model, strict=True)
        said = [theirs if is_asked else ours for is_asked, theirs, ours in both]
        n, share = len(said), float(asks.mean())
        usd = 0.0 if not asks.any() else None
        if self._usd is not None:
            usd = 1000 * float(self._usd[asks].sum()) / n
        model_ms = 0.0 if asks.all() and threshold == np.inf else self._model_ms
        llm_ms = 0.0 if not asks.any() else self._llm_ms
        return Way(
            name,
            share,
            score_answers(self._rows, said, self._names),
            usd,
            None if llm_ms is None else model_ms + share * llm_ms,
        )

    def fall_backs(self, notes: list[str]) -> list[Way]:
        """Return the ways that `serve --precision` has, at some coverages."""
        if self._calibration is None:
            notes.append("The model is not calibrated, so it does not abstain: no fall-back.")
            return []
        known = {p / 100: self._calibration.abstain_for(p / 100) for p in range(1, 101)}
        found = {p: each for p, each in known.items() if each is not None and each.coverage < 1}
        if not found:
            notes.append(
                "At no precision does the model abstain on some select rows: no fall-back."
            )
            return []
        chosen = {
            min(found, key=lambda p: (abs(found[p].coverage - share), -p)) for share in COVERAGES
        }
        by_threshold = {found[p].threshold: p for p in sorted(chosen)}
        return [
            self.way(f"precision {p:.2f}", threshold)
            for threshold, p in sorted(by_threshold.items())
        ]
