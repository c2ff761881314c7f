"""What a user may do instead: the section "When synthesis pays" of `docs/results.md`.

    STEPSYNTH_DATA=... STEPSYNTH_REPLAYS=... python -m reproduction.rivals [--only sst2] [--url URL]

Gold rows of a data set are drawn once for each size, and divided anew into `mine` (two thirds) and
`select` by each random seed. Without `--url` only what needs no live LLM is run: gold rows,
`selftrain` with each student (with `embedding` `zeroshot`, too), and synthesis where recordings
serve it. With `--url` the LLM behind it decides on test rows (`llm`); with `--write` too it labels
texts (`annotate`), and on SST-2 and AG News it writes them.

Unlabelled texts are gold and test rows that were not drawn. Results stay in `.bench/rivals`, so a
stopped command resumes; the tables go to stdout.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import stepsynth
from reproduction.comparisons import student_section
from reproduction.live import read
from stepsynth._util.files import write_jsonl
from stepsynth._util.rng import make_rng
from stepsynth.comparison import Comparison

OUT = Path(".bench/rivals")
SIZES = (50, 200, 1000)
TEST, UNLABELLED = 1_000, 1_000
"""Most test rows and unlabelled texts."""

DECIDED, WRITTEN = 100, 100
"""Test rows that the LLM itself decides, and calls of a method that it writes rows for."""

STUDENTS = ("linear", "static", "embedding")
FINE_TUNED = ("setfit", "transformer")
"""Students that take minutes to fit: by name only, and best with `--methods gold`."""

TABLE = ("sst2", "ag_news", "tweets", "hyperbole", "rte")
"""Data sets of the table; the others confirm what it says of `s3_plus`."""

WITHOUT_LLM = ("gold", "selftrain")
SYNTHESIS = ("zerogen", "goldgen", "s3", "s3_plus")
DECIDE = ("llm", "llm:shots=4")
WRITE = ("gold", f"annotate:size={WRITTEN};shots=4;check=40;train_on=both", *SYNTHESIS)


@dataclass(frozen=True)
class Rival:
    """Data set of this benchmark.

    Attributes:
        task: The section `task` of the task file.
        gold: File of gold rows.
        test: File of test rows.
        recordings: Files of recorded answers that serve synthesis; none: only live.
        budget: Rows of a synthesis method that recordings serve.
        extra: Further keys of the section `data`.
    """

    task: Mapping[str, Any]
    gold: str
    test: str
    recordings: Sequence[str] = ()
    budget: int = 0
    extra: Mapping[str, str] = field(default_factory=dict)


def _classify(instruction: str, text_name: str, *labels: str) -> dict[str, Any]:
    keys = {"kind": "classification", "instruction": instruction}
    return keys | {"text_name": text_name, "labels": list(labels)}


SETS = {
    "sst2": Rival(
        task=_classify(
            "Decide whether a sentence from a movie review is positive or negative.",
            "sentence from a movie review",
            *("negative", "positive"),
        ),
        gold="data/sst2/train.jsonl",
        test="data/sst2/test.jsonl",
    ),
    "ag_news": Rival(
        task={"recipe": "ag_news"},
        gold="data/ag-news/train.jsonl.gz",
        test="data/ag-news/test.jsonl.gz",
    ),
    "imdb": Rival(
        task={"recipe": "imdb"},
        gold="data/imdb/train.jsonl.gz",
        test="data/imdb/test.jsonl.gz",
    ),
    "qnli": Rival(
        task={"recipe": "qnli"},
        gold="data/qnli-from-squad/train.jsonl.gz",
        test="data/s3-qnli/test_gold.jsonl.gz",
    ),
    "tweets": Rival(
        task=_classify(
            "Decide whether the sentiment of a tweet is negative, neutral or positive.",
            "tweet",
            *("negative", "neutral", "positive"),
        ),
        gold="replays/tweet-sentiment/gold.jsonl",
        test="replays/tweet-sentiment/test.jsonl.gz",
        recordings=(
            "replays/tweet-sentiment/seed-gpt-4.jsonl",
            "replays/tweet-sentiment/extrapolations-gpt-4.jsonl.gz",
        ),
        budget=450,
    ),
    "hyperbole": Rival(
        task=_classify(
            "Decide whether a sentence is a hyperbole (a deliberate exaggeration) or not.",
            "sentence",
            *("hyperbole", "not hyperbole"),
        ),
        gold="replays/hyperbole/gold.jsonl",
        test="replays/hyperbole/test.jsonl",
        recordings=(
            "replays/hyperbole/seed-gpt-4.jsonl",
            "replays/hyperbole/extrapolations-gpt-4.jsonl",
        ),
        budget=300,
    ),
    "rte": Rival(
        task={"recipe": "rte"},
        gold="replays/rte/gold.jsonl",
        test="replays/rte/test.jsonl",
        recordings=(
            "replays/rte/seed-ctrl.jsonl.gz",
            "replays/rte/extrapolations-gpt-3.5.jsonl",
        ),
        budget=1_500,
        extra={"contexts": "replays/rte/contexts.jsonl.gz"},
    ),
}


def place(name: str) -> Path:
    """Return a file of the data ("data/...") or of the replays ("replays/...").

    Raises:
        SystemExit: The variable that names its folder is not set.
    """
    root, _, rest = name.partition("/")
    variable = f"STEPSYNTH_{root.upper()}"
    if variable not in os.environ:
        raise SystemExit(f"set {variable} to the folder of the {root}")
    return Path(os.environ[variable]) / rest


def write_files(name: str, size: int, test: int) -> dict[str, str] | None:
    """Write the rows of a data set, and return the section `data`; None: it has too few."""
    rival, folder = SETS[name], OUT / name / str(size)
    gold, held_out = (
        make_rng(0, "rivals", name, split).sample(rows, len(rows))
        for split, rows in (("gold", read(place(rival.gold))), ("test", read(place(rival.test))))
    )
    if len(gold) < 0.9 * size:
        return None
    rest = [*gold[size:], *held_out[TEST:]]
    unlabelled = [{k: v for k, v in row.items() if k != "label"} for row in rest[:UNLABELLED]]
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for key, rows in (("gold", gold[:size]), ("test", held_out[:test]), ("unlabelled", unlabelled)):
        path = folder / f"{key}-{len(rows)}.jsonl"
        write_jsonl(path, rows)
        found[key] = str(path.absolute())
    return found | {key: str(place(file)) for key, file in rival.extra.items()}


@dataclass(frozen=True)
class Wanted:
    """Comparison to run: a data set, a number of gold rows, a student and methods."""

    name: str
    size: int
    student: str
    methods: Sequence[str]
    llm: Mapping[str, Any] | None
    test: int = TEST
    equal: str = "rows"
    budget: int = 0
    select: float = 1 / 3

    def run(self, seeds: int) -> Comparison | None:
        """Run the rest of it; None: the data set has too few gold rows."""
        data = write_files(self.name, self.size, self.test)
        if data is None:
            return None
        split = {"mine": 1 - self.select, "select": self.select}
        method = {"name": "s3", "rounds": 2, "rationales": False}
        values: dict[str, Any] = {
            "task": SETS[self.name].task,
            "data": {**data, "split": split},
            "student": student_section(self.student),
            "method": method if self.llm else {"name": "gold"},
        }
        if self.llm:
            values["llm"] = self.llm
        folder = OUT / self.name / str(self.size) / "-".join((self.student, self.equal, self.key))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "task.yaml"
        path.write_text(json.dumps(values, indent=1), encoding="utf-8")  # JSON is YAML
        return stepsynth.compare(
            path,
            self.methods,
            seeds=seeds,
            equal="calls" if self.equal == "calls" else "rows",
            budget=self.budget or None,
            against=self.methods[0],
            out=folder / "compare",
        )

    @property
    def key(self) -> str:
        """Its part of a folder's name that tells apart what the LLM is asked for."""
        return self.methods[0].partition(":")[0]


