"""`stepsynth dedup` on made rows: `python -m benchmarks.dedup [ROWS ...]` (default: 1,000,000).

Rows of 50 words with natural frequencies, in Parquet shards. A fifth are earlier rows of any shard
with one to six words exchanged (themselves edited or not), and a twentieth are copies. The command
works in processes of its own; the memory is that of all of them together (RSS).

A sample of rows is compared with all rows by the exact Jaccard similarity of their word 3-grams,
without a hash. Recall: of the sample rows that are near an earlier row that is kept, the share that
was removed. Precision: of those removed, the share that is near one.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

Words = npt.NDArray[np.uint16]
Pairs = npt.NDArray[np.int64]

WORDS, VOCABULARY, SHINGLE = 50, 20_000, 3
BLOCK, SHARD, GROUP = 20_000, 1_000_000, 100_000
SAMPLE = 5_000
SIMILARITY = 0.7
JOBS = 2


def made_words(count: int) -> Words:
    """Return the words of rows, as numbers: (count, WORDS)."""
    rng = np.random.default_rng(0)
    share = 1 / (np.arange(VOCABULARY) + 10)
    edges = np.cumsum(share / share.sum())[:-1]
    rows = np.empty((count, WORDS), dtype=np.uint16)
    for at in range(0, count, BLOCK):
        block = rows[at : at + BLOCK]
        block[:] = np.searchsorted(edges, rng.random(block.shape))
        if at:
            kind = rng.random(len(block))
            for i in np.flatnonzero(kind < 0.25).tolist():
                drawn = block[i].copy()
                block[i] = rows[rng.integers(at)]
                if kind[i] < 0.2:
                    places = rng.choice(WORDS, rng.integers(1, 7), replace=False)
                    block[i, places] = drawn[places]
    return rows


def write_shards(rows: Words, folder: Path) -> None:
    """Write rows as Parquet, with their numbers as ids."""
    names = np.array([f"w{i}" for i in range(VOCABULARY)], dtype=object)
    for at in range(0, len(rows), SHARD):
        path = folder / f"{at // SHARD:05d}.parquet"
        schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
        with parquet.ParquetWriter(path, schema) as writer:
            for low in range(at, min(at + SHARD, len(rows)), GROUP):
                some = rows[low : min(low + GROUP, at + SHARD)]
                texts = [" ".join(words) for words in names[some]]
                ids = np.arange(low, low + len(some))
                writer.write_table(pa.table({"id": ids, "text": texts}, schema=schema))


def memory_mb(process: int) -> float:
    """Return the resident memory of a process and of all below it."""
    total, left = 0.0, [process]
    while left:
        place = Path(f"/proc/{left.pop()}")
        try:
            pages = int((place / "statm").read_text(encoding="ascii").split()[1])
            for task in (place / "task").iterdir():
                left += map(int, (task / "children").read_text(encoding="ascii").split())
        except (OSError, IndexError):  # it has ended
            continue
        total += pages * 4096 / 1e6
    return total


def measured(*command: str) -> tuple[float, float, float]:
    """Run a command; return its minutes, CPU minutes, and peak memory in MB."""
    before, started = getrusage(RUSAGE_CHILDREN), time.monotonic()
    process, peak = subprocess.Popen(command, stdout=subprocess.DEVNULL), 0.0
    has_ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not has_ended.wait(0.2):
            peak = max(peak, memory_mb(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    has_ended.set()
    watcher.join()
    if code:
        raise SystemExit(code)
    after = getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (time.monotonic() - started) / 60, cpu / 60, peak


def shingles(rows: Words) -> Pairs:
    """Return the 3-grams of rows as numbers, sorted: (n, WORDS - 2)."""
    wide = rows.astype(np.int64)
    grams = wide[:, :-2]
    for i in range(1, SHINGLE):
        grams = grams * VOCABULARY + wide[:, i : WORDS - SHINGLE + 1 + i]
    return np.sort(grams, axis=1)


def near_pairs(rows: Words, sample: Pairs) -> Iterator[tuple[int, int]]:
    """Yield all pairs of a sample row and an earlier one that are near by exact Jaccard."""
    ours = [set(row.tolist()) for row in shingles(rows[sample])]
    grams = np.concatenate([np.fromiter(each, np.int64) for each in ours])
    owners = np.repeat(np.arange(len(sample)), [len(each) for each in ours])
    order = np.argsort(grams, kind="stable")
    grams, owners = grams[order], owners[order]
    for at in range(0, len(rows), BLOCK):
        theirs = shingles(rows[at : at + BLOCK])
        is_new = np.ones(theirs.shape, dtype=np.bool_)
        is_new[:, 1:] = theirs[:, 1:] != theirs[:, :-1]
        low = np.searchsorted(grams, theirs, side="left")
        counts = (np.searchsorted(grams, theirs, side="right") - low) * is_new
        row, column = np.nonzero(counts)
        low, counts = low[row, column], counts[row, column]
        # The places of all hits in `owners`, one range after the other.
        places = np.repeat(low - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        hits = owners[places] * BLOCK + np.repeat(row, counts)
        sizes = is_new.sum(axis=1)
        for hit, shared in zip(*np.unique(hits, return_counts=True), strict=True):
            mine, other = divmod(int(hit), BLOCK)
            union = len(ours[mine]) + int(sizes[other]) - int(shared)
            if at + other < sample[mine] and shared / union >= SIMILARITY:
                yield mine, at + other


def quality(rows: Words, is_kept: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return recall and precision on a sample."""
    sample = np.sort(np.random.default_rng(1).choice(len(rows), SAMPLE, replace=False))
    is_near = np.zeros(SAMPLE, dtype=np.bool_)
    for mine, other in near_pairs(rows, sample):
        is_near[mine] |= is_kept[other]
    removed = ~is_kept[sample]
    return float(removed[is_near].mean()), float(is_near[removed].mean())


def measure(count: int, folder: Path) -> str:
    """Return a line of the table."""
    rows = made_words(count)
    (folder / "in").mkdir()
    write_shards(rows, folder / "in")
    given: tuple[Any, ...] = (folder / "in", "-o", folder / "out", "--similarity", SIMILARITY)
    command = (sys.executable, "-m", "stepsynth", "dedup", *given, "--jobs", JOBS)
    minutes, cpu, peak = measured(*map(str, command))
    is_kept = np.zeros(count, dtype=np.bool_)
    for path in sorted((folder / "out").glob("*.parquet")):
        is_kept[parquet.read_table(path, columns=["id"])["id"].to_numpy()] = True
    recall, precision = quality(rows, is_kept)
    return (
        f"  {count:12,} {minutes:8.1f} {cpu:8.1f} {cpu * 6e7 / count:10.1f} {peak:8,.0f} "
        f"{count - int(is_kept.sum()):10,} {recall:7.4f} {precision:9.4f}"
    )


def main() -> None:
    """Measure and print."""
    print(f"Rows of {WORDS} words, Jaccard of word 3-grams >= {SIMILARITY}, {JOBS} processes")
    print(
        f"  {'rows':>12} {'minutes':>8} {'CPU min':>8} {'CPU us/row':>10} {'peak MB':>8} "
        f"{'removed':>10} {'recall':>7} {'precision':>9}"
    )
    for count in [int(each.replace(",", "")) for each in sys.argv[1:]] or [1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(count, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
