"""Signatures of rows on disk: sorted hashes of whole rows, of MinHash bands and of 3-grams."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from stepsynth._util.files import replacing, write_json
from stepsynth._util.hashing import digest
from stepsynth._util.text import clean, normalise
from stepsynth.curation.near import BANDS, load_rensa, rows_per_band, shingle_list

Integers = npt.NDArray[np.integer[Any]]
Row = tuple[str, str] | None
"""Context ("": none) and text of a row; None: it has no text."""

RUN_ROWS, RUN_SHINGLES = 250_000, 25_000_000
"""Most rows, and about the most 3-grams, of a run: some 200 MB of memory."""
STEP_ROWS, STEP_CHARACTERS = 5_000, 4_000_000
"""Most rows, and about the most characters, whose 3-grams are in memory as texts."""
DONE = "done.json"
END = 2**64 - 1
"""Largest hash."""

_ODD = np.uint64(0x9E3779B97F4A7C15)


def write_runs(rows: Iterable[Row], place: Path, similarity: float) -> None:
    """Write the signatures of rows as runs, and last what they are, as `DONE`.

    Args:
        rows: The rows.
        place: Folder to write; what a killed task has left in it is removed.
        similarity: Jaccard similarity that near-duplicates have.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    sizes: list[int] = []
    run, empty = _Run(), 0
    for keys in _steps(rows):
        known = [key for key in keys if key is not None]
        empty += len(keys) - len(known)
        run.add(
            [(c and normalise(clean(c)), normalise(clean(text))) for c, text in known], similarity
        )
        if run.rows >= RUN_ROWS or run.shingles >= RUN_SHINGLES:
            sizes.append(run.write(place / str(len(sizes))))
            run = _Run()
    if run.rows:
        sizes.append(run.write(place / str(len(sizes))))
    write_json(place / DONE, {"runs": sizes, "empty": empty})


def _steps(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows together, few enough for their 3-grams to be in memory."""
    step: list[Row] = []
    characters = 0
    for row in rows:
        step.append(row)
        characters += sum(map(len, row or ()))
        if len(step) >= STEP_ROWS or characters >= STEP_CHARACTERS:
            yield step
            step, characters = [], 0
    yield step


class _Run:
    """Signatures of consecutive rows.

    Files: `whole.npy` and `bands.npy` are (2, n) each: sorted hashes, and the row of each in the
    run. `shingles.npy` holds the sorted hashes of each row's 3-grams, `ends.npy` where they end.
    """

    def __init__(self) -> None:
        self.rows = self.shingles = 0
        self._whole: list[Integers] = []
        self._bands: list[Integers] = []
        self._shingles: list[Integers] = []
        self._counts: list[Integers] = []

    def add(self, keys: Sequence[tuple[str, str]], similarity: float) -> None:
        """Add rows by their normalised contexts and texts."""
        if not keys:
            return
        minhash: Any = load_rensa().RMinHash
        per_band = rows_per_band(similarity)
        tokens = minhash.hash_token_sets([shingle_list(text, context) for context, text in keys])
        counts = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        flat = np.fromiter(chain.from_iterable(tokens), dtype=np.uint64, count=counts.sum())
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
        sketches = minhash.digest_matrix_from_flat_token_hashes(flat, offsets, BANDS * per_band, 0)
        matrix = np.array(sketches.to_rows(), dtype=np.uint64).reshape(len(keys), BANDS, per_band)
        bands = np.broadcast_to(np.arange(BANDS, dtype=np.uint64), (len(keys), BANDS))
        for i in range(per_band):
            bands = _mix(bands ^ matrix[:, :, i])
        # 32 bits of each: two rows of 50 have one wrongly in common once in a million pairs.
        owners = np.repeat(np.arange(len(keys), dtype=np.uint64), counts)
        unique = sorted_unique(owners << np.uint64(32) | flat & np.uint64(0xFFFFFFFF))
        self._whole.append(np.array([int(digest(k, length=16), 16) for k in keys], np.uint64))
        self._bands.append(bands)
        self._shingles.append(unique.astype(np.uint32))
        self._counts.append(np.bincount(unique >> np.uint64(32), minlength=len(keys)))
        self.rows += len(keys)
        self.shingles += len(unique)

    def write(self, place: Path) -> int:
        """Write the files of the run, and return its number of rows."""
        place.mkdir()
        _save_sorted(place / "whole.npy", np.concatenate(self._whole), 1)
        _save_sorted(place / "bands.npy", np.concatenate(self._bands).ravel(), BANDS)
        save(place / "shingles.npy", np.concatenate(self._shingles))
        save(place / "ends.npy", np.cumsum(np.concatenate([[0], *self._counts])))
        return self.rows


def _mix(values: Integers) -> Integers:
    """Return hashes of 64-bit numbers (the finaliser of SplitMix64)."""
    values = values * _ODD
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)


def _save_sorted(path: Path, hashes: Integers, per_row: int) -> None:
    order = np.argsort(hashes, kind="stable")
    save(path, np.stack([hashes[order], (order // per_row).astype(np.uint64)]))


@dataclass(frozen=True)
class Runs:
    """All runs, in order.

    Attributes:
        places: Folder of each.
        starts: Number of its first row, counted over all runs; and last, the number of all rows.
    """

    places: tuple[Path, ...]
    starts: tuple[int, ...]

    def __len__(self) -> int:
        return self.starts[-1]

    def gather(self, name: str, low: int, high: int) -> tuple[Integers, Integers]:
        """Return the hashes of a range and their rows, by hash and then by row."""
        found: list[tuple[Integers, Integers]] = [(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
        for place, start in zip(self.places, self.starts, strict=False):
            hashes, rows = load(place / name)
            first, end = np.searchsorted(hashes, np.array([low, high], np.uint64), side="left")
            end = len(hashes) if high == END else end
            found.append((hashes[first:end], rows[first:end].astype(np.int64) + start))
        hashes = np.concatenate([each for each, _ in found])
        order = np.argsort(hashes, kind="stable")
        return hashes[order], np.concatenate([rows for _, rows in found])[order]


class Shingles:
    """The hashes of the 3-grams of a run's rows."""

    def __init__(self, place: Path) -> None:
        self._hashes = load(place / "shingles.npy")
        self._ends = load(place / "ends.npy")

    def counts(self, rows: Integers) -> Integers:
        """Return the number of 3-grams of each row."""
        return self._ends[rows + 1] - self._ends[rows]

    def marked(self, rows: Integers) -> Integers:
        """Return the hashes of rows, one after the other, with a row's place above its hashes."""
        counts = self.counts(rows)
        begins = self._ends[rows] - (np.cumsum(counts) - counts)
        places = np.repeat(begins, counts) + np.arange(counts.sum())
        marks = np.repeat(np.arange(len(rows), dtype=np.uint64), counts)
        return marks << np.uint64(32) | self._hashes[places].astype(np.uint64)


def sorted_unique(values: Integers) -> Integers:
    """Return the different values in order; `np.unique` takes three times as long."""
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]]


def save(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array atomically."""
    with replacing(path) as file:
        # NumPy's own way into a file hides why it failed, as on a full disk.
        sink: Any = SimpleNamespace(write=file.write)
        np.lib.format.write_array(sink, array, allow_pickle=False)


def load(path: Path) -> npt.NDArray[Any]:
    """Map an array that `save` wrote."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
