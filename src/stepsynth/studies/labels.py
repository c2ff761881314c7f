"""Label preservation: agreement of the rows' labels with a judge that was trained on gold.

As in SynthesizRR (Divekar and Durrett, EMNLP 2024), it is the accuracy, on the synthetic rows, of a
classifier trained on gold. The judge sees the rows of `mine` only. It errs too, so its own accuracy
on gold stands beside its agreement: cross-validated on mine, and on the rows that the method was
not shown. That is a yardstick and no bound: the judge agrees more often with rows that are plainer
than gold.

The second table is SynthesizRR's cartography filter. It keeps the 83 % of each label that a student
trained on the rows themselves is most confident of, over its epochs (the `cartography` study). The
table shows what it would drop, and whether the judge, which knows gold, thinks these rows wrong.
"""

from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from stepsynth._util.text import shorten
from stepsynth.errors import DataError
from stepsynth.metrics import Predictions, wilson_interval
from stepsynth.records import Dataset
from stepsynth.students import FitCallbacks, Student
from stepsynth.students.linear import Linear
from stepsynth.studies._charts import histogram
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Cell, Chart, Findings, Study, Table
from stepsynth.studies.cartography import Cartography

_FOLDS = 5
_SHOWN = 10


class Labels(Study):
    """The `labels` study."""

    name: ClassVar[str] = "labels"

    judge: Literal["linear", "student"] = Field(
        default="linear", description="The judge: `linear`, or the `student` of the task file."
    )
    keep: float = Field(
        default=0.83, gt=0, lt=1, description="Share of each label that the filter keeps."
    )

    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return agreement by label, what the filter would drop, and rows with unlikely labels."""
        warnings: list[str] = []
        agreement: list[tuple[Cell, ...]] = []
        filtered: list[tuple[Cell, ...]] = []
        unlikely: list[tuple[Cell, ...]] = []
        confidences: dict[str, Sequence[float]] = {}
        judges: dict[tuple[Dataset, str], tuple[Student, list[bool]]] = {}
        for subject in subjects:
            key = subject.mine, repr(self._spec(subject))
            if key not in judges:
                judges[key] = self._train(subject)
            judge, crossed = judges[key]
            said = _ask(judge, subject.rows)
            agreement += _compare(subject, said, crossed, _hits(judge, subject.unseen))
            confidences[subject.name] = own = said.of(subject.rows.labels).tolist()
            try:
                filtered += self._filter(subject, said)
            except DataError as error:
                warnings.append(f"no filter: {error.message}")
            unlikely += _least_likely(subject, said, own)
            _warn_of_weak_judge(subject, crossed, warnings)
        chart = histogram(confidences, title="probability of the row's own label")
        agreement_table = Table(
            "Label preservation",
            ("set", "label", "rows", "agreement", "from", "to", "judge on mine", "judge on unseen"),
            tuple(agreement),
            "Agreement: share of rows whose label is what a judge trained on mine says, with its "
            "95 % interval (Wilson). The judge's own accuracy: on mine, 5-fold cross-validated, "
            "and on select and test.",
        )
        row_table = Table(
            "The rows whose label the judge believes least",
            ("set", "label", "judged", "confidence", "text"),
            tuple(unlikely),
            f"{_SHOWN} of each set. Either the row or the judge is wrong.",
        )
        return Findings(
            self.name,
            (agreement_table, self._filter_table(filtered), row_table),
            (Chart("The judge's confidence in a row's own label", chart),),
            tuple(dict.fromkeys(warnings)),
        )

    def _train(self, subject: StudiedRun) -> tuple[Student, list[bool]]:
        """Return a judge trained on mine, and what it gets right of mine, cross-validated.

        Raises:
            DataError: The rows have no labels of a closed set, or a label is too rare.
        """
        names = subject.task.label_names
        if not names:
            raise DataError(
                f"{subject.name}: the labels of {subject.task.name} rows are answers; this study "
                "judges rows with labels of a fixed set",
                hint="`stepsynth study quality` and `diversity` take such rows",
            )
        counts = subject.mine.label_counts()
        rare = [label for label in names if counts[label] < _FOLDS]
        if rare:
            raise DataError(
                f"{subject.name}: mine has fewer than {_FOLDS} rows of {', '.join(rare)}; a judge "
                "cannot be trained and tried on them",
                hint="give more gold rows to mine (data.split.mine)",
            )
        from sklearn.model_selection import StratifiedKFold

        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=self.random_seed)
        mine, right = subject.mine, [False] * len(subject.mine)
        for known, held in folds.split(np.zeros(len(mine)), mine.labels):
            model = self._fit(subject, Dataset(mine[int(i)] for i in known))
            hits = _hits(model, Dataset(mine[int(i)] for i in held))
            for i, hit in zip(held, hits, strict=True):
                right[int(i)] = hit
        return self._fit(subject, mine), right

    def _spec(self, subject: StudiedRun) -> Student:
        """Return the judge, unfitted; hyper-parameters are not searched for it."""
        spec = Linear() if self.judge == "linear" else subject.config.student
        return spec.model_copy(update={"search": None})

    def _fit(self, subject: StudiedRun, rows: Dataset) -> Student:
        student = self._spec(subject).start(subject.task.label_names, self.random_seed)
        score = partial(subject.task.main_score, subject.select)
        student.fit(rows, callbacks=FitCallbacks(subject.select, score))
        return student

    def _filter(self, subject: StudiedRun, said: Predictions) -> list[tuple[Cell, ...]]:
        """Return for each label what the filter keeps and drops, and the judge's agreement."""
        lines: list[tuple[Cell, ...]] = []
        cartography = Cartography(gold="none", random_seed=self.random_seed)
        found = cartography.map_rows(subject, subject.rows, ["synthetic"] * len(subject.rows))
        own = found.confidence
        labels = np.array(subject.rows.labels)
        right = said.hits(subject.rows.labels)
        for label in subject.task.label_names:
            here = np.flatnonzero(labels == label)
            if not len(here):
                continue
            order = here[np.argsort(-own[here], kind="stable")]
            kept, dropped = np.split(order, [ceil(self.keep * len(order))])
            lines.append(
                (
                    subject.name,
                    label,
                    len(kept),
                    len(dropped),
                    float(own[kept[-1]]),
                    float(right[kept].mean()),
                    float(right[dropped].mean()) if len(dropped) else None,
                )
            )
        return lines

    def _filter_table(self, lines: Sequence[tuple[Cell, ...]]) -> Table:
        return Table(
            f"What a filter that keeps the {100 * self.keep:g} % most confident would drop",
            ("set", "label", "kept", "dropped", "confidence", "agreement, kept", "dropped rows"),
            tuple(lines),
            "Confidence: the lowest of a kept row, the mean over epochs of the probability of its "
            "own label, by a student trained on these rows. Agreement: of kept and of dropped rows "
            "with the judge, who was trained on gold; where it is as high for dropped rows, the "
            "filter drops hard rows and not wrong ones.",
        )


