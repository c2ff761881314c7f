"""The results of a comparison: numbers of runs and methods, and paired intervals."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np

from stepsynth._util.words import alike
from stepsynth.comparison.plan import Entry, Plan
from stepsynth.comparison.read import RunRow, read_run
from stepsynth.comparison.run import Ended
from stepsynth.comparison.speed import read_speed
from stepsynth.methods import methods
from stepsynth.metrics import (
    SCORE_NAMES,
    Floats,
    Interval,
    Ints,
    bootstrap_f1,
    bootstrap_mean,
    exact_match,
    membership,
    names_in,
    one_hot,
    token_f1,
)
from stepsynth.records import label_from_json
from stepsynth.run_records import AnsweredTest
from stepsynth.taskfile import Config

MOST_APART = 0.02
"""Relative difference between the used budgets above which the reader is warned."""


@dataclass(frozen=True)
class MethodRow:
    """Usage and scores of one method over its random seeds.

    Attributes:
        name: The name of the entry.
        sees: Which gold rows it uses, and for what.
        takes_budget: Whether it has a size to budget.
        is_reference: Whether it is there for reference: no verdict is passed on it.
        seeds: The random seeds whose runs are done.
        mean: Score or cost -> mean over random seeds.
        spread: Score -> standard deviation over random seeds; none for a single seed.
        against: Score -> this method minus the reference method, with its interval.
        curve: For each round: round, rows, calls, and mean and spread of the main score.
        by_label: Label -> gains of recall and F1 over the reference, means over random seeds.
        errors: Why runs have no result -> hint.
    """

    name: str
    sees: str
    takes_budget: bool
    is_reference: bool
    seeds: list[int]
    mean: dict[str, float]
    spread: dict[str, float]
    against: dict[str, Interval]
    curve: list[dict[str, float]]
    by_label: dict[str, dict[str, float]]
    errors: dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """Results of a comparison.

    Attributes:
        task: The task's name.
        student: The student of every run.
        budget: The budget of every run ("1500 rows").
        equal: The kind of budget: rows, calls or usd.
        against: The name that the others are compared with.
        score: The main score, which decides.
        scores: Score -> its name, for the available scores.
        random_seeds: All random seeds.
        methods: The methods, in the requested order.
        runs: One run for each method and random seed.
        verdict: The conclusions, in sentences.
        warnings: Warnings for the reader.
        stopped: Why not all runs were tried; None: they were.
        folder: The folder of the comparison.
    """

    task: str
    student: str
    budget: str
    equal: str
    against: str
    score: str
    scores: dict[str, str]
    random_seeds: list[int]
    methods: list[MethodRow]
    runs: list[RunRow]
    verdict: list[str]
    warnings: list[str]
    stopped: str | None
    folder: str

    @property
    def exit_code(self) -> int:
        """0, or the exit code of the first failed run."""
        return next((run.exit_code for run in self.runs if run.error), 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as `compare.json` holds it."""
        return asdict(self)

    def __getitem__(self, name: str) -> MethodRow:
        """Return the row of a method, by its requested name."""
        return next(row for row in self.methods if row.name == name)


def make_table(plan: Plan, ended: Ended) -> Comparison:
    """Read the runs of a comparison and return the results."""
    runs: list[RunRow] = []
    said: dict[str, dict[int, AnsweredTest]] = {entry.name: {} for entry in plan.entries}
    for entry in plan.entries:
        if failure := plan.failures.get(entry.name):
            why = (failure.message, failure.hint, failure.exit_code)
            runs += [RunRow(entry.name, seed, "", *why) for seed in plan.runs]
            continue
        for planned in (run for of in plan.runs.values() for run in of if run.entry == entry):
            row, answers = read_run(planned, ended)
            runs.append(row)
            if answers is not None:
                said[entry.name][planned.random_seed] = answers
    main = plan.config.task.score_name
    scores = _scores_of(runs, main)
    rows = [_summarise(plan, entry, runs, said, main) for entry in plan.entries]
    return Comparison(
        task=plan.config.name,
        student=plan.config.student.name,
        budget=str(plan.budget),
        equal=plan.budget.kind,
        against=plan.against,
        score=main,
        scores=scores,
        random_seeds=list(plan.runs),
        methods=rows,
        runs=runs,
        verdict=_judge(rows, plan.against, scores),
        warnings=[*plan.warnings, *_warn(plan, rows, runs)],
        stopped=ended.stopped,
        folder=str(plan.out),
    )


