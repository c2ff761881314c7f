"""`stepsynth dedup`: near-duplicate removal in data sets beyond memory."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import typer

from stepsynth._util.files import write_json
from stepsynth.cli._display import Display
from stepsynth.cli._shared import JSON, handle_errors, print_json
from stepsynth.errors import ConfigError

if TYPE_CHECKING:
    from stepsynth.curation import Deduplicated
    from stepsynth.executors import ExecutorSettings

_LOCK, _IDENTITY, _OUT = "lock.sqlite", "identity.json", "out"


@handle_errors
def dedup(
    sources: list[str] = typer.Argument(
        metavar="IN...",
        help=".jsonl (also .gz) or .parquet: files, folders, patterns, or addresses (s3://...).",
        show_default=False,
    ),
    output: str = typer.Option(
        ...,
        "--output",
        "-o",
        help="The file to write, .jsonl or .parquet as IN; or a folder, for files of a part each. "
        "It may be at an address (s3://...).",
        show_default=False,
    ),
    text: str = typer.Option("text", help="Column of the texts."),
    context: str | None = typer.Option(
        None,
        help="Column of contexts: rows with different ones are no duplicates.",
        show_default=False,
    ),
    similarity: float = typer.Option(
        0.7, min=0.5, max=1.0, help="Jaccard similarity of word 3-grams of near-duplicates."
    ),
    jobs: int | None = typer.Option(
        None, min=1, help="Tasks at a time (default: as many as cores).", show_default=False
    ),
    executor: str = typer.Option("local", help="Where tasks are done: local, dask, ray or slurm."),
    overrides: list[str] = typer.Option(
        [],
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the executor (executors.dask.address=tcp://HOST:8786).",
    ),
    as_json: bool = JSON,
) -> None:
    """Remove near-duplicates from files that exceed memory.

    The first row of each cluster is kept, in their order. The same command goes on where a stopped
    one ended. Files between the stages are in a folder beside the output (.NAME.dedup; here, if
    that is at an address), about 600 bytes for a row of 50 words, until it is done.
    """
    from stepsynth._util.locks import acquire
    from stepsynth.curation import deduplicate
    from stepsynth.data import Columns, find_parts, states
    from stepsynth.executors import cores, do_tasks

    settings = _read_executor(executor, overrides)
    kind, parts = find_parts(sources, Columns(text, context))
    place = _check_output(output, kind, sources)
    jobs = jobs or cores()
    work = _work_of(place)
    work.mkdir(parents=True, exist_ok=True)
    lock = acquire(work / _LOCK, "output")
    try:
        columns = {"text": text, "context": context}
        _clear(work, {"parts": states(parts), **columns, "similarity": similarity})
        with Display() as display, settings.open(jobs, work) as pool:

            def do(stage: str, task: Callable[..., None], given: Sequence[tuple[Any, ...]]) -> None:
                def tell(done: int) -> None:
                    display.progress(stage, done, len(given))

                do_tasks(pool, task, given, jobs=jobs, on_done=tell)

            done = deduplicate(parts, work, similarity=similarity, do=do)
        _write(done, place, output, kind, work)
        shutil.rmtree(work)
    finally:
        lock.close()
    _tell(done, output, as_json=as_json)


def _read_executor(name: str, overrides: Sequence[str]) -> "ExecutorSettings":
    """Return an executor with its settings of --set."""
    from stepsynth.executors import executor_kinds
    from stepsynth.taskfile import LocatedYaml, build, parse_value

    found, values = executor_kinds().get(name), dict[str, Any]()
    for override in overrides:
        key, equals, value = override.partition("=")
        setting = key.strip().removeprefix(f"executors.{name}.")
        if not equals or setting == key.strip():
            raise ConfigError(
                f"--set {key}: only the executor {name} has settings here",
                hint="--executor dask --set executors.dask.address=tcp://HOST:8786",
            )
        values[setting] = parse_value(value)
    return build(found, values, LocatedYaml({}, "--set", {}), ("executors", name))


def _work_of(place: Path) -> Path:
    """Return the folder of the files between the stages."""
    return place.absolute().parent / f".{place.name}.dedup"


def _check_output(output: str, kind: str, sources: Sequence[str]) -> Path:
    """Check that the output is of the kind of the input, and is free; return its name here."""
    from stepsynth.data import check_free, is_address

    is_far = is_address(output)
    place = Path(PurePosixPath(output).name if is_far else output)
    if place.suffix not in (kind, ""):
        raise ConfigError(
            f"--output: {output} is of another kind than IN, which is {kind}",
            hint=f"name it {place.with_suffix(kind).name}, or give a folder",
        )
    if is_far:
        if not (_work_of(place) / _OUT).exists():  # else a stopped command was sending
            check_free(output)
        return place
    if any(Path(each).exists() and place.exists() and place.samefile(each) for each in sources):
        raise ConfigError(f"--output: {output} is IN", hint="give another name")
    if place.is_dir() and (place.suffix or any(place.iterdir())):
        raise ConfigError(
            f"--output: {output} is a folder with something in it", hint="give another name"
        )
    return place


def _write(done: "Deduplicated", place: Path, output: str, kind: str, work: Path) -> None:
    """Write the output: what is for an address comes into the work folder first."""
    from stepsynth.data import gather, is_address, send

    if not is_address(output):
        gather(done.files, place, kind)
        return
    written = work / _OUT / place.name
    gather(done.files, written, kind)
    send(written, output)


def _clear(work: Path, identity: Mapping[str, Any]) -> None:
    """Empty the folder, unless it is of the same work, which goes on there."""
    place = work / _IDENTITY
    try:
        is_same = json.loads(place.read_text(encoding="utf-8")) == identity
    except (OSError, ValueError):
        is_same = False
    if not is_same:
        for left in work.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name.startswith(_LOCK):
                continue
            else:
                left.unlink()
        write_json(place, identity)


def _tell(done: "Deduplicated", output: str, *, as_json: bool) -> None:
    if as_json:
        counts = {
            "rows": done.rows,
            "kept": done.kept,
            "duplicates": done.duplicates,
            "near_duplicates": done.near_duplicates,
            "without_text": done.empty,
        }
        print_json({"output": output, **counts})
        return
    print(
        f"{done.kept:,} of {done.rows:,} rows kept; removed: {done.duplicates:,} duplicates, "
        f"{done.near_duplicates:,} near-duplicates, {done.empty:,} without text"
    )
    print(f"{output} is written")