def _compare(
    subject: StudiedRun, said: Predictions, crossed: Sequence[bool], unseen: Sequence[bool]
) -> list[tuple[Cell, ...]]:
    """Return agreement over all rows and by label, with the judge's own accuracy on gold."""
    lines: list[tuple[Cell, ...]] = []
    for label in (None, *subject.task.label_names):
        hits = [
            own == judged
            for own, judged in zip(subject.rows.labels, said.labels, strict=True)
            if label in (None, own)
        ]
        if not hits:
            lines.append((subject.name, label, 0, *(None,) * 5))
            continue
        lines.append(
            (
                subject.name,
                "all" if label is None else label,
                len(hits),
                sum(hits) / len(hits),
                *wilson_interval(sum(hits), len(hits)),
                _share(crossed, subject.mine, label),
                _share(unseen, subject.unseen, label),
            )
        )
    return lines


def _least_likely(
    subject: StudiedRun, said: Predictions, own: Sequence[float]
) -> list[tuple[Cell, ...]]:
    judged = said.labels
    return [
        (subject.name, subject.rows.labels[i], judged[i], own[i], shorten(subject.rows[i].text, 90))
        for i in map(int, np.argsort(own, kind="stable")[:_SHOWN])
    ]


def _warn_of_weak_judge(subject: StudiedRun, crossed: Sequence[bool], warnings: list[str]) -> None:
    """Warn if the judge is no better on gold than the commonest label."""
    commonest = max(subject.mine.label_counts().values()) / len(subject.mine)
    accuracy = sum(crossed) / len(crossed)
    if wilson_interval(sum(crossed), len(crossed))[0] <= commonest:
        warnings.append(
            f"{subject.name}: the judge can hardly tell gold labels ({accuracy:.3f} of mine right, "
            f"cross-validated, where the commonest label alone gives {commonest:.3f}); its "
            "agreement says nothing of these rows"
        )


def _ask(judge: Student, rows: Dataset) -> Predictions:
    said = judge.predict_examples(rows)
    assert isinstance(said, Predictions)
    return said


def _hits(judge: Student, rows: Dataset) -> list[bool]:
    return _ask(judge, rows).hits(rows.labels).tolist()


def _share(hits: Sequence[bool], rows: Dataset, label: str | None) -> float | None:
    """Return the share of gold rows of a label that the judge gets right."""
    chosen = [hit for hit, own in zip(hits, rows.labels, strict=True) if label in (None, own)]
    return sum(chosen) / len(chosen) if chosen else None
