"""`stepsynth study`: studies of finished runs and of files with synthetic data."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from stepsynth.cli._completion import complete_runs, complete_studies
from stepsynth.cli._display import Display
from stepsynth.cli._shared import (
    JSON,
    handle_errors,
    make_table,
    open_console,
    print_json,
    print_line,
    say,
)
from stepsynth.errors import ConfigError, DataError

if TYPE_CHECKING:
    from stepsynth.studies import Findings, StudiedRun, Study

_MOST_QUEUED = 1000
"""Tasks that a cluster is given at a time."""


class StudyCommand(TyperCommand):
    """Command whose help lists the studies with a line each; only the help imports them all."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from stepsynth.studies import studies

        lines = ["Studies:"]
        for name in studies().names():
            module = sys.modules[studies().get(name).__module__]
            about = " ".join((module.__doc__ or "").split("\n\n")[0].split())
            lines.append(f"{name}: {about}")
        self.epilog = "\n\n".join(lines)
        super().format_help(ctx, formatter)


@handle_errors
def study(
    name: str = typer.Argument(
        help="What to look at; see below.", show_default=False, autocompletion=complete_studies
    ),
    runs: list[Path] = typer.Argument(
        None,
        metavar="[RUN]...",
        autocompletion=complete_runs,
        help="Run folders, folders of `compare`, or data files with --task.",
        show_default=False,
    ),
    overrides: list[str] = typer.Option(
        [],
        "--set",
        metavar="KEY=VALUE",
        help="An option of the study (encoder=NAME); with a dot, a key of the task file "
        "(data.gold=FILE, executors.dask.address=tcp://HOST:8786).",
    ),
    task: Path | None = typer.Option(
        None, help="The task file that data files belong to.", show_default=False
    ),
    out: Path | None = typer.Option(
        None,
        help="Write the findings to this file, .json or .md (default: studies/NAME.json in each "
        "run folder).",
        show_default=False,
    ),
    executor: str = typer.Option(
        "local",
        help="Where the studies advice and efficiency train their models: local, dask, ray or "
        "slurm.",
    ),
    jobs: int | None = typer.Option(
        None,
        min=1,
        help="Tasks at a time (default: one here, all on a cluster).",
        show_default=False,
    ),
    as_json: bool = JSON,
) -> None:
    """Study runs: tables, and charts in their reports.

    For a folder of `compare` they make a page of their own, studies.html.
    """
    chosen, of_task = _build_study(name, overrides)
    _check(chosen, runs or [], out, is_shared_out=jobs is not None or executor != "local")
    with Display() as display:
        # A simulation has no subjects: the given folders only say where to write.
        subjects = list(_open(runs or [], task, of_task, display)) if chosen.needs_subjects else []
        chosen.watched_by(display.progress)
        if chosen.is_shared_out:
            findings = _share_out(chosen, subjects, executor, jobs, folder=runs[0])
        else:
            findings = chosen.run(subjects)
        for warning in findings.warnings:
            display.warn(warning)
    if not as_json:  # first, as a folder that cannot be written shall not cost the findings
        _print(findings)
    written = [*_write(findings, runs or [], out), *_write_pages(runs or [], out)]
    if as_json:
        print_json({**findings.to_dict(), "files": [str(path) for path in written]})
        return
    for path in written:
        say(f"written: {path}")


def _write_pages(runs: Sequence[Path], out: Path | None) -> Iterator[Path]:
    """Write the reports of runs anew, and a page for each folder of `compare`."""
    from stepsynth.report import write_report, write_studies
    from stepsynth.runfolder import RunFolder

    for run in runs:
        if RunFolder(run).identity.exists():
            yield write_report(run)
        elif run.is_dir() and out is None:
            yield write_studies(run)


