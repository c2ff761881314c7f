"""The paper's Table 5 for IMDb, on published data and without an LLM.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.table5 [--draws 5] [--student linear]

The paper adds S3's extrapolations to a ZeroGen seed, so its sets also grow. Here sizes are equal:
N zero-shot reviews of one LLM against 0.7 N of the same reviews with 0.3 N of S3's published
extrapolations in place of the rest. The controls are extrapolations alone. The task's own parser
reads all texts. The vectors of the `embedding` student and the results of every fit stay in
`.bench/table5`, so a stopped command resumes.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoder import minilm
from reproduction.live import data_folder, read
from reproduction.replays.__main__ import hits_of, interval
from stepsynth._util.hashing import digest
from stepsynth._util.rng import make_rng
from stepsynth._util.text import normalise
from stepsynth.metrics import Predictions
from stepsynth.metrics.scoring import fit_offsets, score_classification, tuned_accuracy
from stepsynth.records import Dataset, Example, Rejected
from stepsynth.students import Student, StudentFactory
from stepsynth.students.embedding import Embedding
from stepsynth.students.linear import Linear

OUT = Path(".bench/table5")
TABLE = Path(".bench/table5.md")
LLMS = {
    "gpt-3.5-turbo-instruct": 2000,
    "vicuna-7b-v1.5": 2000,
    "gpt2-xl": 2000,
    "gpt-4-turbo-preview": 900,
    "llama-2-7b-chat": 900,
    "flan-t5-xl": 900,
}
"""Recorded LLM -> training rows of `linear`; GPT-4 has 968 rows to draw from."""

EMBEDDED = 600
"""Training rows of `embedding`; few, since every distinct text has to be embedded."""
POOL = 1200
"""Rows of one LLM that `embedding` draws from."""
SHARE = 0.3
"""Share of extrapolations: the paper's own on IMDb is 29 %."""
TOKENS = 128
TEST, SELECT = 2000, 500
EXTRAPOLATIONS = "extrapolations alone"
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """Cell of the table: a student, a draw, and the LLM of the zero-shot rows ("": controls)."""

    student: str
    llm: str
    size: int
    draw: int

    @property
    def file(self) -> Path:
        """The file with its results."""
        return OUT / f"{self.student}-{self.llm or 'controls'}-{self.size}-{self.draw}.json"


class Data:
    """Published rows, cleaned as in a run, without exact copies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: dict[str, tuple[int, int]] = {}
        """Pool -> number of published rows, number of rows left."""

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The labels of the task."""
        return self._task.label_names

    @cached_property
    def _task(self) -> Any:
        from stepsynth.taskfile.config import load_config

        values = ["task.labels={negative: negative, positive: positive}"]
        return load_config(Path("recipes/paper/imdb.yaml"), values).task

    @cached_property
    def test(self) -> Dataset:
        """Gold rows to test on, the same for all cells."""
        rows = [Example(r["text"], r["label"]) for r in _read(self.folder / "imdb", "test.jsonl*")]
        return Dataset(make_rng(0, "table 5", "test").sample(rows, TEST))

    @cached_property
    def select(self) -> Dataset:
        """Gold rows that the threshold is set on."""
        rows = [Example(r["text"], r["label"]) for r in _read(self.folder / "imdb", "train.jsonl*")]
        return Dataset(make_rng(0, "table 5", "select").sample(rows, SELECT))

    def pool(self, llm: str) -> list[Example]:
        """Return the zero-shot rows of an LLM; "": S3's extrapolations of both rounds."""
        if llm:
            published = _read(self.folder / "published-synthetic/fusegen-imdb", f"train_{llm}.*")
        else:
            published = _read(self.folder / "s3-imdb", "ees_round?.jsonl*")
        known = {normalise(text) for text in self.test.texts}
        rows: list[Example] = []
        lines = list(published)
        for line in lines:
            like = Example("", line["label"])
            row = self._task.parse_example(line["text"], like, truncated=False)
            if isinstance(row, Rejected) or normalise(row.text) in known:
                continue
            known.add(normalise(row.text))
            rows.append(row)
        self.counts[llm or EXTRAPOLATIONS] = (len(lines), len(rows))
        return rows


def _read(folder: Path, pattern: str) -> Iterator[Row]:
    for path in sorted(folder.glob(pattern)):
        yield from read(path)


def training_sets(
    cell: Cell, zero_shot: Sequence[Example], extrapolations: Sequence[Example]
) -> Iterator[tuple[str, list[Example]]]:
    """Yield the training sets; the zero-shot rows of the mixed set are part of the pure set."""
    added = round(SHARE * cell.size)
    drawn = make_rng(cell.draw, "table 5", "extrapolations").sample(extrapolations, cell.size)
    if not cell.llm:
        yield f"{EXTRAPOLATIONS}, 30 % of the size", drawn[:added]
        yield f"{EXTRAPOLATIONS}, the whole size", drawn
        return
    rows = make_rng(cell.draw, "table 5", cell.llm).sample(zero_shot, cell.size)
    yield "zero-shot", rows
    yield "70 % zero-shot, 30 % extrapolations", [*rows[:-added], *drawn[:added]]


