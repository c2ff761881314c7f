"""The checks after every fault."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.torture.server import Asked, Ledger

_RUN = ("manifest.json", "report.html", "config.yaml", "dataset.jsonl", "events.jsonl")
_TRACE = "Traceback (most recent call last)"
_STARTER = re.compile(r"Traceback.*\n(?:.*\n)?.*multiprocessing/spawn\.py.*in spawn_main")
"""Traceback of Python's start of a process whose parent was killed: stepsynth does not run yet."""


def find_traceback(text: str, *, is_orphan: bool) -> str:
    """Return a traceback, or Python's message on an unhandled error; "": there is none."""
    for mark in (_TRACE, "Exception ignored in"):
        at = text.find(mark)
        while at >= 0:
            if not (is_orphan and _STARTER.match(text[at:])):
                return text[at:]
            at = text.find(mark, at + 1)
    return ""


def check_repeats(ledger: Ledger, losses: Sequence[tuple[float, float]]) -> list[str]:
    """Return requests that were sent again although their answers must have been kept.

    Args:
        ledger: All requests.
        losses: Times at which answers may have been lost, and how many seconds back.
    """
    by_digest: defaultdict[str, list[Asked]] = defaultdict(list)
    for asked in ledger.asked:
        by_digest[asked.digest].append(asked)
    repeated = [
        (first, again)
        for several in by_digest.values()
        for first, again in pairwise(several)
        if first.answered is not None and not _is_lost(first, again, losses)
    ]
    if not repeated:
        return []
    first, again = repeated[0]
    return [
        f"{len(repeated)} requests were sent again whose answer was there, such as a {first.kind} "
        f"that was sent {again.arrived - (first.answered or 0):.2f} s after its answer"
    ]


def _is_lost(first: Asked, again: Asked, losses: Sequence[tuple[float, float]]) -> bool:
    """Return whether an answer may have been lost between two requests for it."""
    assert first.answered is not None
    return any(
        first.arrived <= at <= again.arrived and first.answered >= at - back_s
        for at, back_s in losses
    )


def count_lost(ledger: Ledger, losses: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """Return the requests and tokens that a killed process may not have recorded."""
    lost = [
        asked
        for asked in ledger.asked
        if any(
            asked.arrived <= at and (asked.answered is None or asked.answered >= at - back_s)
            for at, back_s in losses
        )
    ]
    return len(lost), sum(asked.tokens for asked in lost)


def check_whole(out: Path) -> list[str]:
    """Return missing and left-over files in the folder of a finished run or comparison."""
    ends = ["compare.html"] if (out / "compare.json").exists() else []
    runs = [path.parent for path in out.rglob("identity.json")]
    wanted = [out / name for name in ends]
    wanted += [run / name for run in runs for name in (*_RUN, "model/student.json")]
    missing = [str(path.relative_to(out)) for path in wanted if not path.exists()]
    left = [str(path.relative_to(out)) for run in runs for path in run.rglob(".*")]
    missed = [f"missing: {', '.join(missing)}"] if missing or not runs else []
    return missed + ([f"left behind: {', '.join(left)}"] if left else [])


def compare_outputs(found: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """Return how the rows of a run differ from those of an undisturbed one."""
    wrong = sorted(
        name for name in known.keys() | found.keys() if known.get(name) != found.get(name)
    )
    return [f"other rows than undisturbed in {', '.join(wrong)}"] if wrong else []


def find_bytes(folder: Path, wanted: bytes) -> list[str]:
    """Return the files of a folder that hold some bytes."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and wanted in path.read_bytes()
    ]
