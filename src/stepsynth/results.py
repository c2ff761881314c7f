"""The results of the Python interface, which a notebook shows as tables and curves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepsynth._util.frames import to_frame
from stepsynth.comparison import Comparison
from stepsynth.methods import Round
from stepsynth.records import Dataset
from stepsynth.report import comparison_snippet, run_rows, run_snippet, write_report
from stepsynth.run_records import RoundSummary, Summary
from stepsynth.runfolder import RunFolder, open_run
from stepsynth.students import Student, load_student

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        folder: The run folder. Without `out`, it is temporary and deleted with this object.
        summary: Scores, counts and costs: `summary.test["accuracy"]`, `summary.llm.requests`, ...
        rounds: Each round: `.added`, `.misclassified`, `.train`, `.model`, `.unused`.
        dataset: The training rows of the kept round.
    """

    folder: Path
    summary: Summary = field(repr=False)
    rounds: Sequence[Round] = field(repr=False)
    dataset: Dataset

    @property
    def metrics(self) -> dict[str, float]:
        """Score -> its value on test, 0-1, of the kept round: `{"accuracy": 0.87, ...}`."""
        return dict(self.summary.test.known()) if self.summary.test is not None else {}

    @cached_property
    def model(self) -> Student:
        """The student of the kept round: `.predict(texts)`, `.predict_probabilities(texts)`."""
        return load_student(RunFolder(self.folder).model)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report, one self-contained HTML file, and return its path.

        Args:
            path: Path of the file; default: `report.html` in the run folder.
        """
        return write_report(self.folder, Path(path) if path else None)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a row for each round: its counts, its scores, and whether it is kept.

        Raises:
            StepsynthError: pandas is not installed.
        """
        return to_frame(map(self._round_row, self.summary.rounds))

    def _round_row(self, row: RoundSummary) -> dict[str, Any]:
        splits = (("select", row.select), ("test", row.test))
        return {
            **{name: getattr(row, name) for name in ("round", "added", "train_size")},
            "misclassified": row.misclassified,
            **{f"{split}_{k}": v for split, scores in splits if scores for k, v in scores.known()},
            "kept": row.round == self.summary.kept_round,
        }

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the table of rounds and the learning curve."""
        return run_snippet(open_run(self.folder))


class ComparisonResult(Comparison):
    """The result of a comparison: a table and curves in a notebook.

    `result["s3"]` is the row of a method: `.mean`, `.spread` and `.against` by score.
    """

    def __repr__(self) -> str:
        names = ", ".join(row.name for row in self.methods)
        return f"ComparisonResult({self.task}: {names}; folder={self.folder!r})"

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a row for each run: method, random seed, scores, usage, error and folder.

        Raises:
            StepsynthError: pandas is not installed.
        """
        return to_frame(run_rows(self))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the verdict, the table of scores and the curves."""
        return comparison_snippet(self)
