"""The rule that chooses the weight of synthetic rows: a table of `docs/results.md`.

    STEPSYNTH_REPLAYS=/path/to/replays python -m reproduction.weights [--only hyperbole] [--seeds 6]

Runs of `s3_plus` on recordings, with few gold rows drawn and divided as in `reproduction.rivals`.
With the rows of the last round a model is trained for every weight and scored on test; the rules
choose among them by held-out gold alone. The rounds before have weight 0.3.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np

import stepsynth
from reproduction.comparisons import student_section
from reproduction.rivals import SETS, TEST, Rival, place, write_files
from stepsynth.data import read_file
from stepsynth.methods import Setup, s3_plus
from stepsynth.methods._cross_fitting import (
    SYNTHETIC_WEIGHTS,
    CrossFit,
    cross_fit,
    largest_within_one_se,
)
from stepsynth.metrics import Predictions, refinement_losses
from stepsynth.records import Dataset, union
from stepsynth.taskfile import load_config

ROUNDS, SIZES = 2, (50, 200)
SCORES = ("macro_f1", "auc", "accuracy")
RULES = ("gold alone", "first rule", "present rule", "best single weight")
SEEDS_BY = {"hyperbole": ("gpt-4", "llama-2-70b")}
"""Data set -> LLMs that wrote seed data, where there are several."""


class Watcher:
    """What each weight gives with the rows of the last round of a run.

    Args:
        test: The test rows, which no rule sees.
    """

    def __init__(self, test: Dataset) -> None:
        self._test = test
        self._rounds = 0
        self.scores: dict[float, list[float]] = {}
        self.chosen: list[float] = []

    def cross_fit(
        self, rows: Dataset, setup: Setup, *, weights: object, weigh_plausibility: bool
    ) -> CrossFit:
        """Stand in for the function of that name, and try every weight in the last round."""
        self._rounds += 1
        tried = SYNTHETIC_WEIGHTS if self._rounds > ROUNDS else (0.3,)
        fits = {
            weight: cross_fit(rows, setup, weights=(weight,), weigh_plausibility=weigh_plausibility)
            for weight in tried
        }
        if len(fits) == 1:
            return fits[0.3]
        said: dict[float, Predictions] = {}
        both: dict[float, Predictions] = {}
        for weight, fitted in fits.items():
            pairs = [(row, w) for row, w in zip(rows, fitted.weights, strict=True) if w]
            model = s3_plus.train_on_gold_and(pairs, setup)
            scored = setup.task.score(self._test, model.predict(self._test))
            self.scores[weight] = [100 * float(scored[name]) for name in SCORES]
            assert fitted.predictions is not None
            said[weight] = fitted.predictions
            both[weight] = s3_plus.held_out(fitted.predictions, model, setup)
        self._choose(said, both, fits, setup)
        return fits[0.3]

    def _choose(
        self,
        said: Mapping[float, Predictions],
        both: Mapping[float, Predictions],
        fits: Mapping[float, CrossFit],
        setup: Setup,
    ) -> None:
        labels, gold = setup.mine.labels, union(setup.mine, setup.select)
        raw = {w: -np.log(np.clip(each.of(labels), 1e-6, 1)).mean() for w, each in said.items()}
        first = min(raw, key=raw.__getitem__)
        score = {w: setup.task.main_score(gold, both[w]) for w in (first, 0.0)}
        first = first if score[first] >= score[0.0] else 0.0
        present = largest_within_one_se({w: refinement_losses(labels, p) for w, p in said.items()})
        _, is_harm = s3_plus.judge(both[present], both[0.0], fits[present], setup)
        self.chosen = [0.0, first, 0.0 if is_harm else present]


def watch(rival: Rival, data: Mapping[str, str], name: str, random_seed: int) -> Watcher:
    """Run `s3_plus` on recordings with a student of that name, and return what was seen."""
    size = {"seed_size": 2 * rival.budget // 3, "added_size": rival.budget // 6}
    values = {
        "task": rival.task,
        "data": {**data, "split": {"mine": 2 / 3, "select": 1 / 3}},
        "student": student_section(name),
        "method": {"name": "s3_plus", "rounds": ROUNDS, "rationales": False, **size},
        "llm": {
            "backend": "replay",
            "recordings": [str(place(file)) for file in rival.recordings],
            "fallback": "none",
        },
        "random_seed": random_seed,
    }
    with TemporaryDirectory() as folder:
        task = Path(folder) / "task.yaml"
        task.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
        config = load_config(task)
        watcher = Watcher(read_file(data["test"], config.task, config.data.columns))
        with mock.patch.object(s3_plus, "cross_fit", watcher.cross_fit):
            stepsynth.run(task, out=Path(folder) / "run")
    return watcher


def line(watched: Sequence[Watcher]) -> np.ndarray:
    """Return the mean scores of each rule: (n_rules, n_scores)."""
    means = [np.mean([each.scores[w] for each in watched], axis=0) for w in SYNTHETIC_WEIGHTS]
    best = max(means, key=lambda mean: mean[SCORES.index("auc")])
    chosen = np.mean([[each.scores[w] for w in each.chosen] for each in watched], axis=0)
    return np.vstack([chosen, best])


def main() -> None:
    """Print a table: a line for each recording, student and number of gold rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [name for name, rival in SETS.items() if rival.recordings]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--student", nargs="+", default=["linear", "embedding"])
    parser.add_argument("--size", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=6)
    options = parser.parse_args()
    print(f"| recording, student | gold rows | {' | '.join(RULES)} |\n| --- |" + " ---: |" * 5)
    found: list[np.ndarray] = []
    for name, llm in ((n, each) for n in options.only for each in SEEDS_BY.get(n, ("",))):
        rival = SETS[name]
        files = [file.replace("seed-gpt-4", f"seed-{llm or 'gpt-4'}") for file in rival.recordings]
        for kind in options.student:
            for size in options.size:
                if (data := write_files(name, size, TEST)) is None:
                    continue
                given = replace(rival, recordings=files)
                found.append(line([watch(given, data, kind, i) for i in range(options.seeds)]))
                told = " | ".join(", ".join(f"{x:.1f}" for x in rule) for rule in found[-1])
                print(
                    f"| {', '.join(filter(None, (name, llm)))}, `{kind}` | {size} | {told} |",
                    flush=True,
                )
    told = " | ".join(", ".join(f"{x:.1f}" for x in rule) for rule in np.mean(found, axis=0))
    print(f"| **mean** | | {told} |")


if __name__ == "__main__":
    main()
