"""Full disks, files that may not grow, and read-only folders."""

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Generator
from pathlib import Path

from benchmarks.torture.episode import Episode, SkippedError
from benchmarks.torture.faults import fault
from benchmarks.torture.faults.kills import kill, strike_at_request

PAGE = 4096
ROOMY = 64 << 20


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Generator[None]:
    """Mount a disk of `size` bytes.

    Raises:
        SkippedError: Mounting is not allowed here.
    """
    folder.mkdir()
    done = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    if done:
        raise SkippedError(f"no small disk can be mounted: {done}")
    try:
        yield
    finally:
        # Later checks read a copy.
        kept = folder.with_name(f"{folder.name}-kept")
        shutil.copytree(folder, kept, symlinks=True, ignore_dangling_symlinks=True)
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount(*args: str) -> str:
    """Mount a disk; return why that failed, or ""."""
    try:
        done = subprocess.run(["mount", *args], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""


@fault("disk: full", weight=6)
def fill_disk(e: Episode) -> None:
    """Run on a disk that is too small, then on the same disk with room."""
    disk = e.folder / "disk"
    # The smallest sizes hold nothing at all, the largest everything except the report.
    size = e.rng.randrange(2 * PAGE, int(1.2 * e.scene.known.size))
    with small_disk(disk, size):
        e.out = disk / "out"
        _run_full(e, disk)


@fault("disk: full, then killed", weight=2)
def fill_disk_and_kill(e: Episode) -> None:
    """Run on a disk that is too small, kill, and run on the same disk again."""
    disk = e.folder / "disk"
    with small_disk(disk, e.rng.randrange(40 * PAGE, int(1.2 * e.scene.known.size))):
        e.out = disk / "out"
        e.end(strike_at_request(e, kill), 0, 2)
        e.lose(2.0)
        _run_full(e, disk)


def _run_full(e: Episode, disk: Path) -> None:
    """Run on a disk that is full, then on the same disk with room."""
    child = e.start()
    code = e.end(child, 0, 2)
    e.lose(2.0)
    if code == 2 and not any(word in child.stderr for word in ("disk", "space")):
        e.problems.append(f"it was not said that the disk is full: {child.stderr[-300:]}")
    _mount("-o", f"remount,size={ROOMY}", str(disk))
    e.finish()


def run_with_small_files(e: Episode) -> None:
    """Run with a limit on the size of files (ulimit -f)."""
    blocks = e.rng.randrange(1, 200)
    e.run(0, 2, wrap=["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"])
    e.lose(2.0)


@fault("disk: files may not grow", weight=2)
def limit_files(e: Episode) -> None:
    """Run once with a limit on the size of files."""
    run_with_small_files(e)
    e.finish()


def without_root(_e: Episode) -> list[str]:
    """Return a wrapper under which a command obeys write permissions even as root."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        raise SkippedError("root may write everywhere, and there is no setpriv")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]


def _close(folder: Path, *, files: bool) -> None:
    """Make a folder and its subfolders read-only, and their files if `files` is set."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() or files:
            os.chmod(path, path.stat().st_mode & ~0o222)


def _open(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            os.chmod(path, path.stat().st_mode | stat.S_IWUSR)


@fault("disk: read-only folder", weight=3)
def close_folder(e: Episode) -> None:
    """Make a run folder read-only that is new, half done, or done."""
    wrap = without_root(e)
    if (state := e.rng.choice(["new", "half", "done"])) == "new":
        e.out.mkdir()
    else:
        e.end(strike_at_request(e, kill) if state == "half" else e.start(), 0)
    if e.out.exists():
        _close(e.out, files=e.rng.random() < 0.5)
    child = e.start(wrap=wrap)
    code = e.end(child, 0, 2)
    if code == 2 and str(e.out) not in child.stderr:
        e.problems.append(f"it was not said which folder: {child.stderr[-300:]}")
    if e.out.exists():
        _open(e.out)
    e.finish()


@fault("disk: read-only meanwhile", weight=2)
def close_folder_meanwhile(e: Episode) -> None:
    """Make a run folder read-only while the run goes on."""
    wrap = without_root(e)
    due: list[bool] = []
    e.ledger.when(e.at_request(), lambda: due.append(True))
    child = e.start(wrap=wrap)
    while child.is_running and not due:
        pass
    _close(e.out, files=False)
    e.end(child, 0, 2)
    e.lose(2.0)
    _open(e.out)
    e.finish()


@fault("disk: read-only disk")
def close_disk(e: Episode) -> None:
    """Remount the disk of a killed run read-only."""
    disk = e.folder / "disk"
    with small_disk(disk, ROOMY):
        e.out = disk / "out"
        e.end(strike_at_request(e, kill), 0)
        if why := _mount("-o", "remount,ro", str(disk)):
            raise SkippedError(f"no disk can be made read-only: {why}")
        e.run(2)
        _mount("-o", "remount,rw", str(disk))
        e.finish()
