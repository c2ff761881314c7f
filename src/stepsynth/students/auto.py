"""The best of several cheap students, by cross-validation on gold rows.

A run chooses once, on `mine`, and goes on as if the chosen student had been named. It downloads no
model that was not named.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from stepsynth._util.pretrained import is_here, need
from stepsynth._util.rng import make_rng
from stepsynth.errors import ConfigError
from stepsynth.metrics import AnyPredictions, Floats
from stepsynth.records import Dataset, Example
from stepsynth.students._student import (
    NO_CALLBACKS,
    FitCallbacks,
    Student,
    load_student,
    read_student,
)

FOLDS = 5
DEFAULT = ("linear", "static", "embedding")
MOST_ROWS = 1_000
"""Rows of the cross-validation; more would change the choice seldom and take minutes."""


class Auto(Student):
    """The `auto` student: it becomes one of its candidates."""

    name: ClassVar[str] = "auto"

    candidates: tuple[dict[str, Any] | str, ...] = Field(
        default=DEFAULT,
        min_length=1,
        description="Students to choose from, the cheapest first: names, or keys with `name`. Of "
        "the default ones, those are left out whose library is not installed, or whose model was "
        "not downloaded before.",
    )

    _student: Student | None = None

    @model_validator(mode="after")
    def _check_candidates(self) -> "Auto":
        if self.search is not None:
            raise ValueError("search hyper-parameters of the student that is chosen, by its name")
        self._read()
        return self

    def _read(self) -> list[Student]:
        found = [read_student(keys) for keys in self.candidates]
        if any(isinstance(student, Auto) for student in found):
            raise ValueError("auto cannot be a candidate of auto")
        return found

    def available(self, warn: Callable[[str], None] = lambda _: None) -> list[Student]:
        """Return the candidates that can be trained here.

        Raises:
            ConfigError: A candidate that was named cannot be, or none can.
        """
        found: list[Student] = []
        missing: dict[str, ConfigError] = {}
        # By value, as the resolved configuration of a run states every key.
        are_named = self.candidates != DEFAULT
        for student in self._read():
            try:
                if not are_named:
                    _expect_here(student)
                student.check()
            except ConfigError as error:
                if are_named:
                    raise
                missing[student.name] = error
            else:
                found.append(student)
        if missing:
            told = "; ".join(f"{name}: {e.message} ({e.hint})" for name, e in missing.items())
            warn(f"student auto: left out are {told}")
        if not found:
            raise next(iter(missing.values()))
        return found

    def check(self) -> None:
        """Check that a candidate can be trained here."""
        self.available()

    def choose(
        self,
        rows: Dataset,
        label_names: Sequence[str],
        random_seed: int,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Student:
        """Return the candidate with the best macro-F1 in cross-validation; of equals, the first.

        Args:
            rows: Gold rows.
            label_names: The labels of the task.
            random_seed: Determines the folds.
            warn: Called with what was chosen, and with what was left out.

        Raises:
            ConfigError: No candidate can be trained here.
        """
        candidates = self.available(warn)
        if len(candidates) == 1:
            return candidates[0]
        if len(rows) > MOST_ROWS:
            rows = Dataset(make_rng(random_seed, "auto").sample(list(rows), MOST_ROWS))
        folds = _divide(rows, random_seed)
        if not folds:
            warn(
                f"student auto: {candidates[0].name} is used, as there are too few gold rows to "
                "choose by"
            )
            return candidates[0]
        scores = [_macro_f1(spec, rows, folds, label_names, random_seed) for spec in candidates]
        best = candidates[int(np.argmax(scores))]
        told = ", ".join(
            f"{spec.name} {score:.1%}" for spec, score in zip(candidates, scores, strict=True)
        )
        warn(
            f"student auto: {best.name} is used. Macro-F1 in cross-validation on "
            f"{sum(len(test) for _, test in folds)} gold rows: {told}."
        )
        return best

    def fit(
        self,
        dataset: Dataset,
        *,
        weights: Sequence[float] | None = None,
        callbacks: FitCallbacks = NO_CALLBACKS,
    ) -> None:
        """Choose by the data set itself, and learn from it."""
        chosen = self.choose(dataset, self.label_names, self._random_seed, callbacks.warn)
        self._student = chosen.start(self.label_names, self._random_seed)
        self._student.fit(dataset, weights=weights, callbacks=callbacks)

    def predict_examples(self, examples: Sequence[Example]) -> AnyPredictions:
        """Return what the chosen student predicts."""
        assert self._student is not None
        return self._student.predict_examples(examples)

    def add_offsets(self, offsets: Floats) -> None:
        """Add to the log-probability of each label of the chosen student: (n_labels,)."""
        assert self._student is not None
        self._student.add_offsets(offsets)

    def save(self, folder: str | Path, *, columns: Mapping[str, str] | None = None) -> None:
        """Write the chosen student, as which the folder is loaded."""
        assert self._student is not None
        self._student.save(folder, columns=columns)

    def save_arrays(self, folder: Path) -> None:
        """Write the chosen student into a folder of its own."""
        self.save(folder / "chosen")

    def load_arrays(self, folder: Path) -> None:
        """Read it."""
        self._student = load_student(folder / "chosen")


def _expect_here(student: Student) -> None:
    """Check that a student needs no installation and no download.

    Raises:
        ConfigError: Its library or its model is not here.
    """
    if student.library:
        need(*student.library)
    model = str(getattr(student, "model", ""))
    if model and not is_here(model):
        raise ConfigError(
            f"its model {model} is not on this machine", hint=f"student: {student.name} gets it"
        )


def _divide(rows: Dataset, random_seed: int) -> list[tuple[list[int], list[int]]]:
    """Return the folds, as rows to train on and rows to predict; none: there are too few rows.

    Copies of a text stay together, so that none is predicted by its own copy. A label with one text
    is left out: where it is predicted, nothing was learnt of it.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = {(row.text, row.context): i for i, row in enumerate(rows)}
    texts_of: dict[str, set[int]] = {}
    for row in rows:
        texts_of.setdefault(str(row.label), set()).add(groups[row.text, row.context])
    numbers = [len(texts) for texts in texts_of.values() if len(texts) > 1]
    if len(numbers) < 2 or len(groups) < FOLDS:
        return []
    used = [i for i, row in enumerate(rows) if len(texts_of[str(row.label)]) > 1]
    labels = [str(rows[i].label) for i in used]
    texts = [groups[rows[i].text, rows[i].context] for i in used]
    splitter = StratifiedGroupKFold(min(FOLDS, *numbers), shuffle=True, random_state=random_seed)
    found = [
        ([used[i] for i in train], [used[i] for i in test])
        for train, test in splitter.split(labels, labels, texts)
    ]
    # Large groups can leave a fold without rows, or without a second label to learn.
    return [
        (train, test) for train, test in found if test and len({rows[i].label for i in train}) > 1
    ]


def _macro_f1(
    spec: Student,
    rows: Dataset,
    folds: Sequence[tuple[Sequence[int], Sequence[int]]],
    label_names: Sequence[str],
    random_seed: int,
) -> float:
    """Return the macro-F1 of a student on rows that it has not seen."""
    from sklearn.metrics import f1_score

    gold: list[str] = []
    said: list[str] = []
    for train, test in folds:
        seen, held_out = (Dataset(rows[i] for i in part) for part in (train, test))
        names = tuple(name for name in label_names if seen.label_counts()[name])
        student = spec.start(names, random_seed)
        student.fit(seen)
        gold += held_out.labels
        said += student.predict_examples(held_out).labels
    return float(f1_score(gold, said, average="macro"))
