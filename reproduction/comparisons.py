"""Comparisons of methods on the replays: the tables of `docs/results.md`.

    STEPSYNTH_REPLAYS=/path/to/replays python -m reproduction.comparisons [--only rte] [--seeds 5]

Each of `comparisons()` is one `stepsynth compare`. Its runs stay under `.bench/compare`, so a
stopped command resumes. Two questions need other pairs than "minus ZeroGen": whether the choice of
errors helps (S3 minus `random`), and how much of the gain with gold rows comes from gold alone.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import stepsynth
from benchmarks.encoder import distilled, minilm
from stepsynth.comparison.table import Comparison, compare_answers
from stepsynth.metrics import SCORE_NAMES
from stepsynth.metrics.bootstrap import Interval
from stepsynth.report.compare_page import score_table
from stepsynth.runfolder import Run

HERE = Path(__file__).parent
OUT = Path(".bench/compare")
METHODS = (
    *("zerogen", "s3", "goldgen", "random", "gold", "sungen"),
    *("s3:train_on=both", "zerogen:train_on=both", "s3:balance_added=true"),
)
"""Methods that a recording of seed data and extrapolations can serve."""

PAIRS = (
    ("s3", "random"),
    ("zerogen:train_on=both", "zerogen"),
    ("s3:train_on=both", "zerogen:train_on=both"),
    ("s3:train_on=both", "gold"),
)
"""Pairs of methods whose differences are printed side by side for all comparisons."""

LLMS = {"gpt-4": "GPT-4", "llama-2-70b": "Llama-2-70B", "gpt2-xl": "GPT2-XL", "": "CTRL"}
TASKS = {"hyperbole": "Hyperbole", "tweet-sentiment": "Tweets", "rte": "RTE", "imdb": "IMDb"}


@dataclass(frozen=True)
class Replayed:
    """Task file with the recordings of one LLM for the seed data, and one student.

    Attributes:
        seed_llm: LLM whose recording gives the seed data; "": as in the task file.
        extra_llm: LLM whose recording gives the extrapolations.
        seed_size: S3's seed rows, two thirds of the budget; 0: as in the task file.
    """

    task: str
    file: str
    student: str
    seed_llm: str = ""
    extra_llm: str = ""
    seed_size: int = 0
    methods: Sequence[str] = METHODS

    @property
    def name(self) -> str:
        """Its folder."""
        return "-".join(filter(None, (self.task, self.seed_llm, self.student)))

    @property
    def title(self) -> str:
        """Its heading."""
        mark = {"embedding": " (MiniLM†)", "static": " (from MiniLM†)"}.get(self.student, "")
        return f"{TASKS[self.task]}, `{self.student}`{mark}, seed data by {LLMS[self.seed_llm]}"

    def overrides(self) -> list[str]:
        """Return the `--set` values of this comparison."""
        found = [f"method.seed_size={self.seed_size}"] if self.seed_size else []
        if self.seed_llm:
            folder = Path(os.environ["STEPSYNTH_REPLAYS"]) / self.task
            names = (f"seed-{self.seed_llm}.jsonl*", f"extrapolations-{self.extra_llm}.jsonl*")
            files = [str(next(folder.glob(name))) for name in names]
            found.append(f"llm.recordings={json.dumps(files)}")
        if self.student != "linear":
            found.append(f"student={json.dumps(student_section(self.student))}")
        return found


def student_section(name: str) -> dict[str, str]:
    """Return the section `student`."""
    models = {"static": distilled} | dict.fromkeys(("embedding", "setfit", "transformer"), minilm)
    return {"name": name} | ({"model": models[name]()} if name in models else {})


def comparisons(students: Sequence[str] = ("linear", "embedding")) -> list[Replayed]:
    """Return all comparisons, the quick ones first."""
    found: list[Replayed] = []
    for student in students:
        for task, size in (("hyperbole", 200), ("tweet-sentiment", 300)):
            for llm in ("gpt-4", "llama-2-70b"):
                file = f"replays/{task}.yaml"
                found.append(Replayed(task, file, student, llm, "gpt-4", size))
        found.append(Replayed("rte", "families/rte.yaml", student))
    file, extra = "replays/imdb.yaml", "gpt-3.5"
    # On reviews, which are long, fewer methods and rows.
    few = tuple(name for name in METHODS if name not in ("sungen", "s3:balance_added=true"))
    return found + [Replayed("imdb", file, s, "gpt2-xl", extra, 500, few) for s in students]


def run(one: Replayed, *, seeds: int, jobs: int) -> Comparison:
    """Run the rest of a comparison."""
    return stepsynth.compare(
        HERE / one.file,
        one.methods,
        seeds=seeds,
        overrides=one.overrides(),
        out=OUT / one.name,
        jobs=jobs,
    )


def table(comparison: Comparison) -> str:
    """Return the Markdown of a comparison's scores, with the final rows of each method."""
    if missing := [run for run in comparison.runs if not run.is_done]:
        raise SystemExit(f"{missing[0].folder}: {missing[0].error} ({len(missing)} have no result)")
    found = score_table(comparison)
    names = [name for name, _ in found.columns]
    place = names.index("random seeds")  # the same for all, and printed once
    lines: list[list[str]] = [names, ["---", *["---:"] * (len(names) - 1)], *found.rows]
    rows = ["rows", "---:", *(f"{method.mean['rows']:,.0f}" for method in comparison.methods)]
    for line, count in zip(lines, rows, strict=True):
        line.pop(place)
        line.insert(1, count)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def difference(comparison: Comparison, first: str, second: str) -> dict[str, Interval]:
    """Return the paired differences of two methods' scores."""
    said = [
        {
            run.random_seed: Run(run.folder).kept.answers
            for run in comparison.runs
            if run.method == name and run.is_done
        }
        for name in (first, second)
    ]
    return compare_answers(*said)


def pair_table(done: Sequence[tuple[Replayed, Comparison]], score: str) -> str:
    """Return the Markdown of the differences of `PAIRS`: one line a comparison."""
    lines = [
        "| comparison | " + " | ".join(f"{a} minus {b}" for a, b in PAIRS) + " |",
        "| --- |" + " ---: |" * len(PAIRS),
    ]
    for one, comparison in done:
        gains = [difference(comparison, *pair)[score] for pair in PAIRS]
        lines.append(f"| {one.title} | " + " | ".join(map(str, gains)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the chosen comparisons, and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=TASKS, help="The name of a task.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    done: list[tuple[Replayed, Comparison]] = []
    for one in comparisons():
        if options.only in (None, one.task):
            done.append((one, run(one, seeds=options.seeds, jobs=options.jobs)))
            print(f"### {one.title}\n\n{table(done[-1][1])}\n", flush=True)
    for score in ("macro_f1", "accuracy"):
        print(f"### Pairs, {SCORE_NAMES[score][0]}, points\n\n{pair_table(done, score)}\n")


if __name__ == "__main__":
    main()
