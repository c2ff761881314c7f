"""The intervals of `stepsynth study advice`, against rows that were kept back.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.advice [--trials 50]

Each trial draws gold rows and synthetic rows of a published set, takes the advice on them, then
adds the rows that it spoke of and scores both students on test.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from reproduction.live import data_folder, read
from stepsynth._util.rng import make_rng
from stepsynth.records import Dataset, Example, union
from stepsynth.studies import StudiedRun
from stepsynth.studies._training import make_factory, score_rows
from stepsynth.studies.advice import Advice
from stepsynth.taskfile import load_config

OUT = Path(".bench/advice")
SETS = {
    "SST-2, SuperGen": (
        "sst2/train.jsonl",
        "sst2/test.jsonl",
        "published-synthetic/supergen-sst2/train.jsonl.gz",
    ),
    "RTE, SuperGen": (
        "s3-rte/train_gold.jsonl",
        "s3-rte/test_gold.jsonl",
        "published-synthetic/supergen-rte/train.jsonl.gz",
    ),
}
GOLD, SYNTHETIC, MORE = 200, 300, 100


def rows_of(file: str) -> list[Example]:
    """Return the rows of a file, each text once."""
    read_rows = read(data_folder() / file)
    rows = [
        Example(row.get("text") or row["hypothesis"], str(row["label"]), row.get("premise"))
        for row in read_rows
    ]
    return list({row.text: row for row in rows}.values())


def subject_of(name: str, gold: Dataset, rows: Dataset, test: Dataset) -> StudiedRun:
    """Return rows with the configuration of a task of their labels."""
    OUT.mkdir(parents=True, exist_ok=True)
    labels = sorted({str(row.label) for row in test})
    kind = "sentence_pair" if test[0].context else "classification"
    task = {"kind": kind, "instruction": "-", "text_name": "text", "labels": labels}
    llm = {"backend": "scripted", "rules": [{"pattern": "", "answers": [""]}]}
    values = {"task": task, "data": {"gold": "-"}, "llm": llm, "student": "linear"}
    path = OUT / "task.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    return StudiedRun(name, rows, gold, Dataset(), test, load_config(path))


def score(subject: StudiedRun, rows: Dataset) -> float:
    """Return the test score of a student of these rows, in points."""
    model = make_factory(subject).judge()
    model.fit(rows)
    return 100 * score_rows(subject, subject.test, model.predict)


def trial(name: str, files: tuple[str, str, str], index: int) -> list[tuple[str, float, bool]]:
    """Return, of labels and synthetic rows, the width of the interval and whether it held."""
    rng = make_rng(index, "advice")
    gold, test, synthetic = (rows_of(file) for file in files)
    known = Dataset(rng.sample(gold, GOLD + MORE))
    written = Dataset(rng.sample(synthetic, 2 * SYNTHETIC))
    rows = written[:SYNTHETIC]
    subject = subject_of(name, known[:GOLD], rows, Dataset(test))
    advice = Advice(labels=MORE, rows=SYNTHETIC, random_seed=index).run([subject])
    now = score(subject, union(known[:GOLD], rows))
    seen = {
        "labels": score(subject, union(known, rows)) - now,
        "synthetic rows": score(subject, union(known[:GOLD], written)) - now,
    }
    found: list[tuple[str, float, bool]] = []
    for (_, what, _, _, _, low, high, _), kind in zip(advice.tables[0].rows, seen, strict=True):
        assert str(what).endswith(kind)
        low, high = float(low or 0), float(high or 0)
        found.append((kind, high - low, low <= seen[kind] <= high))
    return found


def main() -> None:
    """Print how many intervals held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    options = parser.parse_args()
    print("| data | what is added | intervals that held | mean width, points |")
    print("| --- | --- | ---: | ---: |")
    for name, files in SETS.items():
        found = [each for i in range(options.trials) for each in trial(name, files, i)]
        for kind in ("labels", "synthetic rows"):
            held = [is_in for each, _, is_in in found if each == kind]
            width = np.mean([w for each, w, _ in found if each == kind])
            print(f"| {name} | {kind} | {sum(held)} of {len(held)} | {width:.1f} |", flush=True)


if __name__ == "__main__":
    main()
