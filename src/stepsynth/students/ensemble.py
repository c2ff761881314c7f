"""An ensemble of students, each on its own draw of the rows: mean prediction and disagreement.

van Breugel, Qian, van der Schaar: "Synthetic Data, Real Errors: How (Not) to Publish and Use
Synthetic Data", ICML 2023 (Deep Generative Ensemble, DGE): a model trained on one synthetic data
set takes it for the truth; several, each trained on its own data set, show the uncertainty.

Departure: draws are bootstrap draws (or disjoint parts) of the rows of one synthesis; the paper
trains as many generators. The spread is thus that of the rows, not of the LLM.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from stepsynth._util.files import write_json
from stepsynth._util.rng import make_rng
from stepsynth.metrics import Floats, Predictions
from stepsynth.records import Dataset, Example
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks, Student, read_student

MEMBERS_FILE = "members.json"


class Ensemble(Student):
    """K students of one kind on K draws of the rows."""

    name: ClassVar[str] = "ensemble"

    of: dict[str, Any] | str = Field(
        default="linear", description="The student: its name, or its keys with `name`."
    )
    members: int = Field(default=5, ge=2, description="How many students (the paper's K).")
    draws: Literal["bootstrap", "disjoint"] = Field(
        default="bootstrap",
        description="What each learns from: as many rows drawn with replacement, or a part of the "
        "rows that no other one gets.",
    )

    _students: tuple[Student, ...] = ()

    @model_validator(mode="after")
    def _check_member(self) -> "Ensemble":
        if self.search is not None or self._member().search is not None:
            raise ValueError("search hyper-parameters of the student by itself, then set them here")
        return self

    def _member(self) -> Student:
        member = read_student(self.of)
        if isinstance(member, Ensemble):
            raise ValueError("an ensemble cannot be a member of an ensemble")
        return member

    def passes(self, rows: int) -> int:
        """Return the passes of all members; disjoint draws together cover the rows once."""
        if self.draws == "bootstrap":
            return self._member().passes(rows) * self.members
        return self._member().passes(rows // self.members)

    @property
    def files(self) -> str | None:
        """Digest of the files of the local model that its members start from, if they do."""
        return self._member().files

    def check(self) -> None:
        """Check that its members can be trained here."""
        self._member().check()

    def fit(
        self,
        dataset: Dataset,
        *,
        weights: Sequence[float] | None = None,
        callbacks: FitCallbacks = NO_CALLBACKS,
    ) -> None:
        """Fit each member on its draw; every draw has rows of every label."""
        fitted: list[Student] = []
        for index, draw in enumerate(self._draw(dataset)):
            student = self._member().start(self.label_names, self._random_seed + index)
            student.fit(
                Dataset(dataset[i] for i in draw),
                weights=None if weights is None else [weights[i] for i in draw],
                callbacks=callbacks,
            )
            callbacks.on_progress("members", index + 1, self.members)
            fitted.append(student)
        self._students = tuple(fitted)

    def _draw(self, dataset: Dataset) -> list[list[int]]:
        """Return the row indices of each member, drawn within labels so that none loses a label."""
        by_label: dict[str, list[int]] = {}
        for i, row in enumerate(dataset):
            by_label.setdefault(str(row.label), []).append(i)
        rng = make_rng(self._random_seed, "ensemble")
        drawn: list[list[int]] = [[] for _ in range(self.members)]
        for rows in by_label.values():
            rng.shuffle(rows)
            for index, draw in enumerate(drawn):
                is_bootstrap = self.draws == "bootstrap" or len(rows) < self.members
                draw += (
                    rng.choices(rows, k=len(rows)) if is_bootstrap else rows[index :: self.members]
                )
        return [sorted(draw) for draw in drawn]

    def predict_examples(self, examples: Sequence[Example]) -> Predictions:
        """Return the mean of the members' probabilities."""
        return Predictions(self.label_names, self._member_probabilities(examples).mean(axis=0))

    def add_offsets(self, offsets: Floats) -> None:
        """Add to the log-probability of each label of every member: (n_labels,)."""
        for student in self._students:
            student.add_offsets(offsets)

    def spread(self, examples: Sequence[Example]) -> Any:
        """Return how far the members disagree: (n_examples,); 0 if all agree.

        It is the standard deviation over the members of the probability of the ensemble's label.
        """
        each = self._member_probabilities(examples)
        chosen = each.mean(axis=0).argmax(axis=1)
        return each.std(axis=0)[np.arange(len(chosen)), chosen]

    def _member_probabilities(self, examples: Sequence[Example]) -> Any:
        said = [student.predict_examples(examples) for student in self._students]
        return np.stack([p.probabilities for p in said if isinstance(p, Predictions)])

    def save_arrays(self, folder: Path) -> None:
        """Write each member into a folder of its own."""
        for index, student in enumerate(self._students):
            student.save(folder / f"member-{index}")
        write_json(folder / MEMBERS_FILE, {"members": len(self._students)})

    def load_arrays(self, folder: Path) -> None:
        """Read the members."""
        from stepsynth.students._student import load_student

        count = json.loads((folder / MEMBERS_FILE).read_text(encoding="utf-8"))["members"]
        self._students = tuple(load_student(folder / f"member-{i}") for i in range(count))
