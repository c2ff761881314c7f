"""Data set cartography: a map of the rows that a student is trained on.

Swayamdipta et al.: "Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics",
EMNLP 2020. A student is trained epoch by epoch, and predicts every row after each. Of the
probabilities of a row's label over the epochs, **confidence** is the mean and **variability** the
population standard deviation; **correctness** is the share of epochs in which the label was the
most probable one. Rows with high confidence and low variability are easy; rows with high
variability are ambiguous; rows that are never learnt are hard, and wrong labels are among them.

Departure: the paper fine-tunes RoBERTa (SynthesizRR DistilBERT, six epochs). Here the student is
logistic regression on the features of `linear` or of an encoder, by stochastic gradient descent:
minutes for 100,000 rows on a CPU, and a map that is read in the same way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stepsynth._util.files import write_jsonl
from stepsynth._util.hashing import derive_seed
from stepsynth._util.rng import make_rng
from stepsynth.errors import DataError
from stepsynth.metrics import Flags, Floats
from stepsynth.records import Dataset, Example, union
from stepsynth.students.embedding import Embedding
from stepsynth.students.linear import Linear
from stepsynth.studies._charts import scatter
from stepsynth.studies._studied_run import StudiedRun
from stepsynth.studies._study import Chart, Findings, Study, Table
from stepsynth.studies._vectors import find_encoder

MOST_POINTS = 5000
GOLD_SOURCE = "gold"
# Small enough that a row's own text does not at once outweigh the other rows. On IMDb and AG News
# (400 to 2,000 rows, 15 % of the labels wrong), confidence tells wrong labels from right ones with
# an AUC of 0.86 to 0.96, which hardly differs between steps of 0.02 and 0.5.
_STEP = 0.1


@dataclass(frozen=True)
class DataMap:
    """Training dynamics of n rows; every array is (n,).

    Attributes:
        confidence: Mean probability of the row's label over the epochs.
        variability: Population standard deviation of that probability.
        correctness: Share of epochs in which the label was the most probable one.
    """

    confidence: Floats
    variability: Floats
    correctness: Floats


def map_dynamics(probabilities: Floats, is_right: Flags) -> DataMap:
    """Return the data map of training dynamics.

    Args:
        probabilities: (n_epochs, n_rows): that of each row's own label after each epoch.
        is_right: (n_epochs, n_rows): whether that label was the most probable one.
    """
    return DataMap(
        confidence=probabilities.mean(axis=0),
        variability=probabilities.std(axis=0),
        correctness=is_right.mean(axis=0),
    )


def train_by_epochs(
    features: Any, columns: npt.NDArray[np.intp], trained: int, *, epochs: int, random_seed: int
) -> Iterator[Floats]:
    """Train epoch by epoch; yield the probabilities of all rows after each: (n_rows, n_labels).

    Args:
        features: (n_rows, n_features), dense or sparse.
        columns: Index of each row's label, 0 to n_labels - 1; the trained rows have all of them.
        trained: Number of first rows that are trained on; the others are only predicted.
        epochs: Passes over the trained rows.
        random_seed: Decides the order of the rows in each pass.
    """
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(
        loss="log_loss", learning_rate="constant", eta0=_STEP, alpha=1e-6, random_state=random_seed
    )
    labels = np.unique(columns[:trained])
    for _ in range(epochs):
        model.partial_fit(features[:trained], columns[:trained], classes=labels)
        yield model.predict_proba(features)


class Cartography(Study):
    """Data map: which rows are easy, ambiguous or hard to learn, by source and label."""

    name: ClassVar[str] = "cartography"

    epochs: int = Field(default=6, ge=2, description="Passes over the rows.")
    gold: Literal["train", "look", "none"] = Field(
        default="train",
        description="The gold rows of `mine`: trained on with the others, in one map; only looked "
        "at, so that they show what the synthetic rows teach; or left out.",
    )
    encoder: str = Field(
        default="",
        description="A sentence encoder (a name or a folder) for the features; default: that of "
        "the run's student `embedding`, else the n-grams of `linear`.",
    )

    def run(self, subjects: Sequence[StudiedRun]) -> Findings:
        """Return the map of each run; write its rows' numbers to `studies/cartography.jsonl`.

        Raises:
            DataError: Rows of the task have answers in place of labels.
        """
        tables: list[Table] = []
        charts: list[Chart] = []
        for subject in subjects:
            if not subject.task.label_names:
                raise DataError(
                    f"{subject.name}: cartography follows the probability of a label over "
                    f"training, and rows of {subject.task.name} have none",
                    hint="it is for tasks with labels: classification and sentence_pair",
                )
            rows, sources = self._gather(subject)
            found = self.map_rows(subject, rows, sources)
            tables += _tables(subject, rows, sources, found)
            charts.append(_chart(subject, rows, sources, found, self.random_seed))
            if subject.run is not None:
                path = subject.run.folder.path / "studies" / "cartography.jsonl"
                write_jsonl(path, _lines(rows, sources, found))
        return Findings(self.name, tuple(tables), tuple(charts))

    def _gather(self, subject: StudiedRun) -> tuple[Dataset, list[str]]:
        """Return the rows, gold ones last, and the source of each."""
        gold = Dataset() if self.gold == "none" else subject.mine
        synthetic = [row for row in subject.rows if row.provenance.kind != "gold"]
        rows = union(synthetic, gold) if synthetic else subject.rows
        return rows, [_source(row) for row in rows]

    def map_rows(self, subject: StudiedRun, rows: Dataset, sources: Sequence[str]) -> DataMap:
        """Return the data map of rows.

        Args:
            subject: Names the student whose features are used.
            rows: n rows, gold ones last.
            sources: Source of each of the n rows.

        Raises:
            DataError: The rows have a single label, or the trained ones lack a label.
        """
        known, columns = np.unique(rows.labels, return_inverse=True)
        is_gold = np.array([source == GOLD_SOURCE for source in sources])
        is_map_of_gold = bool(is_gold.all())
        trained = len(rows)
        if self.gold == "look" and not is_map_of_gold:
            trained = int((~is_gold).sum())
        missing = set(known) - set(rows.labels[:trained])
        if missing or len(known) < 2:
            listed = ", ".join(map(repr, sorted(map(str, missing or known))))
            raise DataError(
                f"{subject.name}: nothing can be learnt: "
                + (f"no row has the label {listed}" if missing else f"all rows are {listed}"),
                hint="--set gold=train trains on the gold rows too",
            )
        probabilities: list[Floats] = []
        is_right: list[Flags] = []
        passes = train_by_epochs(
            self._features(subject, rows),
            columns,
            trained,
            epochs=self.epochs,
            random_seed=derive_seed(self.random_seed, "cartography"),
        )
        for epoch, said in enumerate(passes):
            probabilities.append(said[np.arange(len(rows)), columns])
            is_right.append(said.argmax(axis=1) == columns)
            self._on_progress("epochs", epoch + 1, self.epochs)
        return map_dynamics(np.stack(probabilities), np.stack(is_right))

    def _features(self, subject: StudiedRun, rows: Dataset) -> Any:
        self._on_progress("features", 0, len(rows))
        is_frozen = subject.config.student.name == "embedding"
        encoder = self.encoder or (find_encoder(subject) if is_frozen else "")
        maker = Embedding(model=encoder) if encoder else Linear()
        return maker.learn_features(rows)


def _source(row: Example) -> str:
    origin = row.provenance
    if origin.kind == "gold":
        return GOLD_SOURCE
    return "seed" if origin.kind == "seed" and origin.round == 0 else f"round {origin.round}"


def _tables(
    subject: StudiedRun, rows: Dataset, sources: Sequence[str], found: DataMap
) -> tuple[Table, Table]:
    columns = ("rows", "confidence", "variability", "correctness", "always right", "never right")
    note = (
        "Means over rows. Confidence: mean probability of the row's label over the epochs; "
        "variability: its standard deviation; correctness: share of epochs predicted right. "
        "Always right, never right: shares of rows, in all epochs or in none."
    )
    by_source = _group(sources, sorted(set(sources), key=_order), found)
    by_label = _group(rows.labels, list(subject.task.label_names), found)
    return (
        Table(f"Data map by source: {subject.name}", ("source", *columns), by_source, note),
        Table(f"Data map by label: {subject.name}", ("label", *columns), by_label, note),
    )


def _order(source: str) -> tuple[int, int]:
    """Order sources: seed data, rounds, gold."""
    if source.startswith("round "):
        return 1, int(source.removeprefix("round "))
    return (0, 0) if source == "seed" else (2, 0)


def _group(
    keys: Sequence[str], wanted: Sequence[str], found: DataMap
) -> tuple[tuple[str | int | float, ...], ...]:
    listed = np.array(keys)
    always, never = found.correctness == 1, found.correctness == 0
    averaged = found.confidence, found.variability, found.correctness, always, never
    chosen = {key: listed == key for key in wanted}
    return tuple(
        (key, int(here.sum()), *(float(values[here].mean()) for values in averaged))
        for key, here in chosen.items()
        if here.any()
    )


def _lines(rows: Dataset, sources: Sequence[str], found: DataMap) -> Iterator[dict[str, Any]]:
    for i, row in enumerate(rows):
        yield {
            "id": row.id,
            "source": sources[i],
            "label": str(row.label),
            "confidence": round(float(found.confidence[i]), 6),
            "variability": round(float(found.variability[i]), 6),
            "correctness": round(float(found.correctness[i]), 6),
            "text": row.text,
        }


def _chart(
    subject: StudiedRun, rows: Dataset, sources: Sequence[str], found: DataMap, random_seed: int
) -> Chart:
    places = range(len(rows))
    if len(rows) > MOST_POINTS:
        places = sorted(make_rng(random_seed, "map").sample(places, MOST_POINTS))
    points = [
        {
            "variability": round(float(found.variability[i]), 4),
            "confidence": round(float(found.confidence[i]), 4),
            "correctness": round(float(found.correctness[i]), 2),
            "source": sources[i],
        }
        for i in places
    ]
    shown = f", {MOST_POINTS:,} of {len(rows):,} rows" if len(rows) > MOST_POINTS else ""
    spec = scatter(points, x="variability", y="confidence", colour="correctness", panel="source")
    return Chart(f"{subject.name}: data map{shown}", spec)
