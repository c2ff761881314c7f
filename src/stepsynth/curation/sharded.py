"""Removal of near-duplicates beyond memory: MinHash LSH in four stages, with files between them.

Broder 1997, Indyk and Motwani 1998 and Lee et al. 2022, as in `near`; the stages are those of
datatrove (Penedo et al.: "The FineWeb Datasets", NeurIPS 2024). A stage is a set of tasks that can
be done in any order and place:

1. **signatures**: a task for each part of the rows writes runs: hashes of the rows' word 3-grams,
   and of the bands of their MinHash, sorted.
2. **buckets**: a task for each range of hashes finds the rows that share one (first of whole rows,
   which are copies; then of bands), and a task for each run compares these pairs in full.
3. **clusters**: in the order of the rows, one is removed if it is near an earlier one that is kept.
4. **filter**: a task for each part writes the rows that are kept.

A cluster is thus a kept row and those near it, as in `near.NearDuplicates`, which keeps the same
rows. (Connected components, which are datatrove's clusters, would remove rows that are near no kept
one.) Only in a bucket of more than `NEIGHBOURS` rows may a pair be missed.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stepsynth.curation.near import BANDS, load_rensa
from stepsynth.curation.runs import (
    DONE,
    END,
    Integers,
    Row,
    Runs,
    Shingles,
    load,
    save,
    sorted_unique,
    write_runs,
)
from stepsynth.metrics import Flags

RANGE_HASHES = 8_000_000
"""Hashes of a range, which a task sorts in memory: some 300 MB."""
COMPARED = 4_000_000
"""3-grams that are compared at a time: some 150 MB."""
NEIGHBOURS, ENDS = 32, 4
"""A row is compared with the `NEIGHBOURS` rows before it in its bucket. A larger bucket, of
boilerplate, has too many pairs: with its `ENDS` first rows and as many before the row."""


class Part(Protocol):
    """A part of the rows, which other processes read too."""

    def texts(self) -> Iterator[Row]:
        """Yield the context and the text of each row."""
        ...

    def write(self, kept: Flags, target: Path) -> None:
        """Write the rows that are kept.

        Args:
            kept: For each row with a text, whether it is kept.
            target: File to write.
        """
        ...


Tasks = Callable[[str, Callable[..., None], Sequence[tuple[Any, ...]]], None]
"""Does the tasks of a stage: its name, a function of a module, and the arguments of each task."""


@dataclass(frozen=True)
class Deduplicated:
    """Outcome of a removal of near-duplicates.

    Attributes:
        files: Files of the kept rows, one for each part, in order.
        rows: Rows read, those without text included.
        empty: Rows without text, which are removed.
        duplicates: Rows removed as copies of an earlier one, as normalised text.
        near_duplicates: Rows removed as near-duplicates.
    """

    files: list[Path]
    rows: int
    empty: int
    duplicates: int
    near_duplicates: int

    @property
    def kept(self) -> int:
        """Number of rows that are kept."""
        return self.rows - self.empty - self.duplicates - self.near_duplicates


def in_this_process(_stage: str, task: Callable[..., None], given: Sequence[Any]) -> None:
    """Do the tasks of a stage one after the other."""
    for arguments in given:
        task(*arguments)


def deduplicate(
    parts: Sequence[Part],
    folder: Path,
    *,
    similarity: float = 0.7,
    do: Tasks = in_this_process,
) -> Deduplicated:
    """Keep the first row of each cluster of near-duplicates.

    The outcome depends on the rows and their order alone, not on how they are cut into parts.
    Memory: some 500 MB for each task at work, and 4 bytes for each row.

    Args:
        parts: All rows, in order.
        folder: Folder for the files between the stages, which all processes see. Tasks that are
            done are not done again; it must not be used for other parts or another similarity.
        similarity: Jaccard similarity of word 3-grams, 0.5-1, from which rows are near-duplicates.
        do: Does the tasks of a stage.

    Raises:
        ConfigError: rensa is not installed.
    """
    load_rensa()
    places = [folder / "signatures" / f"{i:05d}" for i in range(len(parts))]
    do("signatures", sign, [(p, place, similarity) for p, place in zip(parts, places, strict=True)])
    made = [json.loads((place / DONE).read_text(encoding="ascii")) for place in places]
    sizes = [sum(each["runs"]) for each in made]
    runs = Runs(
        tuple(p / str(i) for p, m in zip(places, made, strict=True) for i in range(len(m["runs"]))),
        tuple(accumulate((size for each in made for size in each["runs"]), initial=0)),
    )
    copies = _find_copies(runs, folder, do)
    ranges = _ranges(len(runs) * BANDS)
    paths = _files(folder / "pairs", len(ranges))
    do("buckets", pair, [(runs, copies, r, p) for r, p in zip(ranges, paths, strict=True)])
    near = _files(folder / "near", len(runs.places))
    do("comparisons", compare, [(runs, i, paths, similarity, p) for i, p in enumerate(near)])
    is_copy = load(copies)
    kept = _lead(~is_copy, near)
    save(folder / "kept.npy", kept)
    files = [folder / "filtered" / f"{i:05d}" for i in range(len(parts))]
    starts = accumulate(sizes, initial=0)
    spans = zip(parts, starts, sizes, files, strict=False)
    do("filter", write, [(p, folder / "kept.npy", at, size, file) for p, at, size, file in spans])
    empty, duplicates = sum(each["empty"] for each in made), int(is_copy.sum())
    near_duplicates = len(runs) - duplicates - int(kept.sum())
    return Deduplicated(files, len(runs) + empty, empty, duplicates, near_duplicates)


def sign(part: Part, place: Path, similarity: float) -> None:
    """Write the signatures of a part: a task of the first stage."""
    if not (place / DONE).exists():
        write_runs(part.texts(), place, similarity)


def _files(folder: Path, count: int) -> list[Path]:
    return [folder / f"{i:05d}.npy" for i in range(count)]


def _ranges(hashes: int) -> list[tuple[int, int]]:
    """Return ranges of all 64-bit numbers, as (first, end), with about as many hashes each."""
    count = max(1, -(-hashes // RANGE_HASHES))
    edges = [i * END // count for i in range(count + 1)]
    return list(pairwise(edges))


def _find_copies(runs: Runs, folder: Path, do: Tasks) -> Path:
    """Return the file that says of each row whether it is a copy of an earlier one."""
    ranges = _ranges(len(runs))
    paths = _files(folder / "copies", len(ranges))
    do("copies", find_copies, [(runs, r, path) for r, path in zip(ranges, paths, strict=True)])
    is_copy = np.zeros(len(runs), dtype=np.bool_)
    for path in paths:
        is_copy[load(path)] = True
    save(folder / "copies.npy", is_copy)
    return folder / "copies.npy"


def find_copies(runs: Runs, range_: tuple[int, int], path: Path) -> None:
    """Write the rows that are copies of an earlier one: a task of the stage of buckets."""
    if not path.exists():
        hashes, rows = runs.gather("whole.npy", *range_)
        save(path, rows[1:][hashes[1:] == hashes[:-1]])


def pair(runs: Runs, copies: Path, range_: tuple[int, int], path: Path) -> None:
    """Write pairs of rows that share a bucket, the later one first: a task of that stage."""
    if path.exists():
        return
    hashes, rows = runs.gather("bands.npy", *range_)
    is_first = ~load(copies)[rows]
    late, early = _pairs(hashes[is_first], rows[is_first])
    order = np.argsort(late, kind="stable")
    save(path, np.stack([late[order], early[order]]))


def _pairs(hashes: Integers, rows: Integers) -> tuple[Integers, Integers]:
    """Return the pairs of rows with equal hashes, of sorted hashes; see `NEIGHBOURS`."""
    begins = np.concatenate([[True], hashes[1:] != hashes[:-1]])[: len(hashes)]
    starts = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    number = np.arange(len(hashes)) - starts  # of a row in its bucket
    found = [(rows[:0], rows[:0])]
    for distance in range(1, NEIGHBOURS + 1):
        is_large = (number > NEIGHBOURS) & (distance > ENDS)
        later = np.flatnonzero((number >= distance) & ~is_large)
        found.append((rows[later], rows[later - distance]))
    for place in range(ENDS):
        later = np.flatnonzero(number > NEIGHBOURS)
        found.append((rows[later], rows[starts[later] + place]))
    late, early = (np.concatenate(each) for each in zip(*found, strict=True))
    # A row has the same hash twice where two of its bands have: with itself it makes no pair.
    return late[late > early], early[late > early]


def compare(runs: Runs, number: int, paths: Sequence[Path], similarity: float, path: Path) -> None:
    """Write the pairs of a run that are near-duplicates: a task of the stage of buckets.

    Args:
        runs: All runs.
        number: The run of the later rows.
        paths: Files of pairs.
        similarity: See `deduplicate`.
        path: File to write.
    """
    if path.exists():
        return
    first, end = runs.starts[number : number + 2]
    found: list[Integers] = []
    for each in paths:
        late, early = load(each)
        low, high = np.searchsorted(late, [first, end])
        found.append((late[low:high] - first) * len(runs) + early[low:high])
    # A pair of similarity 0.9 is found in nine of 16 bands.
    late, early = np.divmod(sorted_unique(np.concatenate(found)), len(runs))
    is_near = np.zeros(len(late), dtype=np.bool_)
    ours = Shingles(runs.places[number])
    for i, start in enumerate(runs.starts[: number + 1]):
        chosen = np.flatnonzero((early >= start) & (early < runs.starts[i + 1]))
        if len(chosen):
            theirs = Shingles(runs.places[i])
            is_near[chosen] = _are_near(
                ours, late[chosen], theirs, early[chosen] - start, similarity
            )
    save(path, np.stack([late[is_near] + first, early[is_near]]))


def _are_near(
    ours: Shingles, late: Integers, theirs: Shingles, early: Integers, similarity: float
) -> Flags:
    """Return for each pair of rows whether its Jaccard similarity is high enough."""
    sizes, others = ours.counts(late), theirs.counts(early)
    # Sets of very different sizes cannot be similar, and need no comparison.
    is_near = np.minimum(sizes, others) >= similarity * np.maximum(sizes, others)
    left = np.flatnonzero(is_near)
    blocks = np.cumsum(sizes[left] + others[left]) // COMPARED
    for chosen in np.split(left, np.flatnonzero(np.diff(blocks)) + 1):
        both = np.concatenate([ours.marked(late[chosen]), theirs.marked(early[chosen])])
        both.sort()
        marks = (both[1:][both[1:] == both[:-1]] >> np.uint64(32)).astype(np.int64)
        shared = np.bincount(marks, minlength=len(chosen))
        union = sizes[chosen] + others[chosen] - shared
        is_near[chosen] = (union == 0) | (shared / np.maximum(union, 1) >= similarity)
    return is_near


def _lead(is_first: Flags, near: Iterable[Path]) -> Flags:
    """Return for each row whether it leads a cluster: no earlier row that does is near it.

    Args:
        is_first: For each row, whether it is no copy.
        near: Files of pairs of near-duplicates, the later row first, in order.
    """
    leads = bytearray(is_first.tobytes())
    for path in near:
        late, early = load(path)
        for row, other in zip(late.tolist(), early.tolist(), strict=True):
            if leads[other]:
                leads[row] = False
    return np.frombuffer(leads, dtype=np.bool_)


def write(part: Part, kept: Path, start: int, size: int, target: Path) -> None:
    """Write the rows of a part that are kept: a task of the filter."""
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        part.write(np.array(load(kept)[start : start + size]), target)
