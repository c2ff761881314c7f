"""What is studied: the rows of a run folder or of a file, with the gold data that belongs to them.

The splits are made again from the run's own `config.yaml`, and compared with the digests that the
run wrote down: gold data that has changed since is said, not silently used.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from stepsynth._util.files import read_jsonl
from stepsynth.data import HUB, PLAIN, Gold, read_file
from stepsynth.errors import ConfigError, DataError, RunFolderError
from stepsynth.inputs import read_gold, split
from stepsynth.records import Answers, Dataset, Example, Label, Provenance, union
from stepsynth.runfolder import RunFolder
from stepsynth.students import Student, load_student
from stepsynth.taskfile import Config, load_config
from stepsynth.tasks import Task

Warn = Callable[[str], None]
_PROVENANCE = {f.name for f in fields(Provenance)}


@dataclass(frozen=True)
class RoundRows:
    """A round of a run, as its folder tells it.

    Attributes:
        index: 0 for the first training.
        added: Rows that the round added; a row's `provenance.parents` are ids of gold rows.
        misclassified: Gold rows of `mine` that the round's model got wrong.
        predicted: What it said of each of them.
        numbers: `metrics.json`: `train_size`, `select`, `test`, `added_labels`, ...
    """

    index: int
    added: Dataset
    misclassified: Dataset
    predicted: tuple[str, ...]
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """Rows that are studied, and what they are compared with.

    Attributes:
        name: What to call it in a table: the folder's or file's name.
        rows: What was synthesised: the training rows of the kept round without gold rows among
            them (all rows, where all are gold), or the rows of the file.
        mine: Gold rows that the method was shown.
        select: Gold rows that chose between rounds.
        test: Gold rows that were scored once.
        config: The task file of the run or of the file; `config.task`, `config.student`.
        folder: The run folder; None for a file.
        rounds: The rounds of the run, in order; none for a file.
        summary: The run's summary (`kept_round`, `method`, `test`, `llm`); empty if there is none.
    """

    name: str
    rows: Dataset
    mine: Dataset
    select: Dataset
    test: Dataset
    config: Config
    folder: Path | None = None
    rounds: tuple[RoundRows, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """The task of the rows."""
        return self.config.task

    @property
    def gold(self) -> Dataset:
        """All gold rows, each once: mine, then select, then test."""
        return union(self.mine, self.unseen)

    @property
    def unseen(self) -> Dataset:
        """Gold rows that the method was not shown: what its rows are fairly compared with."""
        is_shown = self.select == self.mine  # as in the paper's own splits
        return self.test if is_shown else union(self.select, self.test)

    def train_after(self, index: int) -> Dataset:
        """Return the rows of all rounds up to one."""
        return union(*(r.added for r in self.rounds if r.index <= index))

    def load_model(self) -> Student:
        """Return the student of the kept round.

        Raises:
            RunFolderError: The subject is a file, or the run is not done.
        """
        if self.folder is None:
            raise RunFolderError(
                f"{self.name}: a file has no trained student", hint="give a run folder"
            )
        return load_student(RunFolder(self.folder).model)


def open_subject(
    path: str | Path,
    *,
    task: str | Path | None = None,
    overrides: Sequence[str] = (),
    warn: Warn | None = None,
) -> Subject:
    """Return what a path holds: a run folder, or a file of rows with a task file.

    Args:
        path: A run folder, or a data file (JSONL, CSV, TSV, Parquet, `hf:NAME`).
        task: The task file that a data file belongs to. Of a run folder it takes the place of
            the run's own configuration.
        overrides: `key=value` each, as after `--set` (`data.gold=gold.jsonl`).
        warn: Is told what was put right or has changed.

    Raises:
        StepsynthError: The path holds nothing that can be studied; the message says what it lacks.
    """
    tell: Warn = warn or (lambda _: None)
    if Path(path).is_dir():
        return _open_run(RunFolder(Path(path)), task, overrides, tell)
    if not str(path).startswith(HUB) and not Path(path).exists():
        raise DataError(f"{path}: there is no such folder or file", hint="give a run folder")
    if task is None:
        raise ConfigError(
            f"{path}: a data file is studied next to its task file, which says what its labels "
            "and columns are and where gold data is",
            hint="--task TASK.yaml, or give a run folder",
        )
    config = load_config(task, overrides)
    gold = _split(config, tell)
    columns, reading = ({}, PLAIN)
    if config.data is not None:
        columns, reading = config.data.columns, config.data.reading
    rows = read_file(path, config.task, columns, reading=reading, warn=tell)
    name = Path(path).name.split(".")[0]
    return Subject(name, rows, gold.mine, gold.select, gold.test, config)


def _open_run(
    folder: RunFolder, task: str | Path | None, overrides: Sequence[str], warn: Warn
) -> Subject:
    if not folder.config.exists() or not folder.round_folders():
        raise RunFolderError(
            f"{folder.path}: there is nothing to study here",
            hint="give the folder of a run, or a data file with --task TASK.yaml",
        )
    config = load_config(task or folder.config, overrides)
    gold = _split(config, warn)
    try:
        identity = _read_json(folder.identity)
        summary = _read_json(folder.manifest).get("summary", {})
        rounds = tuple(
            _read_round(place)
            for place in folder.round_folders()
            if (place / "metrics.json").exists()
        )
        kept = _read_rows(folder.dataset) if summary else union(*(r.added for r in rounds))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise RunFolderError(f"{folder.path}: a file of the run is damaged: {error}") from error
    if not kept:
        raise RunFolderError(
            f"{folder.path}: this run has no rows"
            + (", its method makes none" if summary else " yet: no round of it is done"),
            hint="" if summary else "the command that started it goes on with it",
        )
    if not summary:
        warn(f"{folder.path}: the run is not done; the rows of its rounds so far are studied")
    _check_splits(folder, identity.get("data", {}), gold, warn)
    synthetic = Dataset(row for row in kept if row.provenance.kind != "gold")
    return Subject(
        name=folder.path.resolve().name,
        rows=synthetic or kept,
        mine=gold.mine,
        select=gold.select,
        test=gold.test,
        config=config,
        folder=folder.path,
        rounds=rounds,
        summary=summary,
    )


def _split(config: Config, warn: Warn) -> Gold:
    """Return the gold splits of a configuration, as its run made them."""
    try:
        # What was dropped from gold was told when the run was made.
        return split(config, read_gold(config, warn), lambda _: None)
    except DataError as error:
        if config.data is not None and Path(config.data.gold or "").name == "(given)":
            raise DataError(
                "this run was given its gold rows in Python, so the folder does not say where "
                "they are",
                hint="write them to a file, and --set data.gold=FILE (data.select, data.test)",
            ) from error
        raise


def _check_splits(folder: RunFolder, known: Mapping[str, str], gold: Gold, warn: Warn) -> None:
    """Say so where a split is not the one that the run had."""
    now = {"mine": gold.mine, "select": gold.select, "test": gold.test}
    changed = [name for name, rows in now.items() if known.get(name) not in (None, rows.digest())]
    if changed:
        warn(
            f"{folder.path}: the gold rows of {', '.join(changed)} are not those that the run had; "
            "what is said of them is said of today's files"
        )


def _read_round(place: Path) -> RoundRows:
    missed = list(read_jsonl(place / "misclassified.jsonl"))
    return RoundRows(
        index=int(place.name),
        added=_read_rows(place / "examples.jsonl"),
        misclassified=Dataset(map(_read_example, missed)),
        predicted=tuple(row["predicted"] for row in missed),
        numbers=_read_json(place / "metrics.json"),
    )


def _read_rows(path: Path) -> Dataset:
    return Dataset(map(_read_example, read_jsonl(path)))


def _read_example(row: Mapping[str, Any]) -> Example:
    """Return the example of a row that a run wrote; keys that we do not know are left alone."""
    written: Any = row["label"]
    label: Label = written
    if not isinstance(written, str):
        label = Answers(tuple(written["text"]), tuple(written["answer_start"]))
    values: dict[str, Any] = {"method": "gold"}
    values |= {k: v for k, v in row.get("provenance", {}).items() if k in _PROVENANCE}
    values["parents"] = tuple(values.get("parents", ()))
    return Example(row["text"], label, row.get("context"), Provenance(**values))


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
