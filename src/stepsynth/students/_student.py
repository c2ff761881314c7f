"""The base class of students, and loading of saved ones."""

import json
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stepsynth._util.files import make_readable, write_json
from stepsynth._util.pretrained import digest_folder
from stepsynth._util.text import clean
from stepsynth.errors import RunFolderError, StepsynthError
from stepsynth.metrics import (
    THRESHOLD,
    AnyPredictions,
    Floats,
    MultiLabelPredictions,
    Predictions,
    Spans,
    fit_thresholds,
)
from stepsynth.records import Dataset, Example, LabelSet
from stepsynth.registry import Registry
from stepsynth.students._search import Search

STUDENT_FILE = "student.json"
THRESHOLDS_FILE = "thresholds.json"
_UNREADABLE = (
    *(ValueError, LookupError, TypeError, AttributeError, OSError, EOFError, MemoryError),
    *(RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error, struct.error),
)
"""Exceptions that numpy and others raise for a damaged file."""


class NotFittedError(StepsynthError):
    """A prediction requested before the student was fitted."""


def ignore(*_: Any) -> None: ...


@dataclass(frozen=True)
class FitCallbacks:
    """The callbacks of a fit, for its score on `select` and its progress.

    Attributes:
        select: Rows that choose an epoch or a hyper-parameter; never trained on, never test.
        score: Returns the task's main score of predictions for `select`, 0-1.
        on_epoch: Called with the epoch and its score on `select`.
        on_progress: Called with the activity, the steps done and the total.
        warn: Called with a sentence that the user should read.
    """

    select: Dataset = field(default_factory=Dataset)
    score: Callable[[AnyPredictions], float] = lambda _: 0.0
    on_epoch: Callable[[int, float], None] = ignore
    on_progress: Callable[[str, int, int], None] = ignore
    warn: Callable[[str], None] = ignore


NO_CALLBACKS = FitCallbacks()
Weights = Sequence[float] | None
Prepare = Callable[[Dataset, Weights], tuple[Dataset, Weights]]


