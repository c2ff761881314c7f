"""What the shell proposes after Tab, beside commands, options and file names.

Each function gets the word so far. Where it returns nothing, the shell proposes files.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import typer

DEEPEST = 3
"""Levels of folders in which run folders are looked for; `compare` makes three."""
MOST = 200


def complete_runs(incomplete: str) -> list[str]:
    """Return the run folders below the folder that is typed; at first, below runs/ or here."""
    head, slash, _ = incomplete.rpartition("/")
    usual = Path("runs")
    is_usual = usual.name.startswith(incomplete) and usual.is_dir()
    root = Path(head or slash) if slash else usual if is_usual else Path()
    found = (str(place) for place in find_runs(root, DEEPEST))
    return list(islice((place for place in found if place.startswith(incomplete)), MOST))


RUN = typer.Argument(help="A run folder.", show_default=False, autocompletion=complete_runs)
MODEL = typer.Argument(
    help="A run folder, or its model/ folder.", show_default=False, autocompletion=complete_runs
)


def complete_methods(incomplete: str) -> list[str]:
    """Return lists of methods with one more, for `--methods A,B`."""
    from stepsynth.methods import methods

    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    names = (name for name in methods().names() if name not in taken)
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


def complete_set(incomplete: str) -> list[str]:
    """Return settings of the method and the student, for `--set KEY=VALUE`."""
    from stepsynth.methods import methods
    from stepsynth.students import students

    proposed = [f"method={name}" for name in methods().names()]
    proposed += [f"student={name}" for name in students().names()]
    return [each for each in proposed if each.startswith(incomplete)]


def complete_executors(incomplete: str) -> list[str]:
    """Return the places where work can be done."""
    from stepsynth.executors import executor_kinds

    return [name for name in executor_kinds().names() if name.startswith(incomplete)]


def complete_studies(incomplete: str) -> list[str]:
    """Return the studies."""
    from stepsynth.studies import studies

    return [name for name in studies().names() if name.startswith(incomplete)]


def find_runs(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the run folders in a folder, in order; they are not looked into.

    Args:
        folder: The folder, which may be one itself.
        depth: Levels of folders that are looked into.
    """
    files = ("identity.json", "config.yaml", "manifest.json", "events.jsonl")
    # A damaged run lacks some. Not Path.exists: it raises where a folder may not be entered.
    if sum(os.path.exists(folder / name) for name in files) > 1:
        yield folder
        return
    try:
        inner = sorted(
            each.name for each in os.scandir(folder) if each.is_dir(follow_symlinks=False)
        )
    except OSError:
        return  # another user's folder is not ours to list
    for name in inner if depth else ():
        if not name.startswith("."):
            yield from find_runs(folder / name, depth - 1)
