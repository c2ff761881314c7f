"""Two finished runs beside each other: settings, scores, training rows, cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stepsynth._util.nested import flatten
from stepsynth.comparison.table import compare_answers
from stepsynth.errors import RunFolderError
from stepsynth.metrics import Interval
from stepsynth.records import Dataset, Example
from stepsynth.run_records import AnsweredTest
from stepsynth.runfolder import Run
from stepsynth.taskfile import read_yaml

Key = tuple[str, str | None]
"""Text and context of a row."""

Pair = tuple[Any, Any]
"""A value of A, and that of B; None: it has none."""


@dataclass(frozen=True)
class RowChanges:
    """Training rows that are not in both runs; a text counts once.

    Attributes:
        only_a: Rows of A whose text is not in B.
        only_b: Rows of B whose text is not in A.
        relabelled: Rows of both with other labels: that of A, and that of B.
        same: Number of texts with the same label in both.
    """

    only_a: list[Example]
    only_b: list[Example]
    relabelled: list[tuple[Example, Example]]
    same: int


@dataclass(frozen=True)
class TwoRuns:
    """What sets two runs apart.

    Attributes:
        settings: Key of the task file -> its values, where they differ.
        scores: Score -> its values on test, 0-1.
        gains: Score -> B minus A on the same test rows.
        why_no_gains: Why there are none.
        rows: What differs in the training rows; None: `why_no_rows` says why not.
        cost: requests, prompt_tokens, completion_tokens, usd and seconds of both.
    """

    settings: dict[str, Pair]
    scores: dict[str, Pair]
    gains: dict[str, Interval]
    why_no_gains: str
    rows: RowChanges | None
    why_no_rows: str
    cost: dict[str, Pair]

    def to_dict(self, *, examples: int) -> dict[str, Any]:
        """Return the JSON form, with so many examples of the rows of each kind."""
        pairs = {
            name: {key: {"a": a, "b": b} for key, (a, b) in getattr(self, name).items()}
            for name in ("settings", "scores", "cost")
        }
        gains = {key: asdict(gain) for key, gain in self.gains.items()}
        rows: dict[str, Any] = {"why_not": self.why_no_rows or None}
        if self.rows is not None:
            found = self.rows
            changed = [
                {"text": a.text, "a": str(a.label), "b": str(b.label)} for a, b in found.relabelled
            ]
            rows |= {
                "only_a": _told([_plain(row) for row in found.only_a], examples),
                "only_b": _told([_plain(row) for row in found.only_b], examples),
                "relabelled": _told(changed, examples),
                "same": found.same,
            }
        return {**pairs, "gains": gains, "why_no_gains": self.why_no_gains or None, "rows": rows}


def compare_two(a: Run, b: Run) -> TwoRuns:
    """Return what sets two runs apart; what a run lacks has a reason in its place.

    Raises:
        RunFolderError: The settings of a run cannot be read.
    """
    one, two = (dict(flatten(read_yaml(run.folder.config).values)) for run in (a, b))
    keys = dict.fromkeys([*one, *two])
    gains, why_no_gains = _gains(a, b)
    rows, why_no_rows = None, ""
    try:
        rows = compare_rows(a.dataset, b.dataset)
    except RunFolderError as error:
        why_no_rows = error.message
    return TwoRuns(
        {k: (one.get(k), two.get(k)) for k in keys if one.get(k) != two.get(k)},
        _join(_scores(a), _scores(b)),
        gains,
        why_no_gains,
        rows,
        why_no_rows,
        _join(_cost(a), _cost(b)),
    )


def compare_rows(a: Dataset, b: Dataset) -> RowChanges:
    """Return what differs in the rows of two data sets; of equal texts the first row counts."""
    one, two = dict[Key, Example](), dict[Key, Example]()
    for rows, found in ((a, one), (b, two)):
        for row in rows:
            found.setdefault((row.text, row.context), row)
    both = [(row, two[key]) for key, row in one.items() if key in two]
    relabelled = [(first, second) for first, second in both if first.label != second.label]
    return RowChanges(
        [row for key, row in one.items() if key not in two],
        [row for key, row in two.items() if key not in one],
        relabelled,
        len(both) - len(relabelled),
    )


def _gains(a: Run, b: Run) -> tuple[dict[str, Interval], str]:
    """Return the paired differences of the scores, or why there are none."""
    try:
        one, two = _by_id(a.kept.answers), _by_id(b.kept.answers)
    except RunFolderError as error:
        return {}, error.message
    if one is None or two is None:
        return (
            {},
            "an earlier version, which wrote one of the runs, did not keep the test rows' ids",
        )
    if one.ids != two.ids:
        known = set(one.ids or ())
        shared = sum(each in known for each in two.ids or ())
        return {}, (
            f"the test rows are not the same: {len(one.gold)} in A, {len(two.gold)} in B, "
            f"{shared} in both"
        )
    return compare_answers({0: two}, {0: one}), ""


def _by_id(answered: AnsweredTest) -> AnsweredTest | None:
    """Return the predictions in the order of the rows' ids; None: these are not known.

    Raises:
        RunFolderError: A row lacks its label or its prediction.
    """
    if answered.ids is None:
        return None
    if not len(answered.ids) == len(answered.gold) == len(answered.predicted):
        raise RunFolderError("the predictions on the test rows are damaged: some are missing")
    order = sorted(range(len(answered.ids)), key=answered.ids.__getitem__)
    return AnsweredTest(
        ids=tuple(answered.ids[i] for i in order),
        gold=tuple(answered.gold[i] for i in order),
        predicted=tuple(answered.predicted[i] for i in order),
    )


def _scores(run: Run) -> dict[str, float]:
    test = run.summary.test if run.is_done else None
    return dict(test.known()) if test is not None else {}


def _cost(run: Run) -> dict[str, float | None]:
    if not run.is_done:
        return {}
    llm = run.summary.llm
    return {
        "requests": llm.calls,
        "prompt_tokens": llm.prompt_tokens,
        "completion_tokens": llm.completion_tokens,
        "usd": llm.usd,
        "seconds": run.summary.seconds,
    }


def _join(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    return {key: (a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b])}


def _plain(row: Example) -> dict[str, str]:
    return {"text": row.text, "label": str(row.label)}


def _told(rows: list[dict[str, str]], examples: int) -> dict[str, Any]:
    return {"count": len(rows), "examples": rows[:examples]}
