"""The audit of gold rows, with labels that were flipped on purpose.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.audit [--rows 500] [--only IMDb]

10 % of the labels of a sample become another label. *Recall* is the share of them that the audit
calls wrong, *precision* the share of flipped ones among those that it calls wrong; labels that were
wrong before count against it.
"""

import argparse

import numpy as np

from benchmarks.encoder import distilled
from reproduction.live import data_folder, read
from reproduction.students import factory
from stepsynth._util.rng import make_rng
from stepsynth.dryrun import audit
from stepsynth.records import Dataset, Example

FILES = {
    "AG News": "ag-news/train.jsonl.gz",
    "SST-2": "sst2/train.jsonl",
    "IMDb": "imdb/train.jsonl.gz",
}
SHARE = 0.1


def measure(rows: list[Example], student: str, random_seed: int) -> tuple[float, float]:
    """Return recall and precision of one sample."""
    labels = sorted({str(row.label) for row in rows})
    rng = make_rng(random_seed, "flip")
    flipped = set(rng.sample(range(len(rows)), int(len(rows) * SHARE)))
    given = [
        Example(row.text, rng.choice([name for name in labels if name != row.label]))
        if i in flipped
        else row
        for i, row in enumerate(rows)
    ]
    static = distilled() if student == "static" else ""
    model = factory(student, tuple(labels), random_seed, static=static)
    doubts = audit(Dataset(given), model, print)
    called = {doubt.row.id for doubt in doubts if doubt.kind == "wrong_label"}
    hits = called & {given[i].id for i in flipped}
    return len(hits) / len(flipped), len(hits) / max(1, len(called))


def main() -> None:
    """Print a table: data set, student, recall and precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--students", nargs="+", default=["linear", "embedding"])
    options = parser.parse_args()
    print("| data set | student | recall | precision |\n| --- | --- | ---: | ---: |")
    for name in options.only:
        path = data_folder() / FILES[name]
        found = {row["text"]: row for row in read(path)} if path.exists() else {}
        for student in options.students:
            scores: list[tuple[float, float]] = []
            for seed in range(options.seeds if found else 0):
                drawn = make_rng(seed, "audit").sample(list(found.values()), options.rows)
                rows = [Example(row["text"], str(row["label"])) for row in drawn]
                scores.append(measure(rows, student, seed))
            if scores:
                told = (
                    f"{mean:.0%} ({spread:.0%})"
                    for mean, spread in zip(np.mean(scores, 0), np.std(scores, 0), strict=True)
                )
                print(f"| {name} | `{student}` | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
