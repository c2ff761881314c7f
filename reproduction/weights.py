"""The rule that chooses the weight of synthetic rows: tables of `docs/results.md`.

    STEPSYNTH_REPLAYS=/path/to/replays python -m reproduction.weights [--only hyperbole] [--seeds 6]
    STEPSYNTH_DATA=/path/to/data python -m reproduction.weights --published --student linear static

Runs of `s3_plus` on recordings, with few gold rows drawn and divided as in `reproduction.rivals`.
With the rows of the last round a model is trained for every weight and scored on test; the rules
choose among them by held-out gold alone. The rounds before have weight 0.3.

With `--published` the synthetic rows are 300 drawn from a published set, and there are no rounds:
data sets that had no part in the choice of the rule.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np

import stepsynth
from reproduction.comparisons import student_section
from reproduction.live import read
from reproduction.rivals import OUT, SETS, TEST, Rival, place, write_files
from stepsynth._util.files import write_jsonl
from stepsynth._util.rng import make_rng
from stepsynth.data import read_file
from stepsynth.dryrun import PretendFactory
from stepsynth.methods import Setup, s3_plus
from stepsynth.methods._cross_fitting import (
    SYNTHETIC_WEIGHTS,
    CrossFit,
    cross_fit,
    largest_within_one_se,
)
from stepsynth.methods._label_balance import balance_labels
from stepsynth.metrics import Predictions, refinement_losses
from stepsynth.records import Dataset, union
from stepsynth.taskfile import load_config

ROUNDS, SIZES = 2, (50, 200)
SCORES = ("macro_f1", "auc", "accuracy")
RULES = ("gold alone", "first rule", "present rule", "the same, balanced", "best single weight")
SEEDS_BY = {"hyperbole": ("gpt-4", "llama-2-70b")}
"""Data set -> LLMs that wrote seed data, where there are several."""

PUBLISHED = {
    "sst2": {"SuperGen": "supergen-sst2/train.jsonl.gz"},
    "qnli": {"SuperGen": "supergen-qnli/train.jsonl.gz"},
    "imdb": {
        "GPT-3.5": "fusegen-imdb/train_gpt-3.5-turbo-instruct.jsonl.gz",
        "GPT-4": "fusegen-imdb/train_gpt-4-turbo-preview.jsonl",
        "Vicuna": "fusegen-imdb/train_vicuna-7b-v1.5.jsonl.gz",
    },
}
"""Data set -> source -> published synthetic rows."""
DRAWN = 300
"""Rows drawn from a published set."""


class Watcher:
    """What each weight gives with the rows of the last round of a run.

    Args:
        test: The test rows, which no rule sees.
        rounds: Rounds of the run after seed data.
    """

    def __init__(self, test: Dataset, rounds: int) -> None:
        self._test = test
        self._left = rounds
        self.scores: dict[float, list[float]] = {}
        self.balanced: dict[float, list[float]] = {}
        self.chosen: list[float] = []

    def cross_fit(
        self,
        rows: Dataset,
        setup: Setup,
        *,
        weights: object,
        weigh_plausibility: bool,
        balance: object,
    ) -> CrossFit:
        """Stand in for the function of that name, and try every weight in the last round."""

        def fit(weight: float) -> CrossFit:
            return cross_fit(
                rows,
                setup,
                weights=(weight,),
                weigh_plausibility=weigh_plausibility,
                balance="never",
            )

        if isinstance(setup.student, PretendFactory):  # of the dry run before
            return fit(0.3)
        tried = (0.3,) if self._left else SYNTHETIC_WEIGHTS
        self._left -= 1
        fits = {weight: fit(weight) for weight in tried}
        if len(fits) == 1:
            return fits[0.3]
        said: dict[float, Predictions] = {}
        both: dict[float, Predictions] = {}
        for weight, fitted in fits.items():
            pairs = [(row, w) for row, w in zip(rows, fitted.weights, strict=True) if w]
            model = s3_plus.train_on_gold_and(pairs, setup, None)
            assert fitted.predictions is not None
            offsets = balance_labels(fitted.gold, fitted.predictions, setup, balance="auto")
            predicted = model.predict(self._test)
            assert isinstance(predicted, Predictions)
            self.scores[weight] = self._score(predicted, setup)
            self.balanced[weight] = self._score(predicted.offset(offsets), setup)
            said[weight] = fitted.predictions
            both[weight] = s3_plus.held_out(fitted.predictions, model, setup)
        self._choose(said, both, fits, setup)
        return fits[0.3]

    def _score(self, said: Predictions, setup: Setup) -> list[float]:
        scores = setup.task.score(self._test, said)
        return [100 * float(scores[name]) for name in SCORES]

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


def recorded(rival: Rival, llm: str) -> dict[str, Any]:
    """Return the sections `method` and `llm` of a run on recordings, seed data by an LLM."""
    files = [file.replace("seed-gpt-4", f"seed-{llm or 'gpt-4'}") for file in rival.recordings]
    size = {"seed_size": 2 * rival.budget // 3, "added_size": rival.budget // 6}
    recordings = [str(place(file)) for file in files]
    return {
        "method": {"name": "s3_plus", "rounds": ROUNDS, "rationales": False, **size},
        "llm": {"backend": "replay", "recordings": recordings, "fallback": "none"},
    }


def published(name: str, source: str, random_seed: int) -> dict[str, Any]:
    """Write rows drawn from a published set, and return the sections of a run that takes them."""
    rows = read(place(f"data/published-synthetic/{PUBLISHED[name][source]}"))
    drawn = make_rng(random_seed, "weights", name, source).sample(rows, min(DRAWN, len(rows)))
    path = OUT / name / f"{source}-{random_seed}.jsonl"
    write_jsonl(path, drawn)
    return {
        "method": {"name": "s3_plus", "rounds": 0, "seed_from": str(path.absolute())},
        # Never asked, as all rows are given.
        "llm": {"backend": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "model": "-"},
    }


def watch(
    rival: Rival,
    data: Mapping[str, str],
    student: str,
    random_seed: int,
    sections: Mapping[str, Any],
) -> Watcher:
    """Run `s3_plus` with a student of that name, and return what was seen."""
    values = {
        "task": rival.task,
        "data": {**data, "split": {"mine": 2 / 3, "select": 1 / 3}},
        "student": student_section(student),
        "random_seed": random_seed,
        **sections,
    }
    with TemporaryDirectory() as folder:
        task = Path(folder) / "task.yaml"
        task.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
        config = load_config(task)
        test = read_file(data["test"], config.task, config.data.columns)
        watcher = Watcher(test, sections["method"]["rounds"])
        with mock.patch.object(s3_plus, "cross_fit", watcher.cross_fit):
            stepsynth.run(task, out=Path(folder) / "run")
    return watcher


def line(watched: Sequence[Watcher]) -> np.ndarray:
    """Return the mean scores of each rule: (n_rules, n_scores)."""
    means = [np.mean([each.scores[w] for each in watched], axis=0) for w in SYNTHETIC_WEIGHTS]
    best = max(means, key=lambda mean: mean[SCORES.index("auc")])
    chosen = np.mean([[each.scores[w] for w in each.chosen] for each in watched], axis=0)
    balanced = np.mean([each.balanced[each.chosen[-1]] for each in watched], axis=0)
    return np.vstack([chosen, balanced, best])


def main() -> None:
    """Print a table: a line for each recording, student and number of gold rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--published", action="store_true", help="Published synthetic rows.")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--student", nargs="+", default=["linear", "embedding"])
    parser.add_argument("--size", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=6)
    options = parser.parse_args()
    sources: Mapping[str, Sequence[str]] = (
        {name: list(found) for name, found in PUBLISHED.items()}
        if options.published
        else {name: SEEDS_BY.get(name, [""]) for name in SETS if SETS[name].recordings}
    )
    print(f"| data set, rows by, student | gold rows | {' | '.join(RULES)} |")
    print("| --- |" + " ---: |" * (1 + len(RULES)))
    found: list[np.ndarray] = []
    for name, source in ((n, each) for n in options.only for each in sources.get(n, ())):
        for student in options.student:
            for size in options.size:
                if (data := write_files(name, size, TEST)) is None:
                    continue
                watched = [
                    watch(
                        SETS[name],
                        data,
                        student,
                        i,
                        published(name, source, i)
                        if options.published
                        else recorded(SETS[name], source),
                    )
                    for i in range(options.seeds)
                ]
                found.append(line(watched))
                told = " | ".join(", ".join(f"{x:.1f}" for x in rule) for rule in found[-1])
                place_of = ", ".join(filter(None, (name, source)))
                print(f"| {place_of}, `{student}` | {size} | {told} |", flush=True)
    told = " | ".join(", ".join(f"{x:.1f}" for x in rule) for rule in np.mean(found, axis=0))
    print(f"| **mean** | | {told} |")


if __name__ == "__main__":
    main()
