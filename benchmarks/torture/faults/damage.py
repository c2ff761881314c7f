"""Damage to the files of a run folder: flipped, truncated or missing bytes."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.faults.kills import kill, strike_at_request
from benchmarks.torture.server import write_text

Harm = Callable[[Episode, Path], None]
STORE = "requests.sqlite"


def flip(e: Episode, path: Path) -> None:
    """Change some bits of a file, scattered or in sequence."""
    data = bytearray(path.read_bytes())
    if not data:
        return
    at = e.rng.randrange(len(data))
    places: Iterable[int] = [at]
    if e.rng.random() < 0.5:
        places = range(at, min(len(data), at + e.rng.choice([16, 512, 4096])))
    for place in places:
        data[place] ^= e.rng.randrange(1, 256)
    path.write_bytes(data)


def cut(e: Episode, path: Path) -> None:
    """Truncate a file."""
    data = path.read_bytes()
    path.write_bytes(data[: e.rng.choice([0, 1, e.rng.randrange(len(data) + 1)])])


def overwrite(e: Episode, path: Path) -> None:
    """Overwrite a part of a file with zeros or random bytes, as a failing disk may."""
    data = bytearray(path.read_bytes())
    at = e.rng.randrange(len(data) + 1)
    size = min(len(data) - at, e.rng.choice([64, 4096, 65536]))
    data[at : at + size] = bytes(size) if e.rng.random() < 0.5 else e.rng.randbytes(size)
    path.write_bytes(data)


def remove(_e: Episode, path: Path) -> None:
    """Remove a file."""
    path.unlink()


HARMS: list[Harm] = [flip, flip, cut, overwrite, remove]


def _begin(e: Episode, *, may_be_done: bool = True) -> None:
    """Make the run folder of a killed or a finished run."""
    if may_be_done and e.rng.random() < 0.5:
        e.run(0)
    else:
        e.end(strike_at_request(e, kill), 0)


def _go_on(e: Episode, pristine: Path) -> None:
    """Repeat the command; if it reports damage, repair that first."""
    e.lose(3600.0)  # answers that were lost with the file are requested again
    child = e.start()
    code = e.end(child, 0, 2)
    if code == 2:
        if not any(
            word in child.stderr
            for word in ("damaged", "belongs to", "cannot be", "store", "is empty or gone")
        ):
            e.problems.append(f"it was not said what is wrong: {child.stderr[-300:]}")
        shutil.rmtree(e.out)
        shutil.copytree(pristine, e.out)
    if _has_other_answers(e, e.out / STORE):
        e.has_same_bytes = False  # changed bytes within a text go unnoticed: see docs/llm.md
        shutil.rmtree(e.out)
    e.finish()


def _has_other_answers(e: Episode, store: Path) -> bool:
    """Return whether a store has a text that the server never sent."""
    try:
        # An open connection would keep the following runs from moving their store away.
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            query = "SELECT CAST(completion AS BLOB) FROM completions"
            rows = [row[0] for row in connection.execute(query)]
    except sqlite3.Error:
        return False
    sent = {write_text(asked.prompt, asked.digest) for asked in e.ledger.asked}
    return any(_text_of(row) not in sent for row in rows)


def _text_of(row: bytes) -> str | None:
    try:
        return json.loads(row)["text"]
    except (ValueError, KeyError, TypeError):
        return None


def _harm(e: Episode, names: Callable[[Path], list[Path]], harms: list[Harm]) -> None:
    pristine = e.folder / "pristine"
    shutil.copytree(e.out, pristine)
    if not (found := names(e.out)):
        e.finish()
        return
    e.rng.choice(harms)(e, e.rng.choice(found))
    _go_on(e, pristine)


def _named(*names: str) -> Callable[[Path], list[Path]]:
    return lambda out: [out / name for name in names if (out / name).exists()]


def _all_but_store(out: Path) -> list[Path]:
    return sorted(p for p in out.rglob("*") if p.is_file() and not p.name.startswith(STORE))


@fault("damage: store flipped", weight=5)
def flip_store(e: Episode) -> None:
    """Change bytes of the store."""
    _begin(e)
    _harm(e, _named(STORE), [flip, overwrite])


@fault("damage: store cut", weight=3)
def cut_store(e: Episode) -> None:
    """Truncate the store."""
    _begin(e)
    _harm(e, _named(STORE), [cut])


@fault("damage: WAL flipped", weight=4)
def flip_wal(e: Episode) -> None:
    """Change bytes of the newest part of the store, its write-ahead log."""
    _begin(e, may_be_done=False)
    _harm(e, _named(f"{STORE}-wal"), [flip, overwrite])


@fault("damage: WAL cut", weight=4)
def cut_wal(e: Episode) -> None:
    """Truncate the newest part of the store, as a crash of the machine may."""
    _begin(e, may_be_done=False)
    _harm(e, _named(f"{STORE}-wal"), [cut])


@fault("damage: store or its parts gone", weight=3)
def lose_store(e: Episode) -> None:
    """Remove the store, or one of the files beside it."""
    _begin(e)
    _harm(e, _named(STORE, f"{STORE}-wal", f"{STORE}-shm"), [remove])


@fault("damage: shared memory", weight=1)
def harm_shm(e: Episode) -> None:
    """Change the shared memory of SQLite's processes."""
    _begin(e, may_be_done=False)
    _harm(e, _named(f"{STORE}-shm"), [flip, cut, overwrite])


@fault("damage: any other file", weight=10)
def harm_any(e: Episode) -> None:
    """Damage some other file of the run folder."""
    _begin(e)
    _harm(e, _all_but_store, HARMS)


@fault("damage: fitted students", weight=3)
def harm_fitted(e: Episode) -> None:
    """Damage the fitted students of a run."""
    _begin(e)
    _harm(e, lambda out: sorted(p for p in (out / "fitted").rglob("*") if p.is_file()), HARMS)


@fault("damage: something else in its place", weight=1)
def replace_by_folder(e: Episode) -> None:
    """Put a folder where a file should be, or a file where a folder should be."""
    _begin(e)

    def swap(_e: Episode, path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
            path.write_bytes(b"")
        else:
            path.unlink()
            path.mkdir()

    pristine = e.folder / "pristine"
    shutil.copytree(e.out, pristine)
    found = sorted(p for p in e.out.rglob("*") if not p.name.startswith(STORE))
    swap(e, e.rng.choice(found))
    _go_on(e, pristine)
