"""The Python interface: run a task file, synthesise from objects, compare methods."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from shlex import quote
from typing import Any, ParamSpec, TypeVar

from stepsynth._util.stopping import call_in_thread
from stepsynth.comparison import (
    Comparison,
    Ended,
    Plan,
    Silence,
    Watcher,
    make_plan,
    make_table,
    measure_speed,
    run_plan,
)
from stepsynth.curation import Curation
from stepsynth.data import Split, read_contexts, read_records
from stepsynth.deploy import write_croissant
from stepsynth.errors import (
    ConfigError,
    LimitReachedError,
    ProviderError,
    RunFolderError,
    StepsynthError,
)
from stepsynth.inputs import GoldData
from stepsynth.llm import Limits, LLMSettings
from stepsynth.methods import Method
from stepsynth.notebook import default_observer, default_watcher
from stepsynth.observer import Observer
from stepsynth.records import Dataset
from stepsynth.report import write_comparison, write_report
from stepsynth.results import ComparisonResult, RunResult
from stepsynth.runner import Kind, Runner
from stepsynth.students import Student
from stepsynth.taskfile import Config, LocatedYaml, build_config, load_config
from stepsynth.tasks import Task

P = ParamSpec("P")
T = TypeVar("T")


def run(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    observer: Observer | None = None,
    executor: str = "local",
) -> RunResult:
    """Run a task file, or resume a run that was stopped.

    Args:
        path: The task file (YAML).
        overrides: `key=value` each, as after `--set` ("method.rounds=3").
        out: The run folder; default `runs/<task>-<method>-<random_seed>`.
        observer: Receives progress; default: shown in a notebook, and warnings by `warnings`.
        executor: Where the shards of large phases (`llm.shards`) are worked on: "local", "dask",
            "ray" or "slurm", with the settings of the task file's section `executors`. In a
            script, shards need `if __name__ == "__main__":` around the call.

    Raises:
        StepsynthError: See `stepsynth.errors`; nothing that was paid for is lost.
    """
    config = load_config(path, overrides)
    runner = Runner(
        config,
        out=Path(out) if out else None,
        observer=observer or default_observer(),
        executor=config.executor(executor),
    )
    return finish(runner)


def synthesize(
    task: Task | Mapping[str, Any] | str,
    gold: Any,
    *,
    llm: LLMSettings | Mapping[str, Any] | None = None,
    student: Student | Mapping[str, Any] | str = "linear",
    method: Method | Mapping[str, Any] | str = "s3",
    select: Any = None,
    test: Any = None,
    split: Split | Mapping[str, Any] | None = None,
    contexts: Any = None,
    corpus: str | Sequence[str] | None = None,
    unlabelled: str | None = None,
    retrieval: Mapping[str, Any] | str = "dense",
    curation: Curation | Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    limits: Limits | Mapping[str, Any] | None = None,
    random_seed: int = 0,
    name: str = "task",
    out: str | Path | None = None,
    observer: Observer | None = None,
) -> RunResult:
    """Synthesise a data set and train a student, from objects.

    Args:
        task: A task (`Classification(labels=[...])`), its keys, or the name of a recipe.
        gold: Labelled rows: a list of dictionaries, a data frame, or a `Dataset`.
        llm: An LLM's settings (`OpenAICompatible(model=...)`, `Replay(...)`) or their keys.
        student: A student, its keys, or its name.
        method: A method (`S3(rounds=2)`), its keys, or its name.
        select: Rows to select on; default: split from gold.
        test: Test rows, scored once at the end; default: split from gold.
        split: Sizes of the splits, where `select` and `test` are not given.
        contexts: Contexts for seed data of pairs and questions: a list of dictionaries, a data
            frame, or "llm" (the LLM writes them); default: the contexts of the mined rows.
        corpus: Passages for methods that retrieve: a file, a folder of texts, or several.
        unlabelled: Texts without labels for methods that label some: a file.
        retrieval: A retriever's keys, or its name.
        curation: Filters of synthetic rows.
        columns: Field (text, label, context, answers) -> key of your rows.
        limits: Hard caps.
        random_seed: Seed of the split and of every draw.
        name: Name of the task.
        out: The run folder, to keep it and to resume; default: a temporary one.
        observer: Receives progress; default: shown in a notebook, and warnings by `warnings`.

    Raises:
        StepsynthError: See `stepsynth.errors`.
    """
    values: dict[str, Any] = {
        "task": {"recipe": task} if isinstance(task, str) else task,
        "data": {
            "gold": "(given)",
            "columns": dict(columns or {}),
            "corpus": corpus if corpus is None or isinstance(corpus, str) else list(corpus),
            "unlabelled": unlabelled,
            "split": _plain(split or {}),
        },
        "student": student,
        "method": method,
        "limits": _plain(limits or {}),
        "retrieval": retrieval,
        "curation": _plain(curation or {}),
        "llm": llm,
        "random_seed": random_seed,
    }
    config = _configure(values, name)
    runner = Runner(config, None, Path(out) if out else None, observer or default_observer())
    runner.data = _read_data(config, runner.state.warnings.warn, gold, select, test, contexts)
    return finish(runner) if out is not None else _finish_in_temporary(runner)


def compare(
    path: str | Path,
    methods: Sequence[str],
    *,
    seeds: int = 5,
    equal: Kind = "rows",
    budget: float | None = None,
    against: str | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    jobs: int = 1,
    executor: str = "local",
    watcher: Watcher | None = None,
) -> ComparisonResult:
    """Compare methods on a task at equal budget: same gold, LLM, student and random seeds.

    The same call resumes a stopped comparison, and repeats no finished run. A method that cannot
    run on this task, or whose run fails, gets a row that says why.

    Args:
        path: The task file (YAML).
        methods: "NAME", or a variant "NAME:key=value;key=value", each.
        seeds: Number of random seeds.
        equal: Unit of the shared budget: final "rows", "calls", or "usd".
        budget: Its size; default: 1.5 times the task file's seed size, else 1500.
        against: Baseline that the others are compared with; default: zerogen, else the first.
        overrides: `key=value` each, for all methods, as after `--set`.
        out: The folder, with `compare.html` and every run; default `runs/<task>-compare`.
        jobs: Random seeds to run at once, each in a process. In a script, more than 1 needs
            `if __name__ == "__main__":` around the call.
        executor: Where runs are done: "local", "dask", "ray" or "slurm", with the settings of the
            task file's section `executors`.
        watcher: Receives progress; default: shown in a notebook, and warnings by `warnings`.

    Raises:
        StepsynthError: The task file, a name or an option is wrong, a limit was reached or the LLM
            cannot be used; what was paid for is in the store of the folder.
    """
    plan = make_plan(
        path,
        methods,
        seeds=seeds,
        equal=equal,
        budget=budget,
        against=against,
        overrides=overrides,
        out=out,
    )
    watcher = watcher or default_watcher()
    comparison, ended = run_comparison(plan, jobs=jobs, watcher=watcher, executor=executor)
    if ended.error is not None:
        errors = {2: RunFolderError, 3: LimitReachedError}
        raise errors.get(ended.error.exit_code, ProviderError)(
            ended.error.message, hint=ended.error.hint
        )
    if ended.stopped is not None:
        raise KeyboardInterrupt
    for message in comparison.warnings:
        watcher.warn(message)
    return ComparisonResult(**vars(comparison))


def _awaited(call: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a function that makes the same call in a thread, to be awaited."""

    @wraps(call)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
        return await call_in_thread(partial(call, *args, **kwargs))

    awaited.__name__ = awaited.__qualname__ = f"a{call.__name__}"
    return awaited


