"""Samples that make sets of rows of different sizes and label mixes comparable."""

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from stepsynth._util.rng import make_rng
from stepsynth._util.text import normalise
from stepsynth.records import Dataset, Example
from stepsynth.studies._studied_run import StudiedRun


def draw(rows: Dataset, size: int, rng: Random) -> Dataset:
    """Return `size` random rows, in their order; all rows if there are no more."""
    if len(rows) <= size:
        return rows
    return Dataset(rows[i] for i in sorted(rng.sample(range(len(rows)), size)))


def without_copies(rows: Dataset) -> Dataset:
    """Return the first of each group of rows with the same normalised text."""
    first: dict[str, Example] = {}
    for row in rows:
        first.setdefault(normalise(row.text), row)
    return Dataset(first.values())


def draw_alike(sets: Sequence[Dataset], size: int, random_seed: int) -> list[Dataset]:
    """Return equally many rows of each label from every set, so that the label mixes are equal.

    Args:
        sets: Two or more.
        size: Most rows of each set.
        random_seed: Seed of the draws. Other sets change only the number of rows drawn from a
            set, so that several sets meet the same gold rows.

    Returns:
        For each label, as many rows as the set with the fewest has, scaled down to `size` in all.
        Answers count as one label.
    """
    by_label = [rows.by_label() for rows in sets]
    least = {label: min(len(groups.get(label, ())) for groups in by_label) for label in by_label[0]}
    total = sum(least.values())
    share = min(1.0, size / total) if total else 0.0
    sizes = {label: int(count * share + 1e-9) for label, count in least.items()}
    return [
        Dataset(
            row
            for label, count in sizes.items()
            for row in draw(Dataset(groups.get(label, ())), count, make_rng(random_seed, i, label))
        )
        for i, groups in enumerate(by_label)
    ]


def halve(rows: Dataset, rng: Random) -> tuple[Dataset, Dataset]:
    """Return two disjoint halves, each with half of the rows of each label."""
    first: list[Example] = []
    second: list[Example] = []
    for group in rows.by_label().values():
        shuffled = rng.sample(group, len(group))
        middle = len(shuffled) // 2
        first += shuffled[:middle]
        second += shuffled[middle : 2 * middle]
    return Dataset(first), Dataset(second)


def gold_sets(subjects: Sequence[StudiedRun]) -> list[tuple[str, Dataset]]:
    """Return the different sets of gold rows of the subjects, each with a name."""
    named: dict[Dataset, list[str]] = defaultdict(list)
    for subject in subjects:
        if subject.gold:
            named[subject.gold].append(subject.name)
    if len(named) == 1:
        return [("gold", gold) for gold in named]
    return [(f"gold of {', '.join(names)}", gold) for gold, names in named.items()]
