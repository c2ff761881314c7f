"""The distribution gap by round (S3, Figure 1).

In Figure 1 of Wang, Zhou, Sachan (Findings of EMNLP 2023), a student trained on ZeroGen's data
nears 100 % accuracy on its training rows, while its accuracy on gold stays low: it has learnt the
synthetic distribution, which differs from gold's. Rounds of error extrapolation are meant to close
the gap. The yardstick is a student of the same kind trained on the gold rows of `mine`: its gap is
the cost of learning from that many rows without any difference of distributions.

Each round's model is the run's own, if the run folder has it. Otherwise it is trained again on the
round's rows, with the run's student and seed, and the table says so. Test scores are those that the
run recorded; only the gold-trained student is scored on test here. Nothing is chosen by these
numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from stepsynth.errors import RunFolderError
from stepsynth.metrics import AnyPredictions
from stepsynth.records import Dataset, union
from stepsynth.runfolder import RunRound
from stepsynth.studies._charts import line_chart
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Cell, Chart, Findings, Study, Table
from stepsynth.studies._training import make_factory, score_name, score_rows

GOLD_TRAINED = "trained on mine"
SPLITS = ("training rows", "mine", "select", "test")


@dataclass(frozen=True)
class Trained:
    """A model and what it was trained on.

    Attributes:
        rows: Its training rows.
        predict: Rows -> predictions.
        origin: Origin of the model: "kept", "of the run", "trained again".
    """

    rows: Dataset
    predict: Callable[[Dataset], AnyPredictions]
    origin: str


class Gap(Study):
    """Figure 1: accuracy on the training rows against accuracy on gold, by round."""

    name: ClassVar[str] = "gap"

    gold: bool = Field(
        default=True, description="Train a student of the same kind on `mine` beside them."
    )

    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return the table of all runs and a chart of each.

        Raises:
            RunFolderError: A subject is a file, not a run.
        """
        rows: list[tuple[Cell, ...]] = []
        charts: list[Chart] = []
        warnings: list[str] = []
        for subject in subjects:
            if subject.run is None or not subject.rounds:
                raise RunFolderError(
                    f"{subject.name}: the gap is that of the rounds of a run, and this is a file",
                    hint="give a run folder",
                )
            found = list(self._rounds(subject, warnings))
            if self.gold:
                self._on_progress(f"{subject.name}: gold-trained", 0, 1)
                found.append(_of_gold(subject))
            rows += [(subject.name, *row) for row in found]
            charts.append(_chart(subject, found))
            if subject.select == subject.mine:
                warnings.append(
                    f"{subject.name}: its select rows are its mine rows (paper_splits), so the "
                    "gold-trained student is scored on rows that it was trained on"
                )
        name = score_name(subjects[0]).replace("_", " ")
        table = Table(
            f"Distribution gap: {name} on the rows trained on, and on gold",
            ("run", "round", "trained on", "model", *SPLITS, "gap"),
            tuple(rows),
            "Gap: training rows less test. Model: the run's own, or trained again here from "
            "rounds/*/examples.jsonl with its student and seed. Test of the rounds is what the run "
            "wrote down; it has chosen nothing.",
        )
        return Findings(self.name, (table,), tuple(charts), tuple(warnings))

    def _rounds(self, subject: StudiedRun, warnings: list[str]) -> Iterator[tuple[Cell, ...]]:
        name = score_name(subject)
        for i, done in enumerate(subject.rounds):
            self._on_progress(f"{subject.name}: rounds", i, len(subject.rounds))
            model = find_model(subject, done, warnings)
            own, mine = (
                score_rows(subject, rows, model.predict) for rows in (model.rows, subject.mine)
            )
            select = done.metrics.select[name]
            test = done.metrics.test and done.metrics.test[name]
            gap = None if test is None else own - test
            yield f"{done.index}", len(model.rows), model.origin, own, mine, select, test, gap
        self._on_progress(f"{subject.name}: rounds", len(subject.rounds), len(subject.rounds))