def without_live(name: str, size: int, student: str) -> Wanted:
    """Return the comparison of what needs no live LLM."""
    rival = SETS[name]
    names = [*WITHOUT_LLM]
    if student == "embedding" and rival.task.get("recipe") != "rte":
        names.append("zeroshot")
    llm = None
    if rival.recordings:
        names += SYNTHESIS
        files = [str(place(file)) for file in rival.recordings]
        llm = {"backend": "replay", "recordings": files, "fallback": "none"}
    return Wanted(name, size, student, names, llm, budget=rival.budget)


def deciding(name: str, size: int, student: str, llm: Mapping[str, Any]) -> Wanted:
    """Return the comparison in which a live LLM decides; it asks about `select` too."""
    return Wanted(name, size, student, DECIDE, llm, test=DECIDED, select=0.1)


def writing(name: str, size: int, student: str, llm: Mapping[str, Any]) -> Wanted:
    """Return the comparison in which a live LLM labels texts, and writes some."""
    write = WRITE[:2] if SETS[name].recordings else WRITE
    return Wanted(name, size, student, write, llm, equal="calls", budget=WRITTEN)


def lines(done: Mapping[int, Comparison], student: str) -> Iterator[str]:
    """Yield a line for each method: macro-F1, its gain, and accuracy by the number of gold rows."""
    names = dict.fromkeys(row.name for one in done.values() for row in one.methods)
    for name in names:
        cells: list[str] = []
        calls: list[str] = []
        for one in done.values():
            row = one[name]
            if "macro_f1" not in row.mean:
                cells.append("–")
                continue
            gain = row.against.get("macro_f1")
            told = f" ({gain})" if gain else ""
            accuracy = f"{100 * row.mean['accuracy']:.1f}"
            cells.append(f"{100 * row.mean['macro_f1']:.1f}{told}; {accuracy}")
            calls.append(f"{row.mean['calls']:,.0f}")
        yield f"| `{student}` | {name} | {' | '.join(cells)} | {', '.join(calls)} |"


def main() -> None:
    """Run the comparisons, and print a table for each data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SETS, default=TABLE)
    parser.add_argument(
        "--student", nargs="+", default=list(STUDENTS), choices=(*STUDENTS, *FINE_TUNED)
    )
    parser.add_argument("--size", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--url", default="", help="Of a live LLM, up to and with its /v1.")
    parser.add_argument("--llm", default="local", help="Its name.")
    parser.add_argument("--write", action="store_true", help="It labels and writes texts.")
    parser.add_argument("--methods", nargs="+", default=[], help="In place of those above.")
    options = parser.parse_args()
    live = {"backend": "openai_compatible", "base_url": options.url, "model": options.llm}
    live |= {"concurrency": 4, "timeout_s": 600}  # small servers answer few at a time
    for name in options.only:
        print(f"### {name}\n")
        for student in options.student:
            found: dict[int, Comparison] = {}
            for size in options.size:
                if options.url:
                    wanted = (writing if options.write else deciding)(name, size, student, live)
                else:
                    wanted = without_live(name, size, student)
                wanted = replace(wanted, methods=options.methods or wanted.methods)
                if (done := wanted.run(options.seeds)) is not None:
                    found[size] = done
            sizes = " | ".join(f"{size} gold rows" for size in found)
            print(f"| student | method | {sizes} | calls |")
            print("| --- | --- |" + " ---: |" * (len(found) + 1))
            print("\n".join(lines(found, student)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
