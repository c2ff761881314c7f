"""Training of a task's student on rows that are there, of runs or of any other tool.

Rows go from their files through a file of Arrow into training, a block at a time. The `transformer`
student keeps their tokens on disk, too, so it learns from more rows than memory holds.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

from stepsynth._util.files import write_json
from stepsynth.data import (
    MissingColumnError,
    make_gate,
    replacing_folder,
    run_columns,
    screen,
    spool,
    stream_file,
)
from stepsynth.errors import DataError, RunFolderError
from stepsynth.inputs import choose_student, read_gold, split, tell_copies
from stepsynth.metrics import CALIBRATION_FILE, calibrate_on
from stepsynth.observer import Observer
from stepsynth.records import Example
from stepsynth.run_records import Scores, Trained
from stepsynth.runfolder import RunFolder
from stepsynth.students import FitCallbacks, StudentFactory
from stepsynth.taskfile import Config

TRAINED_FILE = "trained.json"
"""File in the folder of a model: what it was trained on, and its scores."""
EVERY = 10_000
"""Rows read between two messages of progress."""


def train(config: Config, sources: Sequence[str], out: Path, observer: Observer) -> Trained:
    """Train the student of a task on rows of files, score it, and write its folder.

    Copies of test and select rows are left out, as in a run. No LLM is asked.

    Args:
        config: The task, the student, and gold rows to select and test on.
        sources: Each a run, or what `data.gold` may be. Columns have their names in gold; a row
            that lacks one of them may have those of a run's data set.
        out: The folder that is written; what it holds, `load_student` reads.
        observer: Receives progress and warnings.

    Raises:
        RunFolderError: `out` exists.
        DataError: Rows cannot be used, or none is left.
    """
    _check_new(out)
    began = time.monotonic()
    config.student.check()
    gold = split(config, read_gold(config, observer.warn), observer.warn)
    config = choose_student(config, gold, observer.warn)
    task, student = config.task, config.student
    gate = make_gate(gold, is_open=not config.curation.copies)
    for source in sources:  # what cannot be read is told before hours of reading
        with closing(_open(config, source, lambda _: None)) as rows:
            next(rows, None)
    found = chain.from_iterable(_open(config, source, observer.warn) for source in sources)
    with replacing_folder(out) as folder:
        _check_new(out)  # another process may have ended by now
        place = folder / "rows.arrow"
        read = _counted(found, observer)
        rows = spool(screen(read, gate.stop_row, "rows to train on", observer.warn), place)
        tell_copies(config, gate, observer.warn)
        if not rows:
            raise DataError("every row is a copy of a test or select row", hint="give other rows")
        callbacks = FitCallbacks(
            gold.select,
            partial(task.main_score, gold.select),
            on_progress=observer.progress,
            warn=observer.warn,
        )
        factory = StudentFactory(student, task.label_names, config.random_seed, callbacks=callbacks)
        model = factory.new()
        model.fit(rows)
        if model.student is None:
            raise DataError("all rows have the same label", hint="give rows of other labels too")
        counts = rows.label_counts()
        of_select, of_test = model.predict(gold.select), model.predict(gold.test)
        trained = Trained(
            task=task.name,
            student=student.name,
            sources=tuple(sources),
            rows=len(rows),
            rows_by_label={name: counts[name] for name in task.label_names},
            random_seed=config.random_seed,
            select=Scores(**task.score(gold.select, of_select)),
            test=Scores(**task.score(gold.test, of_test)),
            seconds=time.monotonic() - began,
        )
        model.student.save(folder, columns={**task.columns, **config.data.columns})
        calibration = calibrate_on(gold.select, of_select, rows)
        if calibration is not None:
            write_json(folder / CALIBRATION_FILE, calibration.to_dict())
        write_json(folder / TRAINED_FILE, trained.to_dict())
        place.unlink()
    return trained


def _check_new(out: Path) -> None:
    if out.exists():
        raise RunFolderError(f"{out} exists", hint="give another --out, or remove it")


def _open(config: Config, source: str, warn: Callable[[str], None]) -> Generator[Example]:
    """Yield the rows of a run's data set, or of a file.

    Raises:
        DataError: They cannot be used, or the run has no data set.
    """
    run = RunFolder(Path(source))
    if run.round_folders() and not run.dataset.exists():
        raise DataError(
            f"{source}: this run has no data set yet", hint="the same `stepsynth run` goes on"
        )
    task, path, columns = config.task, source, config.data.columns
    own = run_columns(task)
    if run.dataset.exists():
        path, columns = str(run.dataset), own
    try:
        yield from stream_file(path, task, columns, reading=config.data.reading, warn=warn)
    except MissingColumnError as error:
        of_gold = ", ".join({**task.columns, **columns}[field] for field in own)
        error.hint = f"columns are {of_gold}, as in gold, or {', '.join(own.values())}"
        raise


def _counted(rows: Iterator[Example], observer: Observer) -> Iterator[Example]:
    count = 0
    for count, row in enumerate(rows, start=1):
        if count % EVERY == 0:
            observer.progress("rows", count, None)
        yield row
    observer.progress("rows", count, count)
