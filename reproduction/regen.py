"""ReGen on real passages: the accuracy of its pseudo labels, round by round.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.regen [--seeds 3]

The task is AG News. The corpus is news of four other collections, cut to their first 64 words. Gold
labels are used only to count; a random seed decides only the folds of round 0. Some passages have
a label of their own: the BBC's folders (business, sport, tech; politics and entertainment are no
sections of AG News) and the ABC's science pages. Their pseudo labels are compared with the real
ones. The passages from AG News itself are of World and Sci/Tech only, so any other label is wrong
there.

The index of passages stays in `.bench/regen`, since embedding takes a while on a CPU.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoder import minilm
from reproduction.live import data_folder, examples, read
from stepsynth._util.rng import make_rng
from stepsynth.errors import TooFewRowsError
from stepsynth.llm import LLM, llm_backends
from stepsynth.methods import Round, Setup
from stepsynth.methods.regen import ReGen
from stepsynth.records import Dataset
from stepsynth.retrieval import Index, Passage
from stepsynth.retrieval.bm25 import BM25
from stepsynth.retrieval.dense import Dense
from stepsynth.students import StudentFactory
from stepsynth.students.linear import Linear
from stepsynth.taskfile.config import load_config
from stepsynth.tasks import Task

OUT = Path(".bench/regen")
WORDS = 64
REAL = {"business": "Business", "sport": "Sports", "tech": "Sci/Tech", "abc-science": "Sci/Tech"}
"""Topic or source of a passage -> its true section of AG News."""

AG_NEWS = frozenset({"World", "Sci/Tech"})
"""Possible labels of the passages from AG News."""

QUERIES: Mapping[str, dict[str, str] | None] = {
    "label words": None,
    "the paper's": {
        "World": "an world politics news.",  # sic, as in its code
        "Sports": "a sports news.",
        "Business": "a business news.",
        "Sci/Tech": "a science and technology news.",
    },
}
"""Name -> the queries of round 0."""

STAGES: Mapping[str, tuple[str, ...]] = {
    "retrieved": ("kept", "disagreed", "inconsistent"),
    "after neighbours": ("kept", "disagreed"),
    "kept": ("kept",),
}
"""Stage -> the outcomes of the passages that reach it."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """Passages, with what is known of their labels.

    Attributes:
        passages: Passages of at most 64 words.
        real: Id of a passage -> its possible labels.
    """

    passages: list[Passage]
    real: Mapping[str, frozenset[str]]


def read_corpus(folder: Path, count: int | None) -> Corpus:
    """Return the distinct news passages, or a random sample of `count` of them."""
    passages: dict[str, Passage] = {}
    real: dict[str, frozenset[str]] = {}
    for name in ("agnews_extra", "bbc", "wikinews", "abc"):
        for line in read(folder / f"passages/news_{name}.jsonl.gz"):
            text = " ".join(line["text"].split()[:WORDS])
            passage = Passage(line["id"], text)
            passages.setdefault(text, passage)
            known = REAL.get(line.get("topic", line["source"]))
            if name == "agnews_extra":
                real[passage.id] = AG_NEWS
            elif known:
                real[passage.id] = frozenset({known})
    chosen = list(passages.values())
    if count is not None:
        chosen = make_rng(0, "regen", "passages").sample(chosen, min(count, len(chosen)))
    return Corpus(chosen, {p.id: real[p.id] for p in chosen if p.id in real})


def make_setup(task: Task, index: Index, data: Path, random_seed: int) -> Setup:
    """Return a set-up without mining rows; `select` only gives scores."""
    select = Dataset(examples(data / "ag-news/validation.jsonl"))
    backend = llm_backends().get("scripted")
    settings = backend.settings_class.model_validate(
        {"backend": "scripted", "rules": [{"pattern": "", "answers": [""]}]}
    )
    return Setup(
        task=task,
        llm=LLM(backend(settings, random_seed)),  # never asked
        student=StudentFactory(Linear(), task.label_names, random_seed),
        mine=Dataset(),
        select=select,
        index=index,
        random_seed=random_seed,
        warn=print,
    )


def measure(done: Round, corpus: Corpus, test: Dataset, task: Task) -> Row:
    """Return the passages of a round, their accuracy at each stage, and the test accuracy."""
    found = done.notes["passages"]
    stages: Row = {}
    for stage, outcomes in STAGES.items():
        lines = [line for line in found if line["outcome"] in outcomes]
        sure = [n for n in lines if len(corpus.real.get(n["passage"], ())) == 1]
        from_ag = [n for n in lines if corpus.real.get(n["passage"]) == AG_NEWS]
        stages[stage] = {
            "rows": len(lines),
            "sure": len(sure),
            "right": _share(n["label"] in corpus.real[n["passage"]] for n in sure),
            "from_ag": len(from_ag),
            "possible": _share(n["label"] in AG_NEWS for n in from_ag),
        }
    scores = task.score(test, done.model.predict(test))
    return {
        "round": done.index,
        "stages": stages,
        "labels": dict(done.train.label_counts()),
        "test": scores["accuracy"],
    }


def _share(hits: Iterator[bool]) -> float:
    values = list(hits)
    return float(np.mean(values)) if values else float("nan")


def table(rows: Sequence[Row]) -> str:
    """Return the Markdown: a line for each retriever and round, means over random seeds."""
    lines = [
        "| retriever | queries of round 0 | round | seeds | retrieved | right "
        "| after neighbours | right | kept | right | possible on AG News | kept by label "
        "| test accuracy (sd) |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    keys = ("retriever", "queries", "round")
    for group in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        runs = [row for row in rows if tuple(row[key] for key in keys) == group]
        cells = [str(len(runs))]
        for stage in STAGES:
            count = np.mean([run["stages"][stage]["rows"] for run in runs])
            right = np.mean([run["stages"][stage]["right"] for run in runs])
            sure = np.mean([run["stages"][stage]["sure"] for run in runs])
            cells += [f"{count:,.0f}", f"{100 * right:.1f} % of {sure:,.0f}"]
        possible = np.mean([run["stages"]["kept"]["possible"] for run in runs])
        from_ag = np.mean([run["stages"]["kept"]["from_ag"] for run in runs])
        labels = ", ".join(f"{label} {count}" for label, count in runs[0]["labels"].items())
        test = [100 * run["test"] for run in runs]
        spread = float(np.std(test, ddof=1)) if len(test) > 1 else 0.0
        cells.append(f"{100 * possible:.1f} % of {from_ag:,.0f}")
        lines.append(
            f"| {' | '.join(map(str, [*group, *cells]))} "
            f"| {labels} | {float(np.mean(test)):.1f} ({spread:.1f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int, default=2000, help="most rows of a round")
    parser.add_argument("--passages", type=int, help="that many, at random; default: all")
    parser.add_argument("--only", choices=("bm25", "dense"))
    options = parser.parse_args()
    data = data_folder("ag-news/ and passages/")
    corpus = read_corpus(data, options.passages)
    test = Dataset(examples(data / "ag-news/test.jsonl.gz"))
    task = _task()
    rows: list[Row] = []
    failed: list[str] = []
    for name in (options.only,) if options.only else ("bm25", "dense"):
        retriever = Dense(encoder=minilm()) if name == "dense" else BM25()
        index = retriever.index(corpus.passages, OUT / name, on_progress=_tell)
        for (asked, queries), seed in product(QUERIES.items(), range(options.seeds)):
            method = ReGen(rounds=options.rounds, size=options.size, queries=queries)
            setup = make_setup(task, index, data, seed)
            origin = {"retriever": name, "queries": asked, "seed": seed}
            try:
                for done in method.synthesize(setup):
                    rows.append({**origin, **measure(done, corpus, test, task)})
                    print(json.dumps(rows[-1]), flush=True)
            except TooFewRowsError as error:
                failed.append(f"- {name}, {asked}, random seed {seed}: {error.message}")
                print(failed[-1], flush=True)
            setup.llm.close()
    sure = sum(len(labels) == 1 for labels in corpus.real.values())
    print(f"{len(corpus.passages):,} passages, {sure:,} with a sure label")
    text = "\n".join([table(rows), "", *failed, ""])
    print(text)
    (OUT / "table.md").write_text(text, encoding="utf-8")


def _task() -> Task:
    OUT.mkdir(parents=True, exist_ok=True)
    file = OUT / "task.yaml"
    file.write_text("task: {recipe: ag_news}\ndata: {gold: none.jsonl}\nmethod: gold\n")
    return load_config(file).task


def _tell(phase: str, done: int, total: int) -> None:
    print(f"{phase}: {done:,} of {total:,}", flush=True)


if __name__ == "__main__":
    main()
