"""What a student is; how a fresh one is made, remembered and loaded."""

import json
import os
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from stepsynth._util.files import write_json
from stepsynth._util.hashing import digest
from stepsynth.errors import RunFolderError, StepsynthError, TooFewRowsError
from stepsynth.metrics import Predictions
from stepsynth.records import Dataset, Example
from stepsynth.registry import Registry

STUDENT_FILE = "student.json"
_UNREADABLE = (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile)


class NotFittedError(StepsynthError):
    """A student was asked to predict before it was fitted."""


class Student(BaseModel, ABC):
    """A small model: its fields are its keys in a task file.

    An object of it is a specification until `fit` is called; it is fitted once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]

    _label_names: tuple[str, ...] = ()
    _random_seed: int = 0

    def start(self, label_names: Sequence[str], random_seed: int) -> Self:
        """Return a fresh, unfitted copy for these labels: the paper's init(f)."""
        fresh = self.model_copy()
        fresh.__pydantic_private__ = {
            key: value.get_default() for key, value in self.__private_attributes__.items()
        }
        fresh._label_names = tuple(label_names)
        fresh._random_seed = random_seed
        return fresh

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of its probabilities."""
        return self._label_names

    @abstractmethod
    def fit(self, dataset: Dataset) -> None:
        """Learn from a data set, from scratch."""

    @abstractmethod
    def predict_examples(self, examples: Sequence[Example]) -> Predictions:
        """Return probabilities for examples, in their order; their labels are not looked at."""

    @abstractmethod
    def save_arrays(self, folder: Path) -> None:
        """Write what was learnt into a folder: arrays, JSON and the like, never pickle."""

    @abstractmethod
    def load_arrays(self, folder: Path) -> None:
        """Read what `save_arrays` wrote."""

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the most probable label of each text."""
        return self.predict_probabilities(texts).labels

    def predict_probabilities(self, texts: Sequence[str]) -> Predictions:
        """Return the probability of each label for each text: (n_texts, n_labels)."""
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts, not one text")
        return self.predict_examples([Example(text=text, label="") for text in texts])

    def save(self, folder: str | Path) -> None:
        """Write the student so that `load_student` can read it alone."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.save_arrays(folder)
        about = {
            "format": 1,
            "student": self.name,
            "fields": self.model_dump(mode="json"),
            "labels": list(self._label_names),
            "random_seed": self._random_seed,
        }
        write_json(folder / STUDENT_FILE, about)


def students() -> Registry[Student]:
    """Return the registry of students."""
    return Registry("stepsynth.students", "student", Student)


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
        student.load_arrays(folder)
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{folder}: no trained student is here ({Path(error.filename).name} is missing)",
            hint="give a run folder that is done, or its model/ folder",
        ) from error
    except _UNREADABLE as error:
        raise RunFolderError(f"{folder}: the saved student cannot be read: {error}") from error
    return student


@dataclass(frozen=True)
class StudentFactory:
    """A student bound to a task's labels and to randomness: `new()` is the paper's init(f).

    Args:
        spec: The student as configured.
        label_names: The labels of the task.
        random_seed: The run's seed.
        memory: A folder that keeps fitted students by what they were fitted on, so that a run
            that is resumed trains nothing twice. None keeps none.
    """

    spec: Student
    label_names: tuple[str, ...]
    random_seed: int
    memory: Path | None = None

    def new(self) -> "FreshStudent":
        """Return a fresh student that has learnt nothing."""
        return FreshStudent(self)


class FreshStudent:
    """A student that is fitted once, or remembered from an earlier invocation of the run."""

    def __init__(self, factory: StudentFactory) -> None:
        self._factory = factory
        self.student = factory.spec.start(factory.label_names, factory.random_seed)
        self._is_fitted = False

    def fit(self, dataset: Dataset) -> None:
        """Learn from a data set.

        Raises:
            TooFewRowsError: A label has no row.
        """
        if self._is_fitted:
            raise StepsynthError("a student is fitted once; ask the factory for a new one")
        missing = [n for n in self._factory.label_names if not dataset.label_counts()[n]]
        if missing:
            raise TooFewRowsError(
                f"no student can be trained: no row has the label {', '.join(map(repr, missing))}",
                hint="see rounds/*/rejected.jsonl for what the LLM wrote, or raise the seed size",
            )
        folder = self._remembered(dataset)
        if folder is None or not self._recall(folder):
            self.student.fit(dataset)
            if folder is not None:
                self._remember(folder)
        self._is_fitted = True

    def predict(self, dataset: Sequence[Example]) -> Predictions:
        """Return probabilities for examples, in their order.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if not self._is_fitted:
            raise NotFittedError("a student must be fitted before it predicts")
        return self.student.predict_examples(dataset)

    def _remembered(self, dataset: Dataset) -> Path | None:
        factory = self._factory
        if factory.memory is None:
            return None
        what = {
            "student": factory.spec.name,
            "fields": factory.spec.model_dump(mode="json"),
            "labels": list(factory.label_names),
            "random_seed": factory.random_seed,
            "data": dataset.digest(),
            "version": version("stepsynth"),
        }
        return factory.memory / digest(what)

    def _recall(self, folder: Path) -> bool:
        """Load what was fitted before, if it is there and whole."""
        if not folder.is_dir():
            return False
        try:
            self.student.load_arrays(folder)
        except _UNREADABLE:
            shutil.rmtree(folder, ignore_errors=True)
            return False
        return True

    def _remember(self, folder: Path) -> None:
        """Keep what was learnt; the folder appears when it is whole."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
        try:
            self.student.save_arrays(partial)
            os.replace(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
