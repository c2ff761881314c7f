"""S3 with gold against its rivals: the measurements that `docs/protocol.md` asks for.

    STEPSYNTH_REPLAYS=/path/to/replays python -m reproduction.protocol [--only rte] [--seeds 20]

Each random seed is a resplit of the gold rows into `mine` and `select`. Runs stay under
`.bench/protocol`, so a stopped command resumes. With `--levers` each lever of `s3_plus` is also
measured alone, by turning it off.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

import stepsynth
from reproduction.comparisons import HERE, Replayed, comparisons, table
from stepsynth.comparison.table import Comparison
from stepsynth.report.charts import from_spec
from stepsynth.runfolder import Run
from stepsynth.studies._charts import line_chart

OUT = Path(".bench/protocol")
RIVALS = ("goldgen", "zerogen", "random", "s3", "gold")
WITH_LEVERS = ("s3_plus:error_share=0", "s3_plus:rounds=0")
"""GoldGen's or `random`'s rows, and ZeroGen's calls, with the levers of `s3_plus`."""

LEVERS = (
    "s3_plus:synthetic_weight=1",
    "s3_plus:plausibility=false",
    "s3_plus:balance=never",
    "s3_plus:error_share=1",
    "s3_plus:skip_noise=false",
    "s3_plus:keep=one_se",
    "s3_plus:keep=last",
)
SCORES = ("macro_f1", "accuracy", "auc", "tuned_accuracy")

By = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Method -> random seed -> score -> value on test, in points."""


def run(one: Replayed, methods: Sequence[str], *, seeds: int) -> Comparison:
    """Run the rest of a comparison."""
    overrides, out = one.overrides(), OUT / one.name
    return stepsynth.compare(
        HERE / one.file, methods, seeds=seeds, overrides=overrides, out=out, jobs=1
    )


def scores_of(comparison: Comparison) -> By:
    """Return the test scores of the kept round of each run."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for one in comparison.runs:
        summary = Run(one.folder).summary
        assert summary.test is not None
        points = {name: 100 * float(summary.test[name] or 0) for name in SCORES}
        found.setdefault(one.method, {})[one.random_seed] = points
    return found


def gains(by: By, first: str, second: str, score: str) -> list[float]:
    """Return the differences of two methods, one for each random seed."""
    seeds = sorted(set(by[first]) & set(by[second]))
    return [by[first][seed][score] - by[second][seed][score] for seed in seeds]


def interval(values: Sequence[float]) -> str:
    """Return the mean of values with its 95 % t interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:+.1f}"
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def mean_interval(by_set: Sequence[Sequence[float]]) -> str:
    """Return the mean over these data sets with its 95 % t interval over resplits.

    Args:
        by_set: The differences of each data set, one for each resplit: two or more.
    """
    errors = np.array([np.var(each, ddof=1) / len(each) for each in by_set]) / len(by_set) ** 2
    freedom = errors.sum() ** 2 / sum(errors**2 / [len(each) - 1 for each in by_set])  # Welch
    mean = np.mean([np.mean(each) for each in by_set])
    half = stats.t.ppf(0.975, freedom) * errors.sum() ** 0.5
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def difference_table(done: Mapping[str, By], first: str, second: str) -> str:
    """Return the Markdown of differences: a line a data set, and their mean over the sets."""
    lines = [
        f"| {first} minus {second} | {' | '.join(SCORES)} |",
        "| --- |" + " ---: |" * len(SCORES),
    ]
    all_gains: dict[str, list[list[float]]] = {score: [] for score in SCORES}
    for name, by in done.items():
        if first not in by or second not in by:
            continue
        found = {score: gains(by, first, second, score) for score in SCORES}
        lines.append(f"| {name} | {' | '.join(interval(found[s]) for s in SCORES)} |")
        for score in SCORES:
            all_gains[score].append(found[score])
    if (sets := len(all_gains[SCORES[0]])) > 1:
        told = " | ".join(mean_interval(all_gains[score]) for score in SCORES)
        lines.append(f"| **mean of these {sets}**, interval over resplits | {told} |")
        # Data sets are the sample here: a method that wins on one of them does not win.
        told = " | ".join(interval([float(np.mean(each)) for each in all_gains[s]]) for s in SCORES)
        lines.append(f"| **the same**, interval over the {sets} | {told} |")
    return "\n".join(lines)


def curve_points(done: Mapping[str, Comparison]) -> list[dict[str, object]]:
    """Return AUC by the share of the calls, as means over the data sets; gold takes no calls."""
    shown = ("gold", "zerogen", "goldgen", "random", "s3", "s3_plus")
    points: dict[tuple[str, float], list[float]] = {}
    for comparison in done.values():
        for run in comparison.runs:
            if run.method not in shown:
                continue
            for each in (rounds := Run(run.folder).rounds):
                assert each.metrics.test is not None
                auc = 100 * float(each.metrics.test["auc"] or 0)
                # Seed data has two thirds of the calls, each of two rounds a sixth.
                share = 1.0 if each.index == len(rounds) - 1 else (4 + each.index) / 6
                shares = (0.0, 1.0) if run.method == "gold" else (share,)
                for share in shares:
                    points.setdefault((run.method, share), []).append(auc)
    rows: list[dict[str, object]] = []
    for (method, share), found in sorted(points.items()):
        mean = float(np.mean(found))
        rows.append({"share of the calls": share, "AUC": mean, "method": method})
    return rows


def main() -> None:
    """Run the comparisons, and print their scores and the differences to `s3_plus`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="Tasks.")
    parser.add_argument("--student", nargs="+", default=["linear", "embedding"])
    parser.add_argument("--seeds", type=int, default=20, help="Resplits.")
    parser.add_argument("--levers", action="store_true", help="Also with each lever off.")
    parser.add_argument("--method", default="s3_plus", help="What is compared with the rivals.")
    parser.add_argument("--against", nargs="+", default=[*RIVALS, *WITH_LEVERS], help="Rivals.")
    parser.add_argument("--picture", type=Path, help="File of the chart (SVG).")
    options = parser.parse_args()
    methods = (options.method, *options.against, *(LEVERS if options.levers else ()))
    done: dict[str, By] = {}
    compared: dict[str, Comparison] = {}
    for one in comparisons(("linear", "static", "embedding")):
        if one.student not in options.student or (options.only and one.task not in options.only):
            continue
        comparison = run(one, methods, seeds=options.seeds)
        done[one.title], compared[one.title] = scores_of(comparison), comparison
        print(f"### {one.title}\n\n{table(comparison)}\n", flush=True)
    for rival in methods[1:]:
        print(difference_table(done, options.method, rival), end="\n\n", flush=True)
    if options.picture:
        rows = curve_points(compared)
        spec = line_chart(rows, x="share of the calls", y="AUC", series="method")
        options.picture.write_text(from_spec(spec), encoding="utf-8")


if __name__ == "__main__":
    main()