def find_model(subject: StudiedRun, done: RunRound, warnings: list[str]) -> Trained:
    """Return the model of a round: the run's own where it is on disk, else trained again.

    Args:
        subject: A run.
        done: The round.
        warnings: Extended where the model is not the run's.
    """
    assert subject.run is not None
    if subject.summary and subject.summary.kept_round == done.index:
        gold = subject.mine if subject.config.method.joins_gold else ()
        rows = union(subject.rows, gold)
        return Trained(rows, subject.load_model().predict_examples, "kept")
    rows = _find_rows(subject, done)
    if rows is None:
        rows = subject.train_after(done.index)
        warnings.append(
            f"{subject.name}: the rows that round {done.index} was trained on are not those that "
            "the rounds so far added (they were weighed, dropped or joined with gold rows); it is "
            "trained on the added rows here, and its model is another than the run's"
        )
    memory = subject.run.folder.fitted
    factory = make_factory(subject, memory)
    is_there = (memory / factory.digest(rows, None)).is_dir()
    model = factory.new()
    model.fit(rows)
    # With train_on: both, errors were mined with another model than the one that was scored.
    if not is_there and not subject.config.method.joins_gold:
        said = model.predict(subject.mine).labels
        missed = {
            row.id
            for row, label in zip(subject.mine, said, strict=True)
            if not subject.task.is_correct(row, label)
        }
        known = {row.example.id for row in done.missed}
        if missed != known:
            warnings.append(
                f"{subject.name}: round {done.index}, trained again, errs on {len(missed ^ known)} "
                "rows of mine where the run's own model did not, or the other way round"
            )
    return Trained(rows, model.predict, "of the run" if is_there else "trained again")


def _find_rows(subject: StudiedRun, done: RunRound) -> Dataset | None:
    """Return the rows that a round was trained on, by the run's digest; None: not found."""
    assert subject.run is not None
    wanted = subject.run.manifest.rows.get(done.index) if subject.run.is_done else None
    so_far = subject.train_after(done.index)
    if wanted is None:  # a run that was stopped
        return so_far
    candidates = (so_far, done.added, union(so_far, subject.mine), union(done.added, subject.mine))
    return next((rows for rows in candidates if rows.digest() == wanted), None)


def _of_gold(subject: StudiedRun) -> tuple[Cell, ...]:
    """Return the table row of a student that is trained on `mine`."""
    assert subject.run is not None
    model = make_factory(subject, subject.run.folder.fitted).new()
    model.fit(subject.mine)
    own, select, test = (
        score_rows(subject, rows, model.predict)
        for rows in (subject.mine, subject.select, subject.test)
    )
    return GOLD_TRAINED, len(subject.mine), "trained here", own, own, select, test, own - test


def _chart(subject: StudiedRun, found: Sequence[tuple[Cell, ...]]) -> Chart:
    """Return a chart: a line of each split by round; dashed, the gold-trained student on test."""
    name = score_name(subject).replace("_", " ")
    points = [
        {"round": row[0], name: score, "rows": split}
        for row in found
        if row[0] != GOLD_TRAINED
        for split, score in zip(SPLITS, row[3:7], strict=True)
        if score is not None
    ]
    spec = line_chart(points, x="round", y=name, series="rows", x_is_ordinal=True)
    level = [row[6] for row in found if row[0] == GOLD_TRAINED]
    if level:
        spec["layer"].append(
            {
                "data": {"values": [{name: level[0], "rows": f"test, {GOLD_TRAINED}"}]},
                "mark": {"type": "rule", "strokeDash": [5, 3]},
                "encoding": {
                    "y": {"field": name, "type": "quantitative"},
                    "color": {"field": "rows", "type": "nominal"},
                },
            }
        )
    return Chart(f"{subject.name}: {name} by round", spec)