def _check(chosen: "Study", runs: Sequence[Path], out: Path | None, *, is_shared_out: bool) -> None:
    """Check the options before anything is read."""
    if is_shared_out and not chosen.is_shared_out:
        raise ConfigError(
            f"the study {chosen.name} is done in one piece: it has no tasks for --executor and "
            "--jobs",
            hint="leave them out; advice and efficiency, which train many models, have tasks",
        )
    if out is not None and out.suffix not in (".json", ".md"):
        raise ConfigError(f"--out {out}: expected a file that ends in .json or .md")
    if chosen.needs_subjects and not runs:
        raise ConfigError(
            f"there is nothing to study: {chosen.name} needs a run folder",
            hint=f"stepsynth study {chosen.name} runs/TASK-METHOD-0",
        )


def _share_out(
    chosen: "Study", subjects: "Sequence[StudiedRun]", executor: str, jobs: int | None, folder: Path
) -> "Findings":
    """Return the findings of a study whose tasks an executor does."""
    where = subjects[0].config.executor(executor)
    most = jobs or (1 if executor == "local" else _MOST_QUEUED)
    place = (folder / "studies" if folder.is_dir() else Path.cwd()) / f".{chosen.name}"
    with where.open(most, place) as pool:
        findings = chosen.done_by(pool, most).run(subjects)
    with suppress(OSError):  # not there, or with the logs of Slurm's jobs
        place.rmdir()
    return findings


def _build_study(name: str, overrides: Sequence[str]) -> "tuple[Study, list[str]]":
    """Return the study with its options, and the overrides that are meant for the task file."""
    from stepsynth.studies import studies
    from stepsynth.taskfile import LocatedYaml, build, parse_value

    found = studies().get(name)
    options: dict[str, Any] = {}
    of_task: list[str] = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError("--set: expected KEY=VALUE", hint="--set random_seed=1")
        if "." in key:
            of_task.append(override)
        else:
            options[key.strip()] = parse_value(value)
    return build(found, options, LocatedYaml(options, "--set", {}), ()), of_task


def _open(
    runs: Sequence[Path], task: Path | None, overrides: Sequence[str], display: Display
) -> "Iterator[StudiedRun]":
    """Yield the studied runs, under distinct names."""
    from stepsynth.studies import open_subject

    opened = [
        (place, open_subject(place, task=task, overrides=overrides, warn=display.warn))
        for run in runs
        for place in _expand(run)
    ]
    names = [subject.name for _, subject in opened]
    for place, subject in opened:
        # In a folder of `compare` a run's own name is only its random seed.
        is_clear = names.count(subject.name) == 1 and not subject.name.isdigit()
        parent = place.resolve().parent.name
        yield subject if is_clear else replace(subject, name=f"{parent}/{subject.name}")


def _expand(path: Path) -> list[Path]:
    """Return the runs of a folder of `compare`, or of one of its methods, or the path itself.

    Runs that are not done, or made no rows (those of the method `llm`), are left out.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such folder or file", hint="give a run folder")
    if path.is_dir() and not (path / "identity.json").exists():
        places = (*path.glob("*/*/identity.json"), *path.glob("*/identity.json"))
        found = sorted(place.parent for place in places)
        return [p for p in found if (p / "manifest.json").exists() and _has_rows(p)] or [path]
    return [path]


def _has_rows(run: Path) -> bool:
    from stepsynth.runfolder import RunFolder

    place = RunFolder(run).dataset
    return place.exists() and place.stat().st_size > 0


def _write(findings: "Findings", runs: Sequence[Path], out: Path | None) -> list[Path]:
    """Write the findings into each given folder, or to the one requested file."""
    from stepsynth._util.files import write_json, write_text

    if out is not None and out.suffix == ".md":
        write_text(out, findings.to_markdown() + "\n")
        return [out]
    folders = [run / "studies" / f"{findings.study}.json" for run in runs if run.is_dir()]
    places = [out] if out is not None else folders
    for path in places:
        write_json(path, findings.to_dict())
    return places


def _print(findings: "Findings") -> None:
    from stepsynth.studies import format_cell

    console = open_console()
    for table in findings.tables:
        columns = [
            (name, not all(isinstance(row[i], str) for row in table.rows))
            for i, name in enumerate(table.columns)
        ]
        rows = (map(format_cell, row) for row in table.rows)
        console.print(make_table(table.title, columns, rows, title_justify="left"))
        if table.note:
            print_line(console, table.note, "dim")
        console.print()
