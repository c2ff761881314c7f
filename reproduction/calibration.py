"""Calibration and abstention, on test rows.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.calibration [--seeds 20]

A model is trained on 300 gold rows and calibrated on 200 others, both drawn anew for each random
seed. On all test rows: the expected calibration error before and after, and whether the precision
that `serve --precision` promises lies in its stated interval.
"""

import argparse

import numpy as np

from reproduction.live import data_folder, examples
from reproduction.students import factory
from stepsynth._util.rng import make_rng
from stepsynth.metrics import Predictions, calibrate
from stepsynth.metrics.calibration import calibration_error
from stepsynth.records import Dataset, Example

FILES = {
    "SST-2": ("sst2/train.jsonl", "sst2/test.jsonl"),
    "AG News": ("ag-news/train.jsonl.gz", "ag-news/test.jsonl.gz"),
}
TRAIN, SELECT, MOST_TEST = 300, 200, 2_000
PRECISIONS = (0.8, 0.9, 0.95)


def measure(student: str, train: list[Example], test: list[Example], seed: int) -> list[object]:
    """Return both calibration errors, and of each precision what came of it on test."""
    drawn = make_rng(seed, "calibration").sample(train, TRAIN + SELECT)
    labels = tuple(sorted({str(row.label) for row in train}))
    model = factory(student, labels, seed).new()
    model.fit(Dataset(drawn[:TRAIN]))
    select, held_out = Dataset(drawn[TRAIN:]), Dataset(test)
    said, of_select = model.predict(held_out), model.predict(select)
    assert isinstance(said, Predictions)
    assert isinstance(of_select, Predictions)
    found = calibrate([str(label) for label in select.labels], of_select)
    assert found is not None
    hits = np.array([a == b for a, b in zip(said.labels, held_out.labels, strict=True)])
    sure = found.apply(said).probabilities.max(axis=1)
    outcome: list[object] = [
        calibration_error(said.probabilities.max(axis=1), hits),
        calibration_error(sure, hits),
    ]
    for precision in PRECISIONS:
        promise = found.abstain_for(precision)
        given = sure >= promise.threshold if promise else np.zeros(len(sure), bool)
        if promise is None or not given.any():
            outcome.append(None)
            continue
        there = float(hits[given].mean())
        outcome.append((there, float(given.mean()), promise.low <= there <= promise.high))
    return outcome


def main() -> None:
    """Print a table: a line for each data set and student."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--student", nargs="+", default=["linear", "embedding"])
    options = parser.parse_args()
    named = " | ".join(
        f"{precision:.0%} wanted: on test, covered, held" for precision in PRECISIONS
    )
    print(f"| data set | student | error before | after | {named} |")
    print("| --- | --- | ---: | ---: |" + " ---: |" * len(PRECISIONS))
    for name, (train_file, test_file) in FILES.items():
        train = list({row.text: row for row in examples(data_folder() / train_file)}.values())
        test = examples(data_folder() / test_file)
        test = make_rng(0, "test").sample(test, min(MOST_TEST, len(test)))
        for student in options.student:
            runs = [measure(student, train, test, seed) for seed in range(options.seeds)]
            errors = np.array([run[:2] for run in runs], float).mean(axis=0)
            cells = [f"{100 * errors[0]:.1f}", f"{100 * errors[1]:.1f}"]
            for column in range(2, 2 + len(PRECISIONS)):
                kept = [run[column] for run in runs if run[column] is not None]
                told = np.array(kept, float)
                cells.append(
                    f"{told[:, 0].mean():.1%}, {told[:, 1].mean():.0%}, "
                    f"{int(told[:, 2].sum())} of {len(kept)}"
                    if len(kept)
                    else "–"
                )
            print(f"| {name} | `{student}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
