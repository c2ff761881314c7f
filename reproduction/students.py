"""Students on gold rows alone: macro-F1, times and memory by the number of rows.

    STEPSYNTH_DATA=/path/to/data STEPSYNTH_REPLAYS=/path/to/replays \
        python -m reproduction.students [--students linear static auto]

`auto` chooses between `linear` and `static`; `static` needs a Model2Vec model (`--static FOLDER`).
Without one it is distilled from MiniLM, in a minute, and kept under `.bench/`. Memory is the
process's peak so far: ask for one student at a time where it matters.
"""

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.encoder import distilled, minilm
from benchmarks.measure import peak_mb
from reproduction.live import data_folder, examples
from stepsynth._util.rng import make_rng
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory, students
from stepsynth.tasks.classification import Classification

FILES = {
    "SST-2": ("sst2/train.jsonl", "sst2/test.jsonl"),
    "AG News": ("ag-news/train.jsonl.gz", "ag-news/test.jsonl.gz"),
    "IMDb": ("imdb/train.jsonl.gz", "imdb/test.jsonl.gz"),
}
REPLAYED = {
    "Tweets": ("tweet-sentiment/gold.jsonl", "tweet-sentiment/test.jsonl.gz"),
    "Hyperbole": ("hyperbole/gold.jsonl", "hyperbole/test.jsonl"),
}
"""Gold has a few hundred rows: here all rows are put together, and divided anew."""

SIZES = (50, 200, 1000)
MOST_TEST = 1_000
NAMES = ("linear", "static", "static:tfidf=false", "embedding")


def factory(name: str, labels: tuple[str, ...], seed: int, *, static: str = "") -> StudentFactory:
    """Return the factory of a student by its name, or "NAME:tfidf=false"."""
    kind, _, rest = name.partition(":")
    keys: dict[str, object] = {}
    if kind == "static":
        keys["model"] = static
    elif kind in ("embedding", "setfit"):
        keys["model"] = minilm()
    elif kind == "auto":
        keys["candidates"] = ["linear", {"name": "static", "model": static}]
    if rest:
        keys["tfidf"] = False
    return StudentFactory(students().get(kind).model_validate(keys), labels, seed)


@dataclass(frozen=True)
class Data:
    """Rows to draw gold from, and rows to test on."""

    train: list[Example]
    held_out: Dataset

    @classmethod
    def read(cls, title: str) -> "Data":
        """Read a data set by its title."""
        files, folder = FILES.get(title), data_folder()
        if files is None:
            files, folder = REPLAYED[title], Path(os.environ["STEPSYNTH_REPLAYS"])
        train, test = (examples(folder / file) for file in files)
        rng = make_rng(0, "test")
        if title in FILES:
            return cls(train, Dataset(rng.sample(test, min(MOST_TEST, len(test)))))
        drawn = rng.sample([*train, *test], len(train) + len(test))
        return cls(drawn[MOST_TEST:], Dataset(drawn[:MOST_TEST]))


def main() -> None:
    """Print a table: a line for each data set and student."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--students", nargs="+", default=list(NAMES))
    parser.add_argument("--only", nargs="+", default=[*FILES, *REPLAYED])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--static", default="", help="Folder or name of a Model2Vec model.")
    options = parser.parse_args()
    static = options.static or distilled()
    most = max(options.sizes)
    shown = " | ".join(f"{size} rows" for size in options.sizes)
    print(f"| data set | student | {shown} | fit of {most}, s | predicted texts/s | MB |")
    print("| --- | --- |" + " ---: |" * (len(options.sizes) + 3))
    for title in options.only:
        data = Data.read(title)
        labels = tuple(sorted({str(row.label) for row in data.train}))
        for name in options.students:
            cells, fit, speed = _measure(data, name, static, labels, options.sizes, options.seeds)
            times = f"{fit:.2f} | {speed:,.0f} | {peak_mb():,.0f}"
            print(f"| {title} | `{name}` | {' | '.join(cells)} | {times} |", flush=True)


def _measure(
    data: Data,
    name: str,
    static: str,
    labels: tuple[str, ...],
    sizes: list[int],
    seeds: int,
) -> tuple[list[str], float, float]:
    """Return a cell for each size, and of the largest the seconds of a fit and the texts/s."""
    task = Classification(labels={name: name for name in labels})
    cells: list[str] = []
    fits: list[float] = []
    predicts: list[float] = []
    for size in sizes:
        scores: list[float] = []
        for seed in range(seeds):
            model = factory(name, labels, seed, static=static).new()
            began = time.perf_counter()
            model.fit(Dataset(make_rng(seed, "gold").sample(data.train, size)))
            fitted = time.perf_counter()
            said = model.predict(data.held_out)
            if size == max(sizes):
                fits.append(fitted - began)
                predicts.append(time.perf_counter() - fitted)
            scores.append(100 * task.score(data.held_out, said)["macro_f1"])
        spread = f" ({np.std(scores, ddof=1):.1f})" if seeds > 1 else ""
        cells.append(f"{np.mean(scores):.1f}{spread}")
    # The first run loads the model, later ones of `embedding` know the test rows.
    speed = len(data.held_out) / (predicts[0] if name == "embedding" else min(predicts))
    return cells, min(fits), speed


if __name__ == "__main__":
    main()
