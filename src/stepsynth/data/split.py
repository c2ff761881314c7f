"""The stratified split of gold into mine, select and test, disjoint also as normalised text."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from stepsynth._util.rng import make_rng
from stepsynth._util.text import normalise, shorten
from stepsynth._util.words import listed
from stepsynth.curation import Gate, Key, row_key
from stepsynth.data.bad_rows import MOST_TOLD
from stepsynth.data.section import Split
from stepsynth.errors import DataError
from stepsynth.records import Context, Dataset, Example, names_of
from stepsynth.tasks import Task

T = TypeVar("T")
Size = int | float | None
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Gold:
    """The three splits. Only the runner holds this object; a method gets `mine` and `select`.

    Attributes:
        mine: Rows that errors are mined from.
        select: Rows that choose between rounds.
        test: Rows that are scored once, at the end.
        dropped: Reason -> number of gold rows that were left out.
    """

    mine: Dataset
    select: Dataset
    test: Dataset
    dropped: Mapping[str, int]


def split_gold(
    gold: Dataset,
    *,
    select: Dataset | None = None,
    test: Dataset | None = None,
    sizes: Split | None = None,
    paper_splits: bool = False,
    label_names: tuple[str, ...],
    random_seed: int,
    warn: Warn,
    near: bool = True,
) -> Gold:
    """Divide gold.

    Args:
        gold: All labelled rows that may be used.
        select: Rows to select on, if they are given separately.
        test: Test rows, if they are given separately; rows of gold and select that are copies or
            near copies of one are dropped.
        sizes: Rows (whole numbers) or shares of gold (decimals). Default: a third to select on and
            the rest to mine; a quarter each to select and test if no test is given. Rows that
            share their context with a held-out row drawn here, or are near copies of it, are
            dropped.
        paper_splits: Select on the mined rows, as the paper does.
        label_names: The labels; each split needs two of them.
        random_seed: Decides the split.
        warn: Called with a sentence for each kind of dropped row and each split lacking a label.
        near: Drop near copies of held-out rows as well as exact ones.

    Raises:
        DataError: There are too few rows, or a split has fewer than two labels.
    """
    drop, sizes = _Drop(near), sizes or Split()
    if select is not None and test is not None:
        select = drop.copies(select, test, "the same text in select as in a test row")
    if not gold and select is not None and test is not None:
        return Gold(Dataset(), select, test, drop.counts)
    rows = drop.duplicates(gold)
    for held_out, whose in ((test, "a test row"), (select, "a row of select")):
        rows = (
            rows if held_out is None else drop.copies(rows, held_out, f"the same text as {whose}")
        )
    has_select = select is not None or paper_splits
    wanted = _choose_sizes(sizes, has_test=test is not None, has_select=has_select)
    if gold and not rows:
        raise DataError(
            f"no gold row is left to learn from: {_reasons(drop.counts)}",
            hint="give gold rows that are not in test or select",
        )
    parts = _take(rows, wanted, make_rng(random_seed, "split"))
    if test is None:
        for name in ("select", "mine"):
            parts[name] = drop.relatives(parts[name], parts["test"], "a test row")
    if select is None:
        parts["mine"] = drop.relatives(parts["mine"], parts["select"], "a row of select")
    for reason, count in drop.counts.items():
        were = "row was" if count == 1 else "rows were"
        warn(f"{count} gold {were} dropped: {reason}")
    mine = parts["mine"]
    gold_splits = Gold(
        mine=mine,
        select=mine if paper_splits else select if select is not None else parts["select"],
        test=test if test is not None else parts["test"],
        dropped=drop.counts,
    )
    check_labels(gold_splits, label_names, warn)
    return gold_splits


def _choose_sizes(sizes: Split, *, has_test: bool, has_select: bool) -> dict[str, Size]:
    """Return the sizes of the parts of gold, in the order in which they are drawn."""
    if sizes.test is not None and has_test:
        raise DataError("data.split.test is set, but a test file is given too", hint="drop one")
    if sizes.select is not None and has_select:
        raise DataError("data.split.select is set, but rows to select on are given too")
    return {
        "test": 0 if has_test else _or(sizes.test, 0.25),
        "select": 0 if has_select else _or(sizes.select, 1 / 3 if has_test else 0.25),
        "mine": sizes.mine,
    }


def _or(size: Size, default: float) -> float:
    return default if size is None else size


class _Drop:
    """A filter of gold rows that counts the dropped ones by reason.

    Args:
        near: Whether near copies are dropped too.
    """

    def __init__(self, near: bool) -> None:
        self.counts = Counter[str]()
        self._near = near

    def duplicates(self, rows: Dataset) -> Dataset:
        """Return the first of each group of rows with the same normalised text."""
        first: dict[Key, Example] = {}
        for row in rows:
            kept = first.setdefault(row_key(row), row)
            if kept is not row:
                reason = "a duplicate of another gold row"
                if kept.label != row.label:
                    start = "the text of another gold row under another label"
                    known = (said for said in self.counts if said.startswith(start))
                    reason = next(known, f"{start} ({_example(row, kept)})")
                self.counts[reason] += 1
        return Dataset(first.values())

    def copies(self, rows: Dataset, others: Dataset, reason: str) -> Dataset:
        """Return the rows that are no copies of others, nor near copies if those are dropped."""
        gate = Gate({"others": others})
        kept: list[Example] = []
        for row in rows:
            found = gate.stop_row(row) or ""
            is_near = found.startswith("near")
            if found and (self._near or not is_near):
                nearly = f"nearly {reason} (curation.copies: false keeps such rows)"
                self.counts[nearly if is_near else reason] += 1
            else:
                kept.append(row)
        return Dataset(kept)

    def relatives(self, rows: Dataset, others: Dataset, whose: str) -> Dataset:
        """Return the rows that share no context and no copied text with another split."""
        theirs = {normalise(row.context) for row in others if row.context}
        kept: list[Example] = []
        for row in rows:
            if row.context and normalise(row.context) in theirs:
                self.counts[f"the same context as {whose}"] += 1
            else:
                kept.append(row)
        return self.copies(Dataset(kept), others, f"the same text as {whose}")


def _example(row: Example, kept: Example) -> str:
    labels = f"{str(kept.label)!r} is kept, {str(row.label)!r} is not"
    return f"such as {shorten(row.text, 40)!r}: {labels}"


def _take(rows: Dataset, sizes: Mapping[str, Size], rng: Random) -> dict[str, Dataset]:
    """Take splits of the given sizes, each with the label mix of all rows; None takes the rest."""
    wanted = _in_rows(sizes, len(rows))
    asked = sum(size or 0 for size in wanted.values())
    if asked > len(rows) or (asked == len(rows) and None in wanted.values()):
        listed = ", ".join(f"{n}: {s}" for n, s in wanted.items() if s)
        raise DataError(
            f"data.split asks for {listed}, but gold has {len(rows)} usable rows",
            hint="ask for fewer rows, or for shares such as 0.25",
        )
    by_label: dict[str, list[int]] = defaultdict(list)
    for i, stratum in enumerate(_strata(rows)):
        by_label[stratum].append(i)
    for indexes in by_label.values():
        rng.shuffle(indexes)
    # Rows of one context stay together, so that hardly any context is cut in two.
    contexts = list(dict.fromkeys(row.context for row in rows))
    place = {context: i for i, context in enumerate(rng.sample(contexts, len(contexts)))}
    for indexes in by_label.values():
        indexes.sort(key=lambda i: place[rows[i].context])
    taken: dict[str, list[int]] = {}
    draws = _draws({label: len(v) for label, v in by_label.items()}, wanted)
    for name, shares in draws.items():
        taken[name] = []
        for label, share in shares.items():
            taken[name] += by_label[label][:share]
            del by_label[label][:share]
    return {name: Dataset(rows[i] for i in sorted(chosen)) for name, chosen in taken.items()}


def _strata(rows: Dataset) -> list[str]:
    """Return the label whose share each row counts to: of a set of labels, the rarest.

    Most sets that occur once would otherwise be mined from, and none tested on.
    """
    counts = rows.label_counts()
    return [
        min(names_of(row.label), key=lambda name: counts[name], default=row.stratum) for row in rows
    ]


def _draws(
    counts: Mapping[str, int], wanted: Mapping[str, int | None]
) -> dict[str, dict[str, int]]:
    """Return split -> label -> rows to take, with the label mix of all rows in each split.

    A rare label could then have no row in `mine`, and could not be learnt. If `mine` has room, each
    such label gets one row there before the others are drawn, unless that leaves another split
    with a single label.
    """
    drawn = draws = _by_size(counts, wanted)
    size = wanted["mine"]
    room = sum(counts.values()) - sum(n or 0 for n in wanted.values()) if size is None else size
    held: set[str] = set()
    while lacking := {k for k, share in draws["mine"].items() if k and counts[k] and not share}:
        held |= lacking
        if len(held) > room:
            return drawn
        rest = {label: count - (label in held) for label, count in counts.items()}
        draws = _by_size(rest, {**wanted, "mine": None if size is None else size - len(held)})
        draws["mine"] = {k: share + (k in held) for k, share in draws["mine"].items()}
    is_worse = any(_labels(draws[name]) < 2 <= _labels(drawn[name]) for name in wanted)
    return drawn if is_worse else draws


def _labels(shares: Mapping[str, int]) -> int:
    return sum(share > 0 for share in shares.values())


def _by_size(
    counts: Mapping[str, int], wanted: Mapping[str, int | None]
) -> dict[str, dict[str, int]]:
    left = dict(counts)
    draws: dict[str, dict[str, int]] = {}
    for name, size in wanted.items():
        draws[name] = _shares(left, sum(left.values()) if size is None else size)
        left = {label: count - draws[name][label] for label, count in left.items()}
    return draws


def _in_rows(sizes: Mapping[str, Size], total: int) -> dict[str, int | None]:
    """Return sizes in rows; shares are rounded together, so that a sum of 1.0 fits exactly."""
    shares = sum(size for size in sizes.values() if isinstance(size, float))
    if shares > 1 + 1e-9:
        raise DataError(
            f"data.split: the shares of gold are {shares:g} in all", hint="1.0 is all of gold"
        )
    wanted: dict[str, int | None] = {}
    end = 0.0
    for name, size in sizes.items():
        if isinstance(size, float):
            start, end = end, end + size
            wanted[name] = round(end * total + 1e-9) - round(start * total + 1e-9)
        else:
            wanted[name] = size
    return wanted


def _shares(available: Mapping[str, int], size: int) -> dict[str, int]:
    """Divide `size` over labels in proportion to what is available, by largest remainder."""
    total = sum(available.values()) or 1
    exact = {label: size * count / total for label, count in available.items()}
    shares = {label: int(value) for label, value in exact.items()}
    by_remainder = sorted(exact, key=lambda label: shares[label] - exact[label])
    for label in by_remainder[: size - sum(shares.values())]:
        shares[label] += 1
    return shares


def make_gate(gold: Gold, *, is_open: bool) -> Gate:
    """Return the filter of copies of held-out rows.

    Args:
        gold: The splits; in the paper's, `select` is `mine` and so is not held out.
        is_open: Let copies pass, and only count them.
    """
    splits = {"test": gold.test, "select": gold.select}
    held_out = {name: rows for name, rows in splits.items() if rows is not gold.mine}
    return Gate(held_out, is_open=is_open)


def choose_contexts(
    gold: Gold, given: Sequence[Context] | None, task: Task, gate: Gate, warn: Warn
) -> tuple[Context, ...]:
    """Return the contexts for seed data: those given, or those of the mined rows.

    Args:
        gold: The splits.
        given: Contexts from a file; None: those of gold; empty: the LLM writes them.
        task: Makes a context of a gold row.
        gate: Stops contexts of held-out rows, so that no synthetic row is about them.
        warn: Called with a sentence where contexts were dropped, or shared by mine and test.

    Raises:
        DataError: No context is left.
    """
    tested, selected = (
        {normalise(row.context) for row in rows if row.context and rows is not gold.mine}
        for rows in (gold.test, gold.select)
    )
    shared = sum(normalise(row.context or "") in tested for row in gold.mine)
    if shared:
        warn(
            f"{shared} of {len(gold.mine)} rows of mine have a context that a test row has "
            "too: test scores may be too high; give test rows with contexts of their own"
        )
    if given is None:
        # Near copies may stay: their rows passed the gate, and are shown to the LLM with them.
        found = list(dict.fromkeys(map(task.context_of, gold.mine)))
        held_out = tested | selected
        kept = [context for context in found if normalise(context.text) not in held_out]
        if len(kept) < len(found):
            said = "a test or select row has the same"
            warn(f"{len(found) - len(kept)} contexts of gold were left out: {said}")
    else:
        found = list(given)
        kept = list(screen(found, lambda context: gate.stop_text(context.text), "contexts", warn))
    if found and not kept:
        raise DataError(
            "every context that seed data could be written for is one of a test or select row",
            hint="data: {contexts: contexts.jsonl} gives others; what is held out must not be "
            "written about",
        )
    return tuple(kept)


def screen(
    items: Iterable[T], stop: Callable[[T], str | None], what: str, warn: Warn
) -> Iterator[T]:
    """Yield the items that are not stopped; in the end, warn of how many were, by reason."""
    reasons, kept = Counter[str](), 0
    for item in items:
        reason = stop(item)
        if reason is None:
            kept += 1
            yield item
        else:
            reasons[reason] += 1
    for reason, count in reasons.items():
        words = reason.replace("_", " ")
        warn(f"{what}: {count} of {kept + reasons.total()} were left out: {words}")


def _reasons(dropped: Mapping[str, int]) -> str:
    return "; ".join(f"{count} were dropped: {reason}" for reason, count in dropped.items())


def check_labels(gold: Gold, label_names: tuple[str, ...], warn: Warn) -> None:
    """Check that each split has two labels (of questions: a row), and warn of those it lacks.

    Raises:
        DataError: One has not; the hint says which rows were dropped.
    """
    lost = f"; of those given, {_reasons(gold.dropped)}" if gold.dropped else ""
    for name, rows in (("mine", gold.mine), ("select", gold.select), ("test", gold.test)):
        if not label_names and not rows:
            raise DataError(
                f"the {name} split has no row", hint=f"give more rows, or another data.split{lost}"
            )
        if not label_names:
            continue
        present = [label for label in label_names if rows.label_counts()[label]]
        if len(present) < 2:
            what = f"only the label {present[0]!r}" if present else "no row"
            raise DataError(
                f"the {name} split has {what}; at least two labels are needed",
                hint=f"give more labelled rows, or another data.split{lost}",
            )
        missing = [label for label in label_names if label not in present]
        if missing:
            told = listed(list(map(repr, missing)), MOST_TOLD)
            warn(f"the {name} split has no row with the label {told}")
