"""A factory of students for a task's labels; each is fitted once and remembered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stepsynth._util.hashing import digest
from stepsynth.errors import RunFolderError, StepsynthError, TooFewRowsError
from stepsynth.metrics import (
    THRESHOLD,
    AnyPredictions,
    Floats,
    MultiLabelPredictions,
    Predictions,
    Spans,
    always,
)
from stepsynth.records import Answers, Dataset
from stepsynth.students._memory import recall, remember
from stepsynth.students._search import run_search
from stepsynth.students._student import (
    NO_CALLBACKS,
    FitCallbacks,
    NotFittedError,
    Prepare,
    Student,
    Weights,
    ignore,
)


@dataclass
class StudentFactory:
    """A factory of students for a task's labels and a random seed; `new()` is the paper's init(f).

    Args:
        spec: The student as configured.
        label_names: The labels of the task.
        random_seed: The run's seed.
        memory: A folder of fitted students, by what they were fitted on, so that a resumed run
            trains nothing twice. None: none are kept.
        callbacks: Callbacks of every fit.
        admit: Returns the rows and weights that may be trained on at all.
    """

    spec: Student
    label_names: tuple[str, ...]
    random_seed: int
    memory: Path | None = None
    callbacks: FitCallbacks = NO_CALLBACKS
    admit: Prepare | None = None
    prepare: Prepare | None = None
    """Turns rows and weights into those a student is trained on: label check, reweighting."""
    found: dict[str, Any] | None = field(default=None, init=False)
    """Result of the hyper-parameter search, made on the first data set that is fitted."""

    def new(self, *, as_given: bool = False) -> "FreshStudent":
        """Return an unfitted student; with `as_given` it skips `prepare`."""
        return FreshStudent(self, None if as_given else self.prepare)

    def judge(self) -> "FreshStudent":
        """Return an unfitted student that judges rows within a round.

        It is not kept in `memory`, where dozens of them a round would fill a disk; it skips
        `prepare` and starts no hyper-parameter search.
        """
        return FreshStudent(self, is_judge=True)

    def fit_predict(
        self, train: Dataset, held_out: Dataset, weights: Weights = None
    ) -> Predictions:
        """Return what a judge that was fitted on some rows, with weights if any, says of others."""
        model = self.judge()
        model.fit(train, weights)
        said = model.predict(held_out)
        assert isinstance(said, Predictions)
        return said

    def start(self, label_names: Sequence[str] | None = None) -> Student:
        """Return an unfitted student, with the values that a search found, if any.

        Args:
            label_names: The labels that it can learn; default: all of the task.
        """
        names = self.label_names if label_names is None else label_names
        return self.chosen.start(names, self.random_seed)

    @property
    def chosen(self) -> Student:
        """The student as configured, with the values that a search found, if any."""
        values = self.found["values"] if self.found else {}
        return self.spec.model_copy(update=values)

    def search(self, dataset: Dataset, weights: Weights, names: Sequence[str]) -> None:
        """Search hyper-parameters on the first data set; later rounds keep the result."""
        search = self.spec.search
        if search is None or self.found is not None:
            return

        def score(values: Mapping[str, Any], on_epoch: Callable[[int, float], None]) -> float:
            trial = self.spec.model_copy(update=dict(values))
            student = trial.start(names, self.random_seed)
            callbacks = replace(self.callbacks_of_all(), on_epoch=on_epoch, on_progress=ignore)
            student.fit(dataset, weights=weights, callbacks=callbacks)
            return callbacks.score(student.predict_examples(callbacks.select))

        self.found = run_search(
            search,
            score,
            space=self.spec.search_space,
            random_seed=self.random_seed,
            journal=self.memory and self.memory / f"search-{self.digest(dataset, weights)}.log",
            on_progress=partial(self.callbacks.on_progress, "trials"),
        )

    def callbacks_of_all(self) -> FitCallbacks:
        """Return the callbacks, with a score that accepts predictions of only some labels."""
        return replace(
            self.callbacks, score=lambda said: self.callbacks.score(self.of_all_labels(said))
        )

    def of_all_labels(self, said: AnyPredictions) -> AnyPredictions:
        """Return predictions with a column for each label of the task; 0 for labels not learnt."""
        if isinstance(said, Spans) or said.label_names == self.label_names:
            return said
        place = {name: i for i, name in enumerate(self.label_names)}
        columns = [place[name] for name in said.label_names]
        probabilities = np.zeros((len(said), len(place)))
        probabilities[:, columns] = said.probabilities
        if isinstance(said, Predictions):
            return Predictions(self.label_names, probabilities)
        thresholds = np.full(len(place), THRESHOLD)
        thresholds[columns] = said.thresholds
        return MultiLabelPredictions(self.label_names, probabilities, thresholds)

    def digest(self, dataset: Dataset, weights: Weights) -> str:
        """Return a digest of all that determines what a fit learns."""
        return digest(
            {
                "student": self.spec.name,
                "fields": self.chosen.model_dump(mode="json"),
                "labels": list(self.label_names),
                "random_seed": self.random_seed,
                "data": dataset.digest(),
                "weights": None if weights is None else list(weights),
                "select": self.callbacks.select.digest(),
                "version": version("stepsynth"),
                **({"files": files} if (files := self.spec.files) else {}),
            }
        )


class FreshStudent:
    """A student that is fitted once, or restored from an earlier invocation of the run."""

    def __init__(
        self, factory: StudentFactory, prepare: Prepare | None = None, *, is_judge: bool = False
    ) -> None:
        self._factory = factory
        self._prepare = prepare
        self._is_judge = is_judge
        self.rows = Dataset()
        self.weights: tuple[float, ...] | None = None
        self.offsets: Floats | None = None
        self.is_fitted = False
        self._student: Student | None = None
        self._said: dict[Dataset, AnyPredictions] = {}

    def fit(self, dataset: Dataset, weights: Sequence[float] | None = None) -> None:
        """Learn from a data set; only labels with rows are learnt.

        Args:
            dataset: n rows.
            weights: Weight of each of the n rows; default: all equal.

        Raises:
            TooFewRowsError: There is no row.
        """
        if self.is_fitted:
            raise StepsynthError("a student is fitted once; ask the factory for a new one")
        for prepare in filter(None, (self._factory.admit, self._prepare)):
            dataset, weights = prepare(dataset, weights)
        if not dataset:
            raise TooFewRowsError(
                "no student can be trained: there is no row",
                hint="see rounds/*/rejected.jsonl and failed.jsonl for what the LLM wrote",
            )
        self.rows, self.weights = dataset, None if weights is None else tuple(weights)
        self.is_fitted = True
        factory = self._factory
        counts = dataset.label_counts()
        names = tuple(name for name in factory.label_names if counts[name])
        missing = [name for name in factory.label_names if not counts[name]]
        if missing and not self._is_judge:
            factory.callbacks.warn(
                f"no training row has the label {', '.join(map(repr, missing))}: the model of this "
                "round cannot predict it"
            )
        if len(set(dataset.labels)) == 1 and not isinstance(dataset[0].label, Answers):
            return  # nothing to learn
        try:
            self._student = self._train(names)
        except Exception as error:
            if "No space left" in str(error):
                raise RunFolderError(
                    f"there is no disk space left to train and keep a student: {error}",
                    hint="make room (also where temporary files go, $TMPDIR); the same command "
                    "goes on with what was paid for",
                ) from error
            raise

    def _train(self, names: Sequence[str]) -> Student:
        """Return a student of these labels, fitted on the rows, or restored."""
        factory, rows, weights = self._factory, self.rows, self.weights
        if not self._is_judge:
            factory.search(rows, weights, names)
        student = factory.start(names)
        memory = None if self._is_judge else factory.memory
        folder = memory and memory / factory.digest(rows, weights)
        if folder is None or not recall(folder, student.load_arrays):
            student.fit(rows, weights=weights, callbacks=factory.callbacks_of_all())
            if folder is not None:
                remember(folder, student.save_arrays)
        return student

    @property
    def student(self) -> Student | None:
        """The fitted student; None if all rows have the same label, so that nothing is learnt.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if not self.is_fitted:
            raise NotFittedError("a student must be fitted before it predicts")
        return self._student

    def add_offsets(self, offsets: Floats) -> None:
        """Add to the log-probability of each label of the task, once: (n_labels,)."""
        self.offsets = offsets
        if (student := self.student) is not None:
            place = {name: i for i, name in enumerate(self._factory.label_names)}
            student.add_offsets(offsets[[place[name] for name in student.label_names]])
            self._said.clear()

    def predict(self, dataset: Dataset) -> AnyPredictions:
        """Return predictions for examples, in their order; they are remembered.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if dataset not in self._said:
            student = self.student
            said = (
                always(self.rows[0].label, self._factory.label_names, len(dataset))
                if student is None
                else student.predict_examples(dataset)
            )
            self._said[dataset] = self._factory.of_all_labels(said)
        return self._said[dataset]
