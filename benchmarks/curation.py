"""Near-duplicate removal: `python -m benchmarks.curation`; `--full` adds a million rows."""

import multiprocessing
import sys
import time
from collections import Counter
from itertools import accumulate
from random import Random

from benchmarks.measure import peak_mb
from stepsynth._util.text import normalise
from stepsynth.curation import Curation, Curator
from stepsynth.curation.near import jaccard, shingles
from stepsynth.records import Example

SAMPLE = 2000
SIMILARITY = 0.7
WORDS = 50


def made_rows(size: int) -> list[Example]:
    """Return rows of 50 words with natural frequencies; a fifth are edits of an earlier row."""
    rng = Random(0)
    vocabulary = [
        "".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(20000)
    ]
    often = list(accumulate(1 / (rank + 10) for rank in range(len(vocabulary))))
    rows: list[Example] = []
    for _ in range(size):
        kind = rng.random()
        words = rng.choices(vocabulary, cum_weights=often, k=WORDS)
        if rows and kind < 0.25:
            words, edits = rng.choice(rows).text.split(), words
            for _ in range(rng.randint(1, 6) if kind < 0.2 else 0):
                words[rng.randrange(WORDS)] = edits.pop()
        rows.append(Example(" ".join(words), "a"))
    return rows


def curate(size: int, duplicates: str) -> tuple[float, float, Counter[str]]:
    """Return CPU seconds, MB beyond the rows themselves, and the rejects by reason."""
    rows = made_rows(size)
    curator = Curator(Curation.model_validate({"duplicates": duplicates}))
    before, started = peak_mb(), time.process_time()
    reasons: Counter[str] = Counter()
    for row in rows:
        if rejected := curator.reject(row, parent=None, completion=""):
            reasons[rejected.reason] += 1
    return time.process_time() - started, peak_mb() - before, reasons


def in_fresh_process(size: int, duplicates: str) -> tuple[float, float, Counter[str]]:
    """Return the same, measured in a fresh process without earlier allocations."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(curate, (size, duplicates))


def compare_all_pairs() -> tuple[float, int]:
    """Return the seconds to compare each sample row with all kept ones, and the removals."""
    rows, kept = made_rows(SAMPLE), list[frozenset[str]]()
    started = time.process_time()
    for row in rows:
        found = shingles(normalise(row.text))
        if all(jaccard(found, other) < SIMILARITY for other in kept):
            kept.append(found)
    return time.process_time() - started, len(rows) - len(kept)


def main() -> None:
    """Measure and print."""
    naive, removed = compare_all_pairs()
    print(f"Rows of {WORDS} words; near: Jaccard of word 3-grams >= {SIMILARITY}; one core")
    print(f"  all pairs {SAMPLE:9,} rows  {naive:7.2f} s {removed:9,} removed", flush=True)
    for size in (SAMPLE, 100_000, *([1_000_000] if "--full" in sys.argv else [])):
        for duplicates in ("exact", "near"):
            seconds, memory, reasons = in_fresh_process(size, duplicates)
            line = (
                f"  {duplicates:9s} {size:9,} rows  {seconds:7.2f} s {reasons.total():9,} removed"
            )
            line += f" {size / seconds:9,.0f} rows/s  +{memory:,.0f} MB"
            if duplicates == "near":
                # The number of pairs grows with the square of the rows.
                pairs = naive * (size / SAMPLE) ** 2
                line += f"  all pairs: {pairs / seconds:,.0f} x as long"
            print(line, flush=True)


if __name__ == "__main__":
    main()
