"""Every method on the replays: the tables of `docs/results.md`.

    STEPSYNTH_REPLAYS=/path/to/replays python -m reproduction.replays [--seeds 5] [--only imdb]

Every number comes from runs made here. All methods share task files, splits and student. Each rival
gets the final number of rows of S3's run with the same random seed. Runs stay in `.bench/replays`,
so a stopped command resumes.
"""

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from reproduction.live import read
from stepsynth.metrics.bootstrap import Interval, bootstrap_mean
from stepsynth.runfolder import Run, RunRound

HERE = Path(__file__).parent
OUT = Path(".bench/replays")
SCORES = ("accuracy", "macro_f1", "auc", "tuned_accuracy")
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """Cell: a task, an LLM for seed data, an LLM for extrapolations, and a random seed."""

    task: str
    seed_llm: str
    extra_llm: str
    random_seed: int
    seed_size: int

    @property
    def name(self) -> str:
        """The name of the cell, without the random seed."""
        return f"{self.task}, seed {self.seed_llm}, extrapolations {self.extra_llm}"

    def recordings(self) -> list[Path]:
        """Return the seed recording and the recording of extrapolations."""
        folder = Path(os.environ["STEPSYNTH_REPLAYS"]) / self.task
        names = (f"seed-{self.seed_llm}.jsonl*", f"extrapolations-{self.extra_llm}.jsonl*")
        return [next(folder.glob(name)) for name in names]


def cells(seeds: int, only: str | None) -> Iterator[Cell]:
    """Yield the cells to measure."""
    for seed in range(seeds):
        if only in (None, "imdb"):
            for llm in ("gpt-3.5", "vicuna-7b", "gpt2-xl"):
                yield Cell("imdb", llm, "gpt-3.5", seed, 2000)
        for task, size in (("tweet-sentiment", 400), ("hyperbole", 260)):
            if only in (None, task):
                for first in ("gpt-4", "llama-2-70b"):
                    for second in ("gpt-4", "llama-2-70b"):
                        yield Cell(task, first, second, seed, size)


def measure(cell: Cell) -> list[Row]:
    """Run every method on a cell and return a row for each; S3 has a row for each round."""
    s3 = run(cell, "s3", f"method.seed_size={cell.seed_size}")
    final = s3.rounds[-1].metrics.train_size
    rows = [row_of(cell, f"s3 round {done.index}", s3, done) for done in s3.rounds]
    for name, method, size in (
        ("s3 balanced", "s3", "method.balance_added=true"),
        ("zerogen, seed rows", "zerogen", f"method.seed_size={cell.seed_size}"),
        ("zerogen, S3's size", "zerogen", f"method.seed_size={final}"),
        ("goldgen, S3's size", "goldgen", f"method.size={final}"),
        ("gold (mine)", "gold", ""),
    ):
        extra = [size] if size else []
        if method == "goldgen":
            extra += [f"method.seed_size={cell.seed_size}", "method.rationales=false"]
        if method == "s3":
            extra.append(f"method.seed_size={cell.seed_size}")
        done_run = run(cell, method, *extra)
        for done in done_run.rounds[-2 if method == "s3" else -1 :]:
            title = f"{name} round {done.index}" if method == "s3" else name
            rows.append(row_of(cell, title, done_run, done))
    return [*rows, null(cell, s3, final)]


def run(cell: Cell, method: str, *overrides: str) -> Run:
    """Run a method, unless its run is done."""
    import stepsynth

    key = "-".join([method, *(o.split("=")[1] for o in overrides)])
    out = OUT / cell.name.replace(", ", "/").replace(" ", "-") / str(cell.random_seed) / key
    found = Run(out)
    if found.is_done:
        return found
    recordings = json.dumps([str(path) for path in cell.recordings()])
    chosen = ["method=" + method] if method != "s3" else []
    stepsynth.run(
        HERE / f"{cell.task}.yaml",
        overrides=[
            *chosen,
            f"llm.recordings={recordings}",
            f"random_seed={cell.random_seed}",
            *overrides,
        ],
        out=out,
    )
    return Run(out)


def null(cell: Cell, s3: Run, final: int) -> Row:
    """Train on S3's seed rows and as many random rows of the pool as S3 added.

    If the pool has keys, only rows written for `mine` are drawn: the others carry knowledge of
    gold rows that no method may see.
    """
    from stepsynth._util.rng import make_rng
    from stepsynth.inputs import read_gold, split
    from stepsynth.metrics import Predictions
    from stepsynth.metrics.scoring import fit_offsets, tuned_accuracy
    from stepsynth.records import Example, Rejected, union
    from stepsynth.students import StudentFactory
    from stepsynth.taskfile.config import load_config

    config = load_config(HERE / f"{cell.task}.yaml", [f"random_seed={cell.random_seed}"])
    gold = split(config, read_gold(config, print), lambda _: None)
    mined = set(gold.mine.texts)
    pool: list[Example] = []
    for line in read(cell.recordings()[1]):
        like = Example("", line["label"])
        row = config.task.parse_example(line["completion"], like, truncated=False)
        if not isinstance(row, Rejected) and line.get("source") in (None, *mined):
            pool.append(row)
    seed_rows = s3.rounds[0].added
    drawn = make_rng(cell.random_seed, "null").sample(pool, final - len(seed_rows))
    factory = StudentFactory(config.student, config.task.label_names, cell.random_seed)
    model = factory.new()
    model.fit(union(seed_rows, drawn))
    selected, predictions = model.predict(gold.select), model.predict(gold.test)
    assert isinstance(selected, Predictions)
    assert isinstance(predictions, Predictions)
    test = config.task.score(gold.test, predictions)
    offsets = fit_offsets(gold.select.labels, selected)
    test["tuned_accuracy"] = tuned_accuracy(gold.test.labels, predictions, offsets)
    hits = [p == g for p, g in zip(predictions.labels, gold.test.labels, strict=True)]
    return {
        "cell": cell.name,
        "method": "null: random rows of the pool",
        "random_seed": cell.random_seed,
        "rows": final,
        **{key: test[key] for key in SCORES},
        "hits": np.packbits(hits).tobytes().hex(),
        "n": len(hits),
    }


