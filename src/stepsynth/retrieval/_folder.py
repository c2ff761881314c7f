"""The folder of an index on disk: identified, built once, never visible half-built."""

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stepsynth._util.disk import is_locked
from stepsynth._util.files import write_json
from stepsynth.errors import ConfigError

INDEX_FILE = "index.json"


def make_sure(
    folder: Path,
    identity: Mapping[str, Any],
    build: Callable[[Path], None],
    *,
    is_named: bool,
    warn: Callable[[str], None],
) -> None:
    """Ensure that a folder holds the index of this identity; build it if it does not.

    Args:
        folder: Where the index is.
        identity: All that determines its contents, as JSON.
        build: Writes the index into an empty folder.
        is_named: Whether the user named the folder; its contents are then not replaced.
        warn: Called with the reason why an index is rebuilt or waited for.

    Raises:
        ConfigError: The folder holds another index and the user named it, or it holds no index.
    """
    if _differences(folder, identity) == []:
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder, warn):
            # Whoever held the lock may have built this very index.
            differences = _differences(folder, identity)
            if differences == []:
                return
            if differences:
                said = "; ".join(differences)
                if is_named:
                    raise ConfigError(
                        f"retrieval.folder: {folder} holds another index: {said}",
                        hint="name another folder, delete this one to build it anew, or set the "
                        "corpus and the retriever to those that it was built from",
                    )
                warn(f"{folder}: the index is built anew, for it is another one: {said}")
            _build(folder, identity, build)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"{folder}: the index cannot be written: {error}", hint="is there room on the disk?"
        ) from error


def major_versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the major version of each package, with the minor one if the major is 0."""
    versions: dict[str, str] = {}
    for package in packages:
        try:
            parts = version(package).split(".")
        except PackageNotFoundError:
            parts = ["none"]
        versions[package] = ".".join(parts[: 2 if parts[0] == "0" else 1])
    return versions


def _differences(folder: Path, identity: Mapping[str, Any]) -> list[str] | None:
    """Return how an index differs from this identity; None: there is no index.

    Raises:
        ConfigError: The path is a file, or a folder with something else in it.
    """
    try:
        found: Any = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not folder.exists() or not any(folder.iterdir()):
            return None
        raise ConfigError(
            f"{folder}: this folder is not empty and holds no index", hint="name another folder"
        ) from error
    except NotADirectoryError as error:
        raise ConfigError(
            f"{folder}: an index is a folder, and this is a file", hint="name another folder"
        ) from error
    except (ValueError, OSError):
        found = None
    if not isinstance(found, dict):
        return [f"{INDEX_FILE} cannot be read"]
    keys = dict.fromkeys([*identity, *found])
    return [
        f"{key} is {found.get(key)!r}, not {identity.get(key)!r}"
        for key in keys
        if found.get(key) != identity.get(key)
    ]


def _build(folder: Path, identity: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    for left_behind in folder.parent.glob(f".{folder.name}.building-*"):
        shutil.rmtree(left_behind, ignore_errors=True)  # by a process that was killed
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.building-"))
    try:
        built = partial / "new"
        built.mkdir()
        build(built)
        write_json(built / INDEX_FILE, identity)
        if folder.exists():
            os.replace(folder, partial / "old")
        os.replace(built, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _alone(folder: Path, warn: Callable[[str], None]) -> Generator[None]:
    """Hold the lock for building this index, after waiting for other processes.

    The lock is SQLite's, which a killed process cannot leave behind.
    """
    lock = folder.parent / f".{folder.name}.lock"
    # A short time-out at each try, so that Ctrl-C is heard in between.
    connection = sqlite3.connect(lock, timeout=0.5, isolation_level=None)
    has_told = False
    try:
        while True:
            try:
                connection.execute("BEGIN EXCLUSIVE")
                break
            except sqlite3.OperationalError as error:
                if not is_locked(error):
                    raise
                if not has_told:
                    warn(f"{folder}: another process builds this index; it is waited for")
                    has_told = True
        yield
    finally:
        connection.close()
