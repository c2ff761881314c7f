"""What a run is measured against: the commonest label or set of labels, and a model of gold alone.

Both cost no LLM. A score says little without them: 45 % is nothing where the commonest label has
as much.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any

from stepsynth.data import Gold
from stepsynth.errors import StepsynthError
from stepsynth.metrics import SCORE_NAMES, Z95, AnyPredictions, Spans, always
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
    ours = kept.hits(gold.test.labels).astype(float)
    for name, predict in found:
        selected, said = predict(gold.select), predict(gold.test)
        yield Reference(
            name=name,
            train_size=len(gold.mine),
            select=Scores(**task.score(gold.select, selected)).brief(with_n=True),
            test=Scores(**task.score(gold.test, said)).brief(with_n=True),
            kept_minus=paired_difference(ours - said.hits(gold.test.labels)),
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
    named: list[tuple[str, Scores]] = []
    for each in summary.references:
        cost = f" ({each.train_size} rows, no LLM)" if each.name == GOLD else ""
        named.append((each.name + cost, each.test))
    first, kept = summary.rounds[0], summary.kept
    if first is not kept and first.test is not None:
        named.append(("round 0", first.test))
    named.append((f"round {kept.round}, kept" if len(summary.rounds) > 1 else "kept", summary.test))
    score = next(key for key in ("accuracy", "exact_match") if key in summary.test)
    told = "; ".join(f"{name} {100 * scores[score]:.1f}" for name, scores in named)
    long = SCORE_NAMES[score][0].capitalize()
    said = [f"{long} on {summary.test.n} test rows, %: {told}."]
    better = "the synthetic rows pay" if kept.train_size else "the LLM itself is better"
    return said + [_verdict(each, better) for each in summary.references if each.name == GOLD]


def _verdict(gold: Reference, better: str) -> str:
    mean, low, high = (100 * each for each in gold.kept_minus)
    told = f"Kept minus gold alone: {mean:+.1f} points [{low:+.1f}, {high:+.1f}]"
    if low > 0:
        return f"{told}: {better}."
    if high < 0:
        return f"{told}: gold alone is better here; `stepsynth study advice RUN` says more."
    return f"{told}: within noise."