def measure(cell: Cell, spec: Student, data: Data, sets: Iterable[tuple[str, Any]]) -> list[Row]:
    """Fit a student on each training set and score it on the same test rows."""
    found: list[Row] = []
    for name, rows in sets:
        model = StudentFactory(spec, data.label_names, cell.draw).new()
        model.fit(Dataset(rows))
        selected, said = model.predict(data.select), model.predict(data.test)
        assert isinstance(selected, Predictions)
        assert isinstance(said, Predictions)
        gold = data.test.labels
        offsets = fit_offsets(data.select.labels, selected)
        hits = [p == g for p, g in zip(said.labels, gold, strict=True)]
        score = score_classification([str(label) for label in gold], said)
        found.append(
            {
                "student": cell.student,
                "llm": cell.llm,
                "trained_on": name,
                "rows": len(rows),
                "accuracy": score["accuracy"],
                "auc": score["auc"],
                "tuned_accuracy": tuned_accuracy(gold, said, offsets),
                "hits": np.packbits(hits).tobytes().hex(),
                "n": len(hits),
            }
        )
    return found


def embed(texts: Iterable[str]) -> dict[str, Any]:
    """Return the vector of each text's first 128 tokens; none is computed twice."""
    kept = OUT / "vectors.npz"
    known: dict[str, Any] = {}
    if kept.exists():
        with np.load(kept, allow_pickle=False) as arrays:
            known = dict(zip(arrays["keys"].tolist(), arrays["vectors"], strict=True))
    keys = {digest(text): text for text in texts}
    new = [key for key in keys if key not in known]
    if new:
        from sentence_transformers import SentenceTransformer

        encoder = SentenceTransformer(minilm(), model_kwargs={"use_safetensors": True})
        encoder.max_seq_length = TOKENS
        for at in range(0, len(new), 1000):
            part = new[at : at + 1000]
            vectors = encoder.encode([keys[key] for key in part], normalize_embeddings=True)
            known |= dict(zip(part, vectors, strict=True))
            np.savez(kept, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
            print(f"embedded {at + len(part)} of {len(new)}", flush=True)
    return {text: known[key] for key, text in keys.items()}


def run(students: Sequence[str], draws: int, data: Data) -> list[Row]:
    """Measure the remaining cells, and return all rows."""
    OUT.mkdir(parents=True, exist_ok=True)
    pools = {llm: data.pool(llm) for llm in ("", *LLMS)}
    rows: list[Row] = []
    for student in students:
        chosen = pools
        if student == "embedding":
            chosen = {
                llm: make_rng(0, "table 5", "pool", llm).sample(pool, min(POOL, len(pool)))
                for llm, pool in pools.items()
            }
        spec = make_student(student, chosen, data)
        for cell in cells(student, draws):
            if not cell.file.exists():
                sets = training_sets(cell, chosen[cell.llm], chosen[""])
                cell.file.write_text(json.dumps(measure(cell, spec, data, sets)), encoding="utf-8")
                print(f"done: {cell}", flush=True)
            rows += json.loads(cell.file.read_text(encoding="utf-8"))
    return rows


def cells(student: str, draws: int) -> Iterator[Cell]:
    """Yield the cells of one student."""
    sizes = dict.fromkeys(LLMS, EMBEDDED) if student == "embedding" else LLMS
    for draw in range(draws):
        for size in sorted(set(sizes.values())):
            yield Cell(student, "", size, draw)
        for llm, size in sizes.items():
            yield Cell(student, llm, size, draw)


def make_student(name: str, pools: Mapping[str, Sequence[Example]], data: Data) -> Student:
    """Return a student; `embedding` gets the vectors of all its texts in advance."""
    if name == "linear":
        return Linear()
    texts = [row.text for pool in pools.values() for row in pool]
    spec = Embedding(model=minilm())
    spec._known = embed([*data.test.texts, *data.select.texts, *texts])
    return spec


def table(rows: Sequence[Row]) -> str:
    """Return the Markdown: means over draws, standard deviations in brackets."""
    groups: dict[tuple[str, str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["student"], row["llm"], row["trained_on"], row["rows"]].append(row)
    lines: list[str] = []
    last = ""
    pure: list[Row] = []
    for (student, llm, name, size), found in groups.items():
        if student != last:
            last = student
            lines += [
                "" if lines else f"<!-- {len(found)} draws, {found[0]['n']} test rows -->",
                f"### `{student}`",
                "",
                "| zero-shot LLM | trained on | rows | accuracy (sd) | tuned accuracy (sd) | AUC "
                "| gain of the mix, 95 % interval | gain when tuned |",
                "| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |",
            ]
        gain, tuned = "–", "–"
        if llm and name != "zero-shot":
            gap = hits_of(found).astype(float) - hits_of(pure)
            gain = str(interval(gap))
            key = "tuned_accuracy"
            gains = [a[key] - b[key] for a, b in zip(found, pure, strict=True)]
            tuned = f"{100 * float(np.mean(gains)):+.1f}"
        pure = found
        auc = 100 * float(np.mean([row["auc"] for row in found]))
        lines.append(
            f"| {llm or '–'} | {name} | {size:,} | {_mean(found, 'accuracy')} "
            f"| {_mean(found, 'tuned_accuracy')} | {auc:.1f} | {gain} | {tuned} |"
        )
    return "\n".join(lines)


def _mean(rows: Sequence[Row], key: str) -> str:
    values = [100 * row[key] for row in rows]
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return f"{float(np.mean(values)):.1f} ({spread:.1f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--student", choices=("linear", "embedding"))
    options = parser.parse_args()
    data = Data(data_folder("imdb/, s3-imdb/, ..."))
    students = [options.student] if options.student else ["linear", "embedding"]
    found = table(run(students, options.draws, data))
    counts = [f"| {name} | {total:,} | {left:,} |" for name, (total, left) in data.counts.items()]
    head = ["| pool | published rows | rows left |", "| --- | ---: | ---: |"]
    text = "\n".join([found, "", *head, *counts, ""])
    print(text)
    TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