def _scores_of(runs: Sequence[RunRow], main: str) -> dict[str, str]:
    """Return score -> name for the available scores, the main one first."""
    done = next((run for run in runs if run.is_done), None)
    found = {k: name for k, (name, _) in SCORE_NAMES.items() if done and k in done.scores}
    return {k: found[k] for k in sorted(found, key=lambda k: k != main)}


def _summarise(
    plan: Plan,
    entry: Entry,
    runs: Sequence[RunRow],
    said: Mapping[str, Mapping[int, AnsweredTest]],
    main: str,
) -> MethodRow:
    own = [run for run in runs if run.method == entry.name]
    done = [run for run in own if run.is_done]
    reference = {r.random_seed: r for r in runs if r.method == plan.against and r.is_done}
    config = plan.configs.get(entry.name)
    names = list(done[0].scores) if done else []
    values = {name: [run.scores.get(name) for run in done] for name in names}
    costs = ("rows", "train_size", "calls", "prompt_tokens", "completion_tokens", "usd")
    costs = (*costs, "seconds", "training_tokens", "usd_per_1000_predictions")
    values |= {name: [getattr(run, name) for run in done] for name in costs}
    known = {k: [x for x in v if x is not None] for k, v in values.items() if None not in v}
    if done and (speed := read_speed(plan).get(entry.name)):
        known["ms_per_1000_predictions"] = [speed["ms"]]
    against = {}
    if entry.name != plan.against:
        against = compare_answers(said[entry.name], said.get(plan.against, {}))
    return MethodRow(
        name=entry.name,
        sees=_sees(entry, config),
        takes_budget=config is not None and plan.budget.fits(config.method),
        is_reference=getattr(methods().get(entry.method), "is_reference", False),
        seeds=[run.random_seed for run in done],
        mean={name: statistics.fmean(found) for name, found in known.items() if found},
        spread={k: statistics.stdev(known[k]) for k in names if len(known.get(k, ())) > 1},
        against=against,
        curve=_average_curve(done, main),
        by_label=_gain_by_label(done, reference) if entry.name != plan.against else {},
        errors={said: run.hint for run, said in _merge([(r, r.error) for r in own if r.error])},
    )


def _sees(entry: Entry, config: Config | None) -> str:
    """Return which gold a method uses, including through options that every method has."""
    if config is not None:
        return config.method.seen
    return getattr(methods().get(entry.method), "sees", "not said")


def _average_curve(runs: Sequence[RunRow], main: str) -> list[dict[str, float]]:
    """Return means over random seeds by round; a method that stops early has fewer at its end."""
    curve: list[dict[str, float]] = []
    for index in range(max((len(run.rounds) for run in runs), default=0)):
        found = [run.rounds[index] for run in runs if index < len(run.rounds)]
        scores = [row[main] for row in found]
        curve.append(
            {
                "round": index,
                "rows": statistics.fmean(row["rows"] for row in found),
                "calls": statistics.fmean(row["calls"] for row in found),
                "mean": statistics.fmean(scores),
                "spread": statistics.stdev(scores) if len(scores) > 1 else 0.0,
            }
        )
    return curve


def _gain_by_label(
    runs: Sequence[RunRow], reference: Mapping[int, RunRow]
) -> dict[str, dict[str, float]]:
    """Return the mean gain of each label over the reference with the same random seed."""
    pairs = [(run, reference[run.random_seed]) for run in runs if run.random_seed in reference]
    gains: dict[str, dict[str, float]] = {}
    for label in sorted({label for run, _ in pairs for label in run.by_label}):
        both = [(a.by_label[label], b.by_label[label]) for a, b in pairs if label in a.by_label]
        gains[label] = {
            key: statistics.fmean(a[key] - b[key] for a, b in both) for key in ("recall", "f1")
        }
    return gains