def row_of(cell: Cell, name: str, run: Run, done: RunRound) -> Row:
    """Return a method's scores and its correct test rows."""
    said, test = done.answers, done.metrics.test
    assert test is not None
    hits = [p == g for p, g in zip(said.predicted, said.gold, strict=True)]
    return {
        "cell": cell.name,
        "method": name,
        "random_seed": cell.random_seed,
        "rows": done.metrics.train_size,
        **{key: test[key] for key in SCORES},
        "failed": run.summary.llm.failed,
        "rejected": sum(run.summary.llm.rejected.values()),
        "hits": np.packbits(hits).tobytes().hex(),
        "n": len(hits),
    }


def hits_of(rows: Sequence[Row]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return an array (n_seeds, n_test) of which test rows are correct."""
    packed = [np.frombuffer(bytes.fromhex(r["hits"]), dtype=np.uint8) for r in rows]
    return np.array(
        [np.unpackbits(p)[: r["n"]].astype(bool) for p, r in zip(packed, rows, strict=True)]
    )


def interval(values: np.ndarray[Any, Any]) -> Interval:
    """Return the interval of the mean of (n_seeds, n_test) values: scores, or their differences."""
    rows = [np.arange(values.shape[1])] * len(values)
    return bootstrap_mean(list(values), list(np.zeros_like(values)), rows)


def table(rows: Sequence[Row]) -> str:
    """Return the Markdown of all cells."""
    cells_: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells_[row["cell"]][row["method"]].append(row)
    lines: list[str] = []
    for name, methods in cells_.items():
        last = max(m for m in methods if m.startswith("s3 round"))
        s3 = hits_of(methods[last]).astype(float)
        lines += [
            f"### {name}",
            "",
            "| trained on | rows | accuracy (sd) | 95 % interval | S3 minus this, 95 % interval "
            "| macro-F1 | AUC | tuned accuracy |",
            "| --- | ---: | ---: | --- | --- | ---: | ---: | ---: |",
        ]
        for method, found in methods.items():
            lines.append(_line(method, found, None if method == last else s3))
        s3_rounds = [methods[m] for m in sorted(methods) if m.startswith("s3 round")]
        lines += ["", _falls(s3_rounds), ""]
    return "\n".join(lines)


def _line(method: str, rows: Sequence[Row], s3: np.ndarray[Any, Any] | None) -> str:
    hits = hits_of(rows).astype(float)
    level = interval(hits)
    mean = {key: 100 * float(np.mean([r[key] for r in rows])) for key in SCORES}
    spread = 100 * float(np.std([r["accuracy"] for r in rows], ddof=1)) if len(rows) > 1 else 0.0
    gain = "–"
    if s3 is not None:
        gain = str(interval(s3 - hits))
    size = float(np.mean([r["rows"] for r in rows]))
    return (
        f"| {method} | {size:,.0f} | {mean['accuracy']:.1f} ({spread:.1f}) "
        f"| [{100 * level.low:.1f}, {100 * level.high:.1f}] | {gain} "
        f"| {mean['macro_f1']:.1f} | {mean['auc']:.1f} | {mean['tuned_accuracy']:.1f} |"
    )


def _falls(rounds: Sequence[Sequence[Row]]) -> str:
    parts: list[str] = []
    for before, after in pairwise(rounds):
        drops = [
            100 * (b["accuracy"] - a["accuracy"])
            for b, a in zip(before, after, strict=True)
            if a["accuracy"] < b["accuracy"]
        ]
        most = f", by up to {max(drops):.1f} points" if drops else ""
        parts.append(f"{after[0]['method']} falls in {len(drops)} of {len(after)} seeds{most}")
    unused = [f"{r['failed']} + {r['rejected']}" for r in rounds[-1]]
    return "; ".join(parts) + f". Exhausted + rejected of S3 by seed: {', '.join(unused)}."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=("imdb", "tweet-sentiment", "hyperbole"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if "STEPSYNTH_REPLAYS" not in os.environ:
        raise SystemExit("set STEPSYNTH_REPLAYS to the folder that holds imdb/, hyperbole/, ...")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    rows: list[Row] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for found in pool.map(measure, cells(options.seeds, options.only)):
            rows += found
            print(f"done: {found[0]['cell']}, random seed {found[0]['random_seed']}", flush=True)
    print(table(rows))
    (OUT / "table.md").write_text(table(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
