"""A store of fitted students, so that a resumed run trains nothing twice."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from stepsynth._util.files import write_json
from stepsynth._util.hashing import digest_file

SUMS = "sums.json"
"""File -> SHA-256. File formats do not check all of their bytes themselves: a changed word of a
vocabulary would give another student unnoticed."""


def recall(folder: Path, load: Callable[[Path], None]) -> bool:
    """Load a stored student if it is intact, and return whether it is; remove a damaged one."""
    if not folder.exists():
        return False
    try:
        known = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        is_whole = known == _sums_of(folder)
    except (OSError, ValueError):
        is_whole = False
    if is_whole:
        load(folder)
    elif folder.is_dir():
        shutil.rmtree(folder)
    else:
        folder.unlink()
    return is_whole


def remember(folder: Path, save: Callable[[Path], None]) -> None:
    """Store what was learnt; the folder appears only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
    try:
        save(partial)
        write_json(partial / SUMS, _sums_of(partial))
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _sums_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in files}
