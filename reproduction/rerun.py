"""The cost of rerunning the tables of S3's paper and, with `--run`, the rerun.

    python -m reproduction.rerun [--price 0.5 1.5] [--scale 0.01] [--only rte]
    python -m reproduction.rerun --run 3 --model NAME --base-url URL --yes

Without --run it prints runs, LLM calls, tokens, USD and the cost of training by table and data set,
and spends nothing. With it, the runs of one table (and those that it builds on) are made from
`recipes/paper/*.yaml`, and the new numbers are printed beside the paper's. All runs of a scale and
a random seed share one store, so no answer is paid for twice, and a stopped command resumes.
"""

import argparse
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduction import paper
from reproduction.plan import RECIPES, TABLES, Cost, Planned, Planner, cost_of, with_needed
from stepsynth.errors import StepsynthError

OUT = Path(".bench/reproduce")
STUDY_OPTIONS = {"quality": ("--set", "unit=tokens"), "coverage": ("--set", "paper=true")}
"""Options of studies: Table 6 counts the encoder's tokens, Table 8 uses a t-SNE plane."""


def cost_table(
    lines: Sequence[Planned], plan: Sequence[Planned], price: Sequence[float] | None
) -> str:
    """Return the Markdown of the cost of each table on each data set, and of all together.

    Args:
        lines: The lines to cost.
        plan: All lines, including those that `lines` build on.
        price: USD for a million prompt and a million completion tokens, if known.
    """
    text = [
        "| table | data set | runs | LLM calls | prompt tokens | completion tokens | USD "
        "| rows x epochs | training FLOPs |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for table in TABLES:
        for data_set in paper.DATA_SETS:
            found = [p for p in lines if (p.table, p.data_set) == (table, data_set)]
            if found:
                cost = cost_of(with_needed(found, plan))
                text.append(f"| {table} | {data_set} | {_cells(cost, price)} |")
    shared = cost_of(with_needed(lines, plan))
    return "\n".join([*text, f"| all, shared | | {_cells(shared, price)} |"])


def _cells(cost: Cost, price: Sequence[float] | None) -> str:
    usd = f"{cost.usd(price):,.2f}" if price else "–"
    return (
        f"{cost.runs} | {cost.calls:,} | {cost.prompt_tokens / 1e6:,.2f} M "
        f"| {cost.completion_tokens / 1e6:,.2f} M | {usd} | {cost.row_epochs:,} | {cost.flops:.2e}"
    )


ASSUMPTIONS = """
Every line of a table is costed by itself, with the runs that it builds on; `all, shared` is what
all cost with one store. It is an upper bound: extrapolations of one gold row by several methods are
shared too. Tokens: the recipes' own prompts, with texts as long as Table 6's means, which are in
tokens (errors and extrapolations; seed and ZeroGen rows as long as extrapolations), contexts as
long as the gold sets' means, rationales of 10 words, 4/3 tokens a word; LLMs count otherwise. Added
rows are the paper's: a student that errs more costs more. Retries and rejected answers are not
counted. FLOPs as in Appendix B: 6 x parameters x 512 tokens x rows x epochs, over every fit; 33 M
parameters for MiniLM. Tables 6 and 8 are studies of runs of Table 2. GoldGen's seed size is
ours."""


def overrides_of(line: Planned, runs: Path, options: argparse.Namespace) -> list[str]:
    """Return the `--set` values of a line's run."""
    planner = Planner(options.scale)
    values = [
        f"method={line.method.replace('$RUNS', str(runs))}",
        f"random_seed={options.random_seed}",
        f"llm.store={runs / 'answers.sqlite'}",
    ]
    if options.model:
        values.append(f"llm.model={options.model}")
    if options.base_url:
        values.append(f"llm.base_url={options.base_url}")
    if line.student:
        values.append(f"student.model={line.student}")
    if options.scale != 1:
        values.append(f"data.split.mine={planner.rows(paper.TABLE_2_ROWS['gold'][line.data_set])}")
    if line.calls:
        # A student with far more errors than the paper's must not spend without limit.
        most = 2 * sum(calls.number for calls in line.calls) + 100
        values.append(f"limits.requests={most}")
    return [*values, *options.set]


def run_lines(lines: Sequence[Planned], options: argparse.Namespace) -> Iterator[list[str]]:
    """Make the runs, and yield each line's cells: names, rows, the paper's scores and the new."""
    import stepsynth

    runs = (OUT / f"scale-{options.scale:g}-seed-{options.random_seed}").absolute()
    for line in lines:
        out = runs / line.key
        done = stepsynth.run(
            RECIPES / f"{line.data_set}.yaml",
            overrides=overrides_of(line, runs, options),
            out=out,
        ).summary
        assert done.test is not None
        ours = _study(line, out) if line.study else _scores(score_cells(dict(done.test.known())))
        size = f"{done.kept.train_size:,}"
        yield [line.data_set, line.name, f"{line.rows:,}", size, _scores(line.paper), ours]


def _study(line: Planned, run: Path) -> str:
    """Print a study of a run; return its cell in the table."""
    study = [sys.executable, "-m", "stepsynth", "study", line.study, str(run)]
    done = subprocess.run([*study, *STUDY_OPTIONS[line.study]], check=False)
    return "printed above" if done.returncode == 0 else "the study failed"


def score_cells(test: Mapping[str, Any]) -> paper.Scores:
    """Return a run's scores in percent: exact match and F1 of answers, else accuracy."""
    keys = ("exact_match", "f1") if "exact_match" in test else ("accuracy",)
    return tuple(100 * float(test[key]) for key in keys)


def _scores(values: paper.Scores) -> str:
    return " / ".join(f"{value:.2f}" if value > 1 else f"{value:.4f}" for value in values)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.rerun", description=__doc__)
    parser.add_argument("--price", nargs=2, type=float, metavar=("PROMPT", "COMPLETION"))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the paper's sizes")
    parser.add_argument("--only", choices=paper.DATA_SETS)
    parser.add_argument("--run", choices=TABLES, metavar="TABLE")
    parser.add_argument("--yes", action="store_true", help="spend what the table says")
    parser.add_argument("--model", default="", help="the LLM's name at the endpoint")
    parser.add_argument("--base-url", default="")
    parser.add_argument("--random-seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    if not 0 < options.scale <= 1 or math.isnan(options.scale):
        parser.error("--scale: expected a share above 0, at most 1")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the cost, or run a table with `--run`."""
    options = parse_options(arguments)
    whole = Planner(options.scale).plan()
    chosen = [
        line
        for line in whole
        if options.only in (None, line.data_set) and options.run in (None, line.table)
    ]
    if not chosen:
        raise SystemExit(f"the paper's table {options.run} has no {options.only}")
    print(cost_table(chosen, whole, options.price), ASSUMPTIONS, sep="\n")
    if not options.run:
        return
    lines = with_needed(chosen, whole)
    cost = cost_of(lines)
    if not options.yes:
        raise SystemExit(
            f"\nnothing was run: table {options.run} asks the LLM {cost.calls:,} times; "
            "--yes says that it may"
        )
    if cost.calls and not options.model:
        raise SystemExit("\nnothing was run: name the LLM with --model (and --base-url)")
    head = ["data set", "method", "rows, planned", "rows, ours", "paper", "ours"]
    rows = [" | ".join(head), "--- | --- | ---: | ---: | ---: | ---:"]
    try:
        for cells in run_lines(lines, options):
            rows.append(" | ".join(cells))
            print(f"done: {rows[-1]}", flush=True)
    except StepsynthError as error:
        raise SystemExit(f"error: {error}\nthe same command goes on where it stopped") from error
    print("\n".join(f"| {row} |" for row in rows))


if __name__ == "__main__":
    main()
