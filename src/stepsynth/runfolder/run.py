"""The one reader of run folders, which reads files only on demand."""

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from stepsynth._util.files import read_jsonl
from stepsynth.data import rows_of_shards
from stepsynth.errors import RunFolderError
from stepsynth.records import Dataset, Example
from stepsynth.run_records import (
    FORMAT,
    AnsweredTest,
    Identity,
    Manifest,
    Prompt,
    RoundMetrics,
    Summary,
)
from stepsynth.runfolder.events import read_events
from stepsynth.runfolder.lineage import RoundLineage, trace_errors
from stepsynth.runfolder.paths import RunFolder
from stepsynth.runfolder.rows import AddedRow, MissedRow, UnusedRow

T = TypeVar("T")


@dataclass(frozen=True)
class RunRound:
    """Round of a run: its added, rejected and misclassified rows. Files are read on demand.

    Attributes:
        index: 0 for the first training.
        folder: `rounds/N`.
    """

    index: int
    folder: Path

    @cached_property
    def metrics(self) -> RoundMetrics:
        """Its metrics: rows, labels, reasons, scores."""
        return read_record(self.folder / "metrics.json", RoundMetrics.model_validate)

    @cached_property
    def rows(self) -> list[AddedRow]:
        """The added rows, each with its prompt and answer."""
        return read_rows(self.folder / "examples.jsonl", AddedRow.from_dict)

    @property
    def added(self) -> Dataset:
        """The added rows as a data set; a row's `provenance.parents` are ids of gold rows."""
        return Dataset(row.example for row in self.rows)

    @cached_property
    def rejected(self) -> list[UnusedRow]:
        """Answers that became no row."""
        return read_rows(self.folder / "rejected.jsonl", UnusedRow.from_dict)

    @cached_property
    def failed(self) -> list[UnusedRow]:
        """Requests that got no answer."""
        return read_rows(self.folder / "failed.jsonl", UnusedRow.from_dict)

    @cached_property
    def missed(self) -> list[MissedRow]:
        """Mining rows that its model misclassifies, with its predictions."""
        return read_rows(self.folder / "misclassified.jsonl", MissedRow.from_dict)

    @cached_property
    def rationales(self) -> dict[str, list[str]]:
        """Label -> reasons that the LLM listed; empty if the method asks for none."""
        found = read_json(self.folder / "rationales.json") or {}
        with _damaged(self.folder / "rationales.json"):
            return {label: given["rationales"] for label, given in found.items()}

    @property
    def answers(self) -> AnsweredTest:
        """The predictions of its model on the test rows.

        Raises:
            RunFolderError: The test rows are not scored yet.
        """
        return read_record(self.folder / "test_predictions.json", AnsweredTest.model_validate)


