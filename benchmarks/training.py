"""`stepsynth train` on made rows: `python -m benchmarks.training [ROWS ...]`.

Labelled rows of 20 words (60 tokens) in Parquet shards, one pass of a random BERT of one narrow
layer: what is measured is how rows get into training, not what a model costs. Memory is the peak of
the process: its own (RssAnon), and what is mapped from files (RssFile), which the system takes back
when it needs it. Disk is the peak of what the command keeps while it works: rows and tokens.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from benchmarks.dedup import VOCABULARY, made_words
from benchmarks.encoder import write_tiny_bert

SIZES = (100_000, 400_000, 800_000)
WORDS, SHARD = 20, 100_000
LABELS = ("apple", "pear")
TASK = {
    "task": {"kind": "classification", "instruction": "Which one?", "labels": list(LABELS)},
    "data": {"gold": "gold.jsonl", "split": {"select": 40, "test": 40}},
    "student": {
        "name": "transformer",
        "model": "tiny",
        "epochs": 1,
        "batch_size": 512,
        "keep_epoch": "last",
    },
    "method": "gold",
}


def write_rows(count: int, folder: Path) -> None:
    """Write rows as Parquet shards, and 120 others as gold."""
    numbers = made_words(count + 120)[:, :WORDS].tolist()
    texts = (" ".join(f"w{i}" for i in row) for row in numbers)
    rows = ({"text": text, "label": LABELS[len(text) % 2]} for text in texts)
    gold = (json.dumps(row) + "\n" for row in islice(rows, 120))
    (folder / "gold.jsonl").write_text("".join(gold), encoding="utf-8")
    (folder / "rows").mkdir()
    for number in range(-(-count // SHARD)):
        path = folder / "rows" / f"{number:05d}.parquet"
        parquet.write_table(pa.Table.from_pylist(list(islice(rows, SHARD))), path)


def memory_mb(process: int) -> dict[str, float]:
    """Return kinds of resident memory of a process; empty: it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    found = (line.split() for line in lines if line.startswith(("RssAnon", "RssFile")))
    return {name.rstrip(":"): int(kb) / 1000 for name, kb, _ in found}


def disk_mb(process: int) -> float:
    """Return the size of the files of rows and tokens that a process holds open or mapped.

    Those of tokens have no name.
    """
    sizes: dict[tuple[int, int], int] = {}
    for kind in ("fd", "map_files"):
        for link in Path(f"/proc/{process}/{kind}").glob("*"):
            try:
                if any(name in os.readlink(link) for name in ("rows.arrow", " (deleted)")):
                    about = link.stat()
                    sizes[about.st_dev, about.st_ino] = about.st_size
            except OSError:
                continue
    return sum(sizes.values()) / 1e6


def measure(count: int, folder: Path) -> str:
    """Return a line of the table."""
    write_tiny_bert(folder / "tiny", hidden_size=16, num_hidden_layers=1, num_attention_heads=1)
    write_rows(count, folder)
    (folder / "task.yaml").write_text(json.dumps(TASK), encoding="utf-8")
    command = [sys.executable, "-m", "stepsynth", "train", "task.yaml", "rows", "--out", "model"]
    started, peak, disk = time.monotonic(), dict[str, float](), 0.0
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for kind, size in memory_mb(process.pid).items():
                peak[kind] = max(peak.get(kind, 0), size)
            disk = max(disk, disk_mb(process.pid))
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit(process.returncode)
    seconds = time.monotonic() - started
    own, mapped = peak["RssAnon"], peak["RssFile"]
    return f"  {count:12,} {seconds:8.0f} {own:8,.0f} {mapped:8,.0f} {disk:8,.0f}"


def main() -> None:
    """Measure and print."""
    print(f"Rows of {WORDS} of {VOCABULARY:,} made words, shards of {SHARD:,}")
    print(f"  {'rows':>12} {'seconds':>8} {'own MB':>8} {'mapped':>8} {'disk MB':>8}")
    for count in [int(each.replace(",", "")) for each in sys.argv[1:]] or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(count, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