class Student(BaseModel, ABC):
    """A small model; its fields are its keys in a task file.

    An instance is a specification until `fit` is called; it is fitted once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    kinds: ClassVar[tuple[str, ...]] = ("classification", "sentence_pair")
    """Kinds of task that it can learn."""

    knows_meaning: ClassVar[bool] = False
    """Whether texts of like meaning are near to it before it has learnt from any row."""

    library: ClassVar[tuple[str, str] | None] = None
    """Module that it needs beside the core, and the extra that installs it."""

    search_space: ClassVar[Mapping[str, Any]] = {}
    """Field -> choices (a list), or {low, high, log}, that `search` tries by default."""

    _thresholds: Floats | None = None
    """(n_labels,) least probability of a label that is given; None: a row has one label."""

    search: Search | None = Field(
        default=None,
        description="Search hyper-parameters on `select`, on the first data set that is trained "
        "on: {trials: 20, minutes: 30, space: {FIELD: [...] or {low, high, log}}}.",
    )

    _label_names: tuple[str, ...] = ()
    _random_seed: int = 0
    _columns: Mapping[str, str] = {}

    def start(self, label_names: Sequence[str], random_seed: int) -> Self:
        """Return a fresh, unfitted copy for these labels: the paper's init(f).

        Without labels the student finds answers in contexts.
        """
        fresh = self.model_copy()
        fresh.__pydantic_private__ = {
            key: value.get_default() for key, value in self.__private_attributes__.items()
        }
        fresh._label_names = tuple(label_names)
        fresh._random_seed = random_seed
        return fresh

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the column order of its probabilities; empty: it finds answers."""
        return self._label_names

    @property
    def columns(self) -> Mapping[str, str]:
        """Field of an example -> the user's column, if a run saved the student."""
        return self._columns

    def passes(self, rows: int) -> int:
        """Return the number of passes of a fit over its rows."""
        return 1

    @property
    def files(self) -> str | None:
        """Digest of the files of the local model that it starts from, if it does."""
        return digest_folder(getattr(self, "model", None))

    def check(self) -> None:
        """Check that it can be trained here, before any money is spent.

        Raises:
            ConfigError: A library or a pretrained model is missing.
        """
        if self.search is not None:
            self.search.check(type(self), self.model_dump(exclude={"search"}), self.search_space)

    @abstractmethod
    def fit(
        self,
        dataset: Dataset,
        *,
        weights: Sequence[float] | None = None,
        callbacks: FitCallbacks = NO_CALLBACKS,
    ) -> None:
        """Learn from a data set, from scratch.

        Args:
            dataset: n rows.
            weights: Weight of each of the n rows; default: all equal.
            callbacks: Score on `select` and progress.
        """

    @abstractmethod
    def predict_examples(self, examples: Sequence[Example]) -> AnyPredictions:
        """Return predictions for examples, in their order; their labels are ignored."""

    @property
    def gives_sets(self) -> bool:
        """Whether it has learnt to give a text any number of labels."""
        return self._thresholds is not None

    def expect(self, dataset: Dataset) -> None:
        """Learn from the rows whether a row has one label or a set of them.

        Thresholds are 0.5 until `choose_thresholds`.
        """
        has_sets = any(isinstance(row.label, LabelSet) for row in dataset)
        self._thresholds = np.full(len(self.label_names), THRESHOLD) if has_sets else None

    def choose_thresholds(self, select: Dataset) -> None:
        """Choose the threshold of each label on held-out rows, if rows have sets of labels."""
        if self._thresholds is not None and select:
            said = self.predict_examples(select)
            assert isinstance(said, MultiLabelPredictions)
            self._thresholds = fit_thresholds(select.labels, said)

    def add_offsets(self, offsets: Floats) -> None:
        """Add to the log-probability of each label: (n_labels,), for tasks of one label.

        A student that has no place for them stays as it is.
        """

    def save_thresholds(self, folder: Path) -> None:
        """Write the thresholds as JSON, if there are any: label -> probability."""
        if self._thresholds is not None:
            each = zip(self.label_names, self._thresholds.tolist(), strict=True)
            write_json(folder / THRESHOLDS_FILE, dict(each))

    def load_thresholds(self, folder: Path) -> None:
        """Read what `save_thresholds` wrote."""
        if (folder / THRESHOLDS_FILE).exists():
            found = json.loads((folder / THRESHOLDS_FILE).read_text(encoding="utf-8"))
            self._thresholds = np.array([float(found[name]) for name in self.label_names])

    def spread(self, examples: Sequence[Example]) -> Any:
        """Return how far ensemble members disagree: (n_examples,); None for a single model."""
        return None

    @abstractmethod
    def save_arrays(self, folder: Path) -> None:
        """Write what was learnt into a folder: arrays, JSON and the like, never pickle."""

    @abstractmethod
    def load_arrays(self, folder: Path) -> None:
        """Read what `save_arrays` wrote."""

    def predict(self, texts: Sequence[str], contexts: Sequence[str] | None = None) -> list[str]:
        """Return the most probable label (or the answer) of each text, given its context if any.

        For a task of several labels it is a set as a text: "a|b", or "(none)".

        Raises:
            TypeError: A text or context is none, or contexts are missing.
        """
        return self.predict_examples(self._examples(texts, contexts)).labels

    def predict_probabilities(
        self, texts: Sequence[str], contexts: Sequence[str] | None = None
    ) -> Predictions | MultiLabelPredictions:
        """Return the probability of each label for each text: (n_texts, n_labels)."""
        predictions = self.predict_examples(self._examples(texts, contexts))
        if isinstance(predictions, Spans):
            raise TypeError("this student finds answers; predict_examples gives their spans")
        return predictions

    def _examples(self, texts: Sequence[str], contexts: Sequence[str] | None) -> list[Example]:
        if isinstance(texts, str) or isinstance(contexts, str):
            raise TypeError("predict takes lists of texts, not one text")
        if contexts is None and "context" in self.columns:
            raise TypeError("this student was trained on pairs: give a context for each text")
        own = [_clean(text, f"text {i}") for i, text in enumerate(texts)]
        if contexts is None:
            return [Example(text, "") for text in own]
        given = [_clean(context, f"context {i}") for i, context in enumerate(contexts)]
        return [Example(text, "", context) for text, context in zip(own, given, strict=True)]

    def save(self, folder: str | Path, *, columns: Mapping[str, str] | None = None) -> None:
        """Write the student as a self-contained folder for `load_student`.

        Args:
            folder: Created if missing.
            columns: Field of an example -> the user's column, for `stepsynth predict`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.save_arrays(folder)
        for file in folder.iterdir():
            make_readable(file)  # safetensors writes private files
        about = {
            "format": 1,
            "student": self.name,
            "fields": self.model_dump(mode="json"),
            "labels": list(self._label_names),
            "random_seed": self._random_seed,
            "columns": dict(columns or {}),
        }
        write_json(folder / STUDENT_FILE, about)


def _clean(text: object, place: str) -> str:
    """Return a text in the form in which rows are trained on."""
    if not isinstance(text, str):
        raise TypeError(f"{place} must be a text, got {text!r}")
    return clean(text)


def students() -> Registry[Student]:
    """Return the registry of students."""
    return Registry("stepsynth.students", "student", Student)


def read_student(keys: Mapping[str, Any] | str) -> Student:
    """Return the student of another one's field: its name, or its keys with `name`."""
    given = {"name": keys} if isinstance(keys, str) else dict(keys)
    return students().get(str(given.pop("name", "linear"))).model_validate(given)


def load_student(folder: str | Path) -> Student:
    """Return a saved student.

    Raises:
        RunFolderError: The folder holds no student, or a damaged one.
    """
    folder = Path(folder)
    try:
        about: dict[str, Any] = json.loads((folder / STUDENT_FILE).read_text(encoding="utf-8"))
        spec = students().get(about["student"])(**about["fields"])
        student = spec.start(about["labels"], about["random_seed"])
        student._columns = about.get("columns", {})
        student.load_arrays(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunFolderError(
            f"{folder}: no trained student is here ({Path(error.filename).name} is missing)",
            hint="give a run folder that is done, or its model/ folder",
        ) from error
    except _UNREADABLE as error:
        reason = getattr(error, "message", error)  # our own errors also hint at task files
        raise RunFolderError(f"{folder}: the saved student cannot be read: {reason}") from error
    return student
