"""What a run is measured against: the commonest label or set of labels, and a model of gold alone.

Both cost no LLM. A score says little without them: 45 % is nothing where the commonest label has
as much.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any

import numpy as np

from stepsynth.data import Gold
from stepsynth.errors import StepsynthError
from stepsynth.metrics import SCORE_NAMES, Z95, AnyPredictions, Interval, Spans, always
from stepsynth.records import Dataset, names_of
from stepsynth.run_records import Reference, Scores, Summary
from stepsynth.students import StudentFactory
from stepsynth.tasks import Task

MAJORITY, GOLD = "majority class", "gold alone"


def references(
    task: Task, gold: Gold, factory: StudentFactory, kept: AnyPredictions, *, is_gold: bool
) -> Iterator[Reference]:
    """Yield the references of a run; none for questions, which have no labels.

    Args:
        task: Scores them.
        gold: All gold rows.
        factory: Makes the student of gold alone.
        kept: What the model that is kept says of the test rows.
        is_gold: That is a model of gold alone itself.
    """
    if isinstance(kept, Spans) or not gold.mine:
        return
    found: list[tuple[str, Callable[[Dataset], Any]]] = [(MAJORITY, _majority(task, gold.mine))]
    if not is_gold:
        model = factory.new(as_given=True)
        try:
            model.fit(gold.mine)
            found.append((GOLD, model.predict))
        except StepsynthError:
            pass  # a label without gold rows
    ours, names = kept.hits(gold.test.labels).astype(float), task.label_names
    own = np.array([np.isin(names, names_of(row.label)) for row in gold.test])
    for name, predict in found:
        selected, said = predict(gold.select), predict(gold.test)
        gains = kept.given.astype(float) - said.given
        yield Reference(
            name=name,
            train_size=len(gold.mine),
            select=Scores(**task.score(gold.select, selected)).brief("n"),
            test=Scores(**task.score(gold.test, said)).brief("n", "by_label"),
            kept_minus=paired_difference(ours - said.hits(gold.test.labels)),
            kept_minus_by_label={
                label: paired_difference(gains[rows, i])
                for i, (label, rows) in enumerate(zip(names, own.T, strict=True))
                if rows.any()
            },
        )


def paired_difference(gain: Any) -> tuple[float, float, float]:
    """Return the mean of paired differences of hits, and its 95 % interval.

    Agresti and Min, "Simple improved confidence intervals for comparing matched proportions"
    (2005): half a row is added to each of the four cases, so that few rows are never certain.

    Args:
        gain: (n,) 1: only the first is right; -1: only the second; 0: both or neither.
    """
    n, plus, minus = len(gain) + 2, float((gain > 0).sum()) + 0.5, float((gain < 0).sum()) + 0.5
    middle = (plus - minus) / n
    half = Z95 * sqrt(max(0.0, plus + minus - (plus - minus) ** 2 / n)) / n
    mean = float(gain.mean())
    return mean, max(-1.0, min(middle - half, mean)), min(1.0, max(middle + half, mean))


def _majority(task: Task, rows: Dataset) -> Callable[[Dataset], AnyPredictions]:
    """Return what always predicts the commonest label, or the commonest set of labels."""
    counts = Counter(row.label for row in rows)
    place = {name: i for i, name in enumerate(task.label_names)}
    best = min(counts, key=lambda label: (-counts[label], [place[x] for x in names_of(label)]))
    return lambda given: always(best, task.label_names, len(given))


def against_references(summary: Summary) -> list[str]:
    """Return how good a run is beside its references, in sentences; none: it has none."""
    if not summary.references or summary.test is None:
        return []
    score = next(key for key in ("accuracy", "exact_match") if key in summary.test)
    sizes = {each.name: each.train_size for each in summary.references}
    cost = {GOLD: f" ({sizes[GOLD]} rows, no LLM)"} if GOLD in sizes else {}
    told = "; ".join(
        f"{name}{cost.get(name, '')} {100 * scores[score]:.1f}" for name, scores in _named(summary)
    )
    long = SCORE_NAMES[score][0].capitalize()
    said = [f"{long} on {summary.test.n} test rows, %: {told}."]
    better = "the synthetic rows pay" if summary.kept.train_size else "the LLM itself is better"
    # There are no studies of sets of labels, nor of a run without rows.
    has_study = summary.kept.train_size > 0 and "micro_f1" not in summary.test
    return said + [
        _verdict(each, better, has_study=has_study)
        for each in summary.references
        if each.name == GOLD
    ]


def label_table(summary: Summary) -> tuple[list[tuple[str, bool]], list[list[str]]]:
    """Return F1 by label, in %, beside the references: columns (name, is a number), and rows.

    The last column is the recall of the kept model minus that of gold alone. There are no rows
    where there are no labels, or an earlier version did not score them.
    """
    named = [(name, scores.by_label) for name, scores in _named(summary) if scores.by_label]
    of_gold = [each.kept_minus_by_label for each in summary.references if each.name == GOLD]
    minus = of_gold[0] if of_gold else {}
    columns = [("label", False), ("test rows", True)]
    columns += [(name, True) for name, _ in named]
    columns += [("recall minus gold alone's", True)] if minus else []
    found: dict[str, list[str]] = {}
    for label in dict.fromkeys(label for _, each in named for label in each):
        scored = [each.get(label) for _, each in named]
        rows = next(int(row["rows"]) for row in scored if row)
        told = [f"{100 * row['f1']:.1f}" if row else "–" for row in scored]
        difference = [str(Interval(*minus[label])) if label in minus else "–"] if minus else []
        found[label] = [label, str(rows), *told, *difference]
    return columns, list(found.values())


def _named(summary: Summary) -> list[tuple[str, Scores]]:
    """Return name and test scores of the references, of round 0 and of the kept round."""
    named = [(each.name, each.test) for each in summary.references]
    first, kept = summary.rounds[0], summary.kept
    if first is not kept and first.test is not None:
        named.append(("round 0", first.test))
    if summary.test is not None:
        name = f"round {kept.round}, kept" if len(summary.rounds) > 1 else "kept"
        named.append((name, summary.test))
    return named


def _verdict(gold: Reference, better: str, *, has_study: bool) -> str:
    mean, low, high = (100 * each for each in gold.kept_minus)
    told = f"Kept minus gold alone: {mean:+.1f} points [{low:+.1f}, {high:+.1f}]"
    if low > 0:
        return f"{told}: {better}."
    if high < 0:
        more = "; `stepsynth study advice RUN` says more" if has_study else ""
        return f"{told}: gold alone is better here{more}."
    return f"{told}: within noise."
