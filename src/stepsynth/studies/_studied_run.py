"""The subject of a study: the rows of a run folder or of a file, with their gold data.

The splits are made again from the run's own `config.yaml`, and compared with the digests that the
run recorded. A warning says which gold data has changed since.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stepsynth.data import HUB, Gold, read_file
from stepsynth.errors import ConfigError, DataError, RunFolderError
from stepsynth.inputs import read_gold, split
from stepsynth.records import Dataset, union
from stepsynth.run_records import Summary
from stepsynth.runfolder import Run, RunRound, open_run
from stepsynth.students import Student, load_student
from stepsynth.taskfile import Config, load_config
from stepsynth.tasks import Task

Warn = Callable[[str], None]


@dataclass(frozen=True)
class StudiedRun:
    """Studied rows, and the gold rows that they are compared with.

    Attributes:
        name: Name in tables: that of the folder or file.
        rows: Synthetic rows: the training rows of the kept round without gold rows (all rows, if
            all are gold), or the rows of the file.
        mine: Gold rows that the method was shown.
        select: Gold rows that chose between rounds.
        test: Gold rows that were scored once.
        config: The task file of the run or of the file; `config.task`, `config.student`.
        run: The run; None for a file.
        rounds: The rounds of the run, in order; empty for a file.
        summary: Summary of the run; None for a file, and for a run that is not done.
    """

    name: str
    rows: Dataset
    mine: Dataset
    select: Dataset
    test: Dataset
    config: Config
    run: Run | None = None
    rounds: tuple[RunRound, ...] = ()
    summary: Summary | None = None

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
        """Gold rows that the method was not shown: a fair comparison for its rows."""
        is_shown = self.select == self.mine  # as in the paper's own splits
        return self.test if is_shown else union(self.select, self.test)

    def train_after(self, index: int) -> Dataset:
        """Return the rows that the rounds up to this one added."""
        return union(*(r.added for r in self.rounds if r.index <= index))

    def load_model(self) -> Student:
        """Return the student of the kept round.

        Raises:
            RunFolderError: The subject is a file, or the run is not done.
        """
        if self.run is None:
            raise RunFolderError(
                f"{self.name}: a file has no trained student", hint="give a run folder"
            )
        return load_student(self.run.folder.model)


def open_subject(
    path: str | Path,
    *,
    task: str | Path | None = None,
    overrides: Sequence[str] = (),
    warn: Warn | None = None,
) -> StudiedRun:
    """Open a run folder, or a file of rows with its task file.

    Args:
        path: A run folder, or a data file (JSONL, CSV, TSV, Parquet, `hf:NAME`).
        task: The task file of a data file. For a run folder, it replaces the run's own
            configuration.
        overrides: `key=value` each, as after `--set` (`data.gold=gold.jsonl`).
        warn: Called with what was corrected or has changed.

    Raises:
        StepsynthError: The path holds nothing that can be studied; the message says why.
    """
    tell: Warn = warn or (lambda _: None)
    if Path(path).is_dir():
        run = open_run(path)
        config = load_config(task or run.folder.config, overrides)
        _check_kind(config.task, path)
        return _of_run(run, config, tell)
    if not str(path).startswith(HUB) and not Path(path).exists():
        raise DataError(f"{path}: there is no such folder or file", hint="give a run folder")
    if task is None:
        raise ConfigError(
            f"{path}: a data file is studied next to its task file, which says what its labels "
            "and columns are and where gold data is",
            hint="--task TASK.yaml, or give a run folder",
        )
    config = load_config(task, overrides)
    _check_kind(config.task, path)
    gold = _split(config, tell)
    columns, reading = config.data.columns, config.data.reading
    rows = read_file(path, config.task, columns, reading=reading, warn=tell)
    name = Path(path).name.split(".")[0]
    return StudiedRun(name, rows, gold.mine, gold.select, gold.test, config)


def _check_kind(task: Task, path: str | Path) -> None:
    if task.has_label_sets:
        raise ConfigError(
            f"{path}: studies are about rows of one label, or questions; these have sets of labels",
            hint="the run's report has scores by label, and `stepsynth compare` compares runs",
        )


def _of_run(run: Run, config: Config, warn: Warn) -> StudiedRun:
    place = run.folder.path
    gold = _split(config, warn)
    kept = run.dataset if run.is_done else union(*(done.added for done in run.rounds))
    if not kept:
        raise RunFolderError(f"{place}: this run has no rows, its method makes none")
    if not run.is_done:
        warn(f"{place}: the run is not done; the rows of its rounds so far are studied")
    _check_splits(run, gold, warn)
    synthetic = Dataset(row for row in kept if row.provenance.kind != "gold")
    return StudiedRun(
        name=place.resolve().name,
        rows=synthetic or kept,
        mine=gold.mine,
        select=gold.select,
        test=gold.test,
        config=config,
        run=run,
        rounds=run.rounds,
        summary=run.summary if run.is_done else None,
    )


def _split(config: Config, warn: Warn) -> Gold:
    """Return the gold splits of a configuration, as its run made them."""
    try:
        # The run itself has warned of dropped gold rows.
        return split(config, read_gold(config, warn), lambda _: None)
    except DataError as error:
        if Path(config.data.gold or "").name == "(given)":
            raise DataError(
                "this run was given its gold rows in Python, so the folder does not say where "
                "they are",
                hint="write them to a file, and --set data.gold=FILE (data.select, data.test)",
            ) from error
        raise


def _check_splits(run: Run, gold: Gold, warn: Warn) -> None:
    """Warn of splits that are not those of the run."""
    known = run.identity.data
    now = {"mine": gold.mine, "select": gold.select, "test": gold.test}
    changed = [name for name, rows in now.items() if known.get(name) not in (None, rows.digest())]
    if changed:
        warn(
            f"{run.folder.path}: the gold rows of {', '.join(changed)} are not those that the run "
            "had; what is said of them is said of today's files"
        )