arun = _awaited(run)
"""Do what `run` does, in a thread: `await stepsynth.arun(...)`.

The event loop goes on meanwhile. Cancelling stops the run as Ctrl-C does: answers in flight are
waited for and kept, and the same call goes on with it.
"""

asynthesize = _awaited(synthesize)
"""Do what `synthesize` does, in a thread: `await stepsynth.asynthesize(...)`; see `arun`."""

acompare = _awaited(compare)
"""Do what `compare` does, in a thread: `await stepsynth.acompare(...)`; see `arun`."""


def run_comparison(
    plan: Plan, *, jobs: int, watcher: Watcher | None = None, executor: str = "local"
) -> tuple[Comparison, Ended]:
    """Run a plan as far as possible, write its page, and return the table and the outcome."""
    where = plan.config.executor(executor)
    ended = run_plan(plan, finish, jobs=jobs, watcher=watcher or Silence(), executor=where)
    if ended.stopped != "interrupted":  # who stops it waits, and another Ctrl-C would lose the page
        measure_speed(plan)
    comparison = make_table(plan, ended)
    write_comparison(comparison, plan.out)
    return comparison, ended


def _configure(values: dict[str, Any], name: str) -> Config:
    """Return a configuration; an object is taken as it is, so that a user's own class works."""
    task = values["task"]
    values |= {"task": dict(task) if isinstance(task, Mapping) else task}
    return build_config(LocatedYaml(values, "synthesize()", {}), name=name, folder=Path())


def _finish_in_temporary(runner: Runner) -> RunResult:
    """Run in a folder that is deleted with the result, but kept after an error."""
    temporary = Path(tempfile.mkdtemp(prefix="stepsynth-"))
    folder = runner.state.folder = temporary / "run"
    try:
        result = finish(runner)
    except (StepsynthError, KeyboardInterrupt) as error:
        if not folder.exists():
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        kept = f"out={str(folder)!r} goes on with what was paid for"
        if isinstance(error, StepsynthError):
            error.hint = f"{error.hint}; {kept}" if error.hint else kept
        else:
            error.add_note(kept)
        raise
    weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    return result


def finish(runner: Runner) -> RunResult:
    """Run to the end, write the report and the data card, and return the result.

    The result stands without them: where they cannot be written, a warning says so.

    Raises:
        TooFewRowsError: A label has no row at the end; the run folder is complete.
    """
    summary, state, folder = runner.run(), runner.state, runner.folder.path
    try:
        write_report(folder)
        write_croissant(folder)
    except (RunFolderError, OSError) as error:
        runner.observer.warn(
            f"the run is done, but its report is not: {error}; to write it: "
            f"stepsynth report {quote(str(folder))}"
        )
    state.check_labels()
    return RunResult(
        folder=state.folder,
        summary=summary,
        rounds=tuple(state.rounds),
        dataset=state.kept_round.train,
    )


def _read_data(
    config: Config, warn: Callable[[str], None], gold: Any, select: Any, test: Any, contexts: Any
) -> GoldData:
    columns = config.data.columns

    def read(rows: Any, name: str) -> Dataset:
        return read_records(rows, config.task, columns, name=name, warn=warn)

    return GoldData(
        gold=read(gold, "gold"),
        select=read(select, "select") if select is not None else None,
        test=read(test, "test") if test is not None else None,
        contexts=()
        if isinstance(contexts, str) and contexts == "llm"
        else read_contexts(contexts, config.task, columns, warn=warn)
        if contexts is not None
        else None,
    )


def _plain(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(exclude_unset=False)
    raise ConfigError(f"expected settings or a dictionary, got {value!r}")