class Run:
    """Run, read from its folder on demand.

    Args:
        path: The run folder.

    Attributes:
        folder: Its paths.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = RunFolder(Path(path))

    @property
    def is_done(self) -> bool:
        """Whether the run has ended: a round is kept and scored on test."""
        return self.folder.manifest.exists()

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest: versions, digests, times and the summary.

        Raises:
            RunFolderError: The run is not done.
        """
        if not self.is_done:
            raise RunFolderError(
                f"{self.folder.path}: this run is not done, so it has no result",
                hint="the command that started it goes on with it",
            )
        return read_record(self.folder.manifest, Manifest.model_validate)

    @property
    def summary(self) -> Summary:
        """Scores, counts and costs; see `manifest`."""
        return self.manifest.summary

    @cached_property
    def identity(self) -> Identity:
        """The identity of the run: its random seed and the digests of its data."""
        return read_record(self.folder.identity, Identity.model_validate)

    @cached_property
    def rounds(self) -> tuple[RunRound, ...]:
        """The rounds that are done, in order."""
        places = self.folder.round_folders()
        done = [place for place in places if (place / "metrics.json").exists()]
        return tuple(RunRound(int(place.name), place) for place in done)

    def after(self, done: RunRound) -> RunRound | None:
        """Return the round that goes on from the rows of a round; None: there is none."""
        for each in self.rounds:
            # A reviewer's round goes on from the kept one, which need not be the last.
            review = each.metrics.review
            base = each.index - 1 if review is None else review.base
            if each.index == done.index + 1 and base == done.index:
                return each
        return None

    @cached_property
    def lineage(self) -> tuple[RoundLineage, ...]:
        """The errors of each round: what was written for them, and whether it helped."""
        found: list[RoundLineage] = []
        for done in self.rounds:
            after = self.after(done)
            if after is None:
                found.append(trace_errors(done.index, done.missed, None))
            else:
                unused = (*after.rejected, *after.failed)
                args = done.index, done.missed, after.missed
                found.append(trace_errors(*args, added=after.rows, unused=unused))
        return tuple(found)

    @property
    def kept(self) -> RunRound:
        """The kept round; see `manifest`."""
        for done in self.rounds:
            if done.index == self.summary.kept_round:
                return done
        place = self.folder.round(self.summary.kept_round or 0)
        raise RunFolderError(f"{place}: the round that is kept is gone, or not whole")

    @cached_property
    def dataset(self) -> Dataset:
        """The training rows of the kept round; empty if the method makes none.

        Raises:
            RunFolderError: The file is missing or damaged.
        """
        return Dataset(read_rows(self.folder.dataset, Example.from_dict))

    @property
    def config(self) -> str:
        """The task file with every default filled in, as YAML."""
        with _damaged(self.folder.config):
            return self.folder.config.read_text(encoding="utf-8")

    @property
    def prompts(self) -> dict[str, Prompt]:
        """Name -> prompt template with a filled-in example."""
        found = read_json(self.folder.prompts) or {}
        with _damaged(self.folder.prompts):
            return {name: Prompt.model_validate(prompt) for name, prompt in found.items()}

    @property
    def plan(self) -> Mapping[str, Any]:
        """The planned (`planned`) and actual (`used`) usage of the LLM; empty without a plan."""
        return read_json(self.folder.plan) or {}

    @property
    def events(self) -> list[dict[str, Any]]:
        """The event log, a line for each event."""
        return list(read_events(self.folder.events))


def open_run(path: str | Path) -> Run:
    """Return the run of a folder, done or not.

    Args:
        path: The run folder.

    Raises:
        RunFolderError: No run is there, or no round of it is done yet.
    """
    run = Run(path)
    if not run.folder.identity.exists() or not run.folder.config.exists():
        raise RunFolderError(f"{path}: no run is here", hint="give the folder of a run")
    if not run.rounds:
        raise RunFolderError(
            f"{path}: no round of this run is done yet",
            hint="the command that started it goes on with it",
        )
    return run


def read_record(path: Path, read: Callable[[dict[str, Any]], T]) -> T:
    """Return the record in a file of a run.

    Args:
        path: A JSON file.
        read: Makes the record from its JSON form.

    Raises:
        RunFolderError: The file is missing, damaged, or of a later version.
    """
    found = read_json(path)
    if found is None:
        raise RunFolderError(f"{path}: this file of the run is gone")
    with _damaged(path):
        written = found.pop("format", FORMAT)
        if written > FORMAT:
            raise RunFolderError(
                f"{path}: written by a later stepsynth (format {written}, this one reads {FORMAT})",
                hint="pip install --upgrade stepsynth",
            )
        return read(found)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON of a file of a run; None: there is none.

    Raises:
        RunFolderError: The file is damaged.
    """
    if not path.exists():
        return None
    with _damaged(path):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def read_rows(path: Path, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """Return the rows of a file of a run.

    Args:
        path: A JSON-lines file, or the folder of a data set in shards.
        read: Makes a row from its JSON form.

    Raises:
        RunFolderError: The file is missing or damaged; a round without rows writes it empty.
    """
    if not path.exists():
        raise RunFolderError(f"{path}: this file of the run is gone")
    with _damaged(path):
        if path.is_dir():
            # The fields of the provenance are columns of their own.
            return [read({**row, "provenance": row}) for _, row in rows_of_shards(str(path))]
        return [read(row) for row in read_jsonl(path)]


@contextmanager
def _damaged(path: Path) -> Generator[None]:
    """Turn an error of reading into one that names the file and the cause."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunFolderError(f"{path}: damaged: {where}: {first['msg']}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise RunFolderError(f"{path}: damaged: {error!r}") from error
