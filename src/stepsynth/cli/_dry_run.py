"""What stands in the way of a run, and how to mend it; and what the run would ask. Sends nothing.

`run --dry-run` looks at all that can be known before the first request: keys of the task file,
files, packages, the LLM's settings, the run folder, the limits.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepsynth.cli._shared import (
    command_line,
    error_line,
    open_console,
    print_json,
    print_line,
)
from stepsynth.cli.check import load_all_but_llm, look_at_llm
from stepsynth.cli.plan import print_plan
from stepsynth.errors import StepsynthError

if TYPE_CHECKING:
    from stepsynth.dryrun import Plan
    from stepsynth.inputs import Prepared
    from stepsynth.taskfile import Config


def dry_run(
    task: Path, overrides: Sequence[str], out: Path | None, executor: str, *, as_json: bool
) -> None:
    """Print the plan of a run and its defects; exit with the code of the first defect, if any."""
    defects: list[StepsynthError] = []
    warnings: list[str] = []
    made, folder = _look(task, overrides, out, executor, defects, warnings)
    if as_json:
        found = made.to_dict() if made else {}
        told = [{"message": each.message, "mend": each.hint} for each in defects]
        first = error_line(defects[0]) if defects else {}
        found |= {"warnings": warnings, "folder": folder, "defects": told, "ok": not defects}
        print_json({**found, **first})
    else:
        console = open_console()
        if made is not None:
            print_plan(made, warnings)
        else:
            for message in warnings:
                print_line(console, f"warning: {message}")
        options = [part for each in overrides for part in ("--set", each)]
        options += ["--out", str(out)] if out else []
        options += ["--executor", executor] if executor != "local" else []
        _print(console, command_line("run", str(task), *options), folder, defects)
    if defects:
        raise SystemExit(defects[0].exit_code)


def _look(
    task: Path,
    overrides: Sequence[str],
    out: Path | None,
    executor: str,
    defects: list[StepsynthError],
    warnings: list[str],
) -> "tuple[Plan | None, str]":
    """Collect defects and warnings; return the plan, if one can be made, and the folder's state."""
    from stepsynth.dryrun import foresee, make_plan, measure_prompts
    from stepsynth.inputs import check_packages, prepare

    def attempt(look: Callable[[], Any]) -> Any:
        try:
            return look()
        except StepsynthError as error:
            defects.append(error)
            return None

    loaded = attempt(lambda: load_all_but_llm(task, overrides))
    if loaded is None:
        return None, ""
    config, llm_error = loaded
    if llm_error is not None:
        defects.append(llm_error)
    attempt(lambda: config.executor(executor))
    attempt(lambda: check_packages(config))
    prepared: Prepared | None = attempt(lambda: prepare(config, warnings.append))
    if llm_error is None and config.llm is not None:
        found: dict[str, Any] = {"warnings": warnings}
        error = look_at_llm(config, found, with_ping=False)
        defects += [error] if error is not None else []
    if prepared is None or llm_error is not None:
        return None, ""
    folder = attempt(lambda: _folder_state(config, prepared, out)) or ""
    warnings += foresee(config, prepared.gold, measure_prompts(config, prepared.gold))
    return attempt(lambda: make_plan(prepared)), folder


def _folder_state(config: "Config", prepared: "Prepared", out: Path | None) -> str:
    """Return what is in the run folder: new, unfinished or done.

    Raises:
        RunFolderError: It holds something else.
    """
    from stepsynth.runfolder import check_folder
    from stepsynth.runner import Runner

    folder = Runner(config, out=out).folder
    check_folder(folder.path, prepared.identity(), config)
    if folder.manifest.exists():
        return "done"
    return "unfinished" if folder.identity.exists() else "new"


_FOLDERS = {
    "new": "The run folder is new.",
    "unfinished": "The run folder holds this run, unfinished: it goes on, and pays for nothing "
    "twice.",
    "done": "The run folder holds this run, done: it would be gone through again with the answers "
    "that are there.",
}


def _print(console: Any, command: str, folder: str, defects: Sequence[StepsynthError]) -> None:
    if folder:
        print_line(console, _FOLDERS[folder])
    if not defects:
        print_line(console, f"No defect was found. To run: {command}")
        return
    noun = "1 defect" if len(defects) == 1 else f"{len(defects)} defects"
    print_line(console, f"{noun} to mend before the run:", "bold")
    for number, each in enumerate(defects, 1):
        print_line(console, f"{number}. {each.message}")
        if each.hint:
            print_line(console, f"   To mend it: {each.hint}")