def compare_answers(
    first: Mapping[int, AnsweredTest], second: Mapping[int, AnsweredTest]
) -> dict[str, Interval]:
    """Return the paired difference of two methods for each score computed from predictions.

    Args:
        first: Random seed -> predictions of the method's model.
        second: The same for the reference method.

    Returns:
        Score -> interval over the random seeds that both have; empty if they share none.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return {}
    pairs = [(first[seed], second[seed]) for seed in seeds]
    rows = _number_rows([a for a, _ in pairs])
    if isinstance(pairs[0][0].gold[0], dict):
        return {
            name: bootstrap_mean(
                [_rate(a, rate) for a, _ in pairs], [_rate(b, rate) for _, b in pairs], rows
            )
            for name, rate in (("exact_match", exact_match), ("f1", token_f1))
        }
    has_sets = isinstance(pairs[0][0].gold[0], list)
    texts = [
        ([str(label_from_json(own)) for own in a.gold], a.predicted, b.predicted) for a, b in pairs
    ]
    labels = set(chain.from_iterable(chain.from_iterable(texts)))
    names = names_in(labels) if has_sets else sorted(labels)
    encode = membership if has_sets else one_hot
    gold, one, two = ([encode(each[i], names) for each in texts] for i in range(3))
    hits, others = (
        [(said == own).all(axis=1).astype(np.float64) for said, own in zip(of, gold, strict=True)]
        for of in (one, two)
    )
    right = bootstrap_mean(hits, others, rows)
    macro_f1 = bootstrap_f1(gold, one, two, rows, average="macro")
    if not has_sets:
        return {"accuracy": right, "macro_f1": macro_f1}
    micro_f1 = bootstrap_f1(gold, one, two, rows, average="micro")
    return {"micro_f1": micro_f1, "macro_f1": macro_f1, "exact_match": right}


def _rate(answered: AnsweredTest, score: Callable[[str, Sequence[str]], float]) -> Floats:
    pairs = zip(answered.predicted, answered.gold, strict=True)
    return np.array([score(said, gold["text"]) for said, gold in pairs])


def _number_rows(answered: Sequence[AnsweredTest]) -> list[Ints]:
    """Number the test rows of each random seed; equal rows get equal numbers, where known."""
    first = answered[0]
    if all((a.ids, a.gold) == (first.ids, first.gold) for a in answered):
        return [np.arange(len(first.gold))] * len(answered)
    known: dict[Any, int] = {}
    return [
        np.array(
            [
                known.setdefault(a.ids[i] if a.ids else (seed, i), len(known))
                for i in range(len(a.gold))
            ]
        )
        for seed, a in enumerate(answered)
    ]


def _judge(rows: Sequence[MethodRow], against: str, scores: Mapping[str, str]) -> list[str]:
    """Return sentences on wins and losses against the reference; on the first score also ties."""
    said: list[str] = []
    for place, (score, name) in enumerate(scores.items()):
        known = [row for row in rows if score in row.against]
        found = [(row.name, row.against[score]) for row in known if not row.is_reference]
        found.sort(key=lambda pair: -pair[1].mean)
        better = [f"{name} {gain}" for name, gain in found if gain.low > 0]
        worse = [f"{name} {gain}" for name, gain in found if gain.high < 0]
        level = [f"{name} {gain}" for name, gain in found if not gain.is_beyond_noise]
        if found and not better and not place:
            said.append(f"No method beats {against} beyond noise ({name}).")
        for verb, names in (("Better than", better), ("Loses to", worse)):
            if names:
                said.append(f"{verb} {against} ({name}, points): {'; '.join(names)}.")
        if level and not place:
            said.append(f"Within noise of {against} ({name}, points): {'; '.join(level)}.")
        for row in known:
            if row.is_reference and not place:
                gain = row.against[score]
                said.append(f"For reference, {row.name} minus {against} ({name}, points): {gain}.")
    return said


def _warn(plan: Plan, rows: Sequence[MethodRow], runs: Sequence[RunRow]) -> list[str]:
    said: list[str] = []
    key = plan.budget.kind
    used = {m.name: m.mean[key] for m in rows if m.takes_budget and key in m.mean}
    if used and max(used.values()) - min(used.values()) > MOST_APART * max(used.values()):
        listed = ", ".join(f"{name} {amount:,.6g}" for name, amount in used.items())
        unit = "USD" if key == "usd" else f"final {key}" if key == "rows" else key
        said.append(
            f"the methods did not use the same budget ({plan.budget} were planned): "
            f"{unit}, means over random seeds: {listed}"
        )
    if len(plan.runs) == 1:
        said.append(
            "one random seed: the intervals are over test rows alone, and say nothing of how "
            "another random seed would do"
        )
    found = [(run, warning) for run in runs for warning in run.warnings]
    merged = _merge(found)
    return said + [f"{run.method}, random seed {run.random_seed}: {told}" for run, told in merged]


def _merge(found: Sequence[tuple[RunRow, str]]) -> list[tuple[RunRow, str]]:
    """Merge messages that differ only in numbers into the first, with their count."""
    groups: dict[str, list[tuple[RunRow, str]]] = {}
    for run, message in found:
        groups.setdefault(alike(message), []).append((run, message))
    merged: list[tuple[RunRow, str]] = []
    for first, *rest in groups.values():
        others = ", ".join(dict.fromkeys(r.method for r, _ in rest if r.method != first[0].method))
        of = f", also of {others}" if others else ""
        merged.append(
            (first[0], f"{first[1]} ({len(rest)} more like it{of})" if rest else first[1])
        )
    return merged
