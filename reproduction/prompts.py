"""Template sets with live LLMs at equal calls: a table of `docs/results.md`.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.prompts [--task sst2] [--llm FILE.gguf]

Each cell is S3 on a task of `reproduction.live`, with equal calls and a few random seeds. `label
right` is the share of kept rows on whose label a judge agrees, trained on all gold of the task.
Pairs have none, since their judge is no better than chance. Results stay in `.bench/prompts`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import stepsynth
from reproduction.live import add_options, llm_of, rows_of, scores_of, write_task
from stepsynth.comparison.table import Comparison
from stepsynth.metrics.diversity import count_ngrams, distinct_n, tokenise
from stepsynth.records import Dataset, Example
from stepsynth.runfolder import Run
from stepsynth.students.linear import Linear

OUT = Path(".bench/prompts")
CALLS, SEEDS = 120, 3

_ALONE = "Answer with the {{ text_name }} alone: no title, no quotes, no label, no comment."
SETS: dict[str, dict[str, dict[str, str]]] = {
    "ours": {"text": {}, "pair": {}},
    "classification first": {
        "text": {
            "rationale": "{{ instruction }}\n\nThink of a {{ text_name }} whose right label is "
            '"{{ label_word }}". List {{ number }} different reasons why that label could be '
            "right.\n\nAnswer with a numbered list, one short reason a line, and nothing else.",
            "seed": "{{ instruction }}\n\nWrite one {{ text_name }} whose right label is "
            '"{{ label_word }}", for these reasons:\n{% for rationale in rationales %}\n'
            "- {{ rationale }}{% endfor %}\n\n" + _ALONE,
            "extrapolate": "{{ instruction }}\n\nHere is a {{ text_name }} whose right label is "
            '"{{ label_word }}":\n\n{{ text }}\n\nWrite another {{ text_name }} like this one, '
            'whose right label is "{{ label_word }}" too.\n\n' + _ALONE,
        },
        "pair": {
            "seed": "{{ instruction }}\n\nHere is a {{ context_name }}:\n\n{{ context }}\n\nWrite "
            "one {{ text_name }} for this {{ context_name }}, so that the right label of the two "
            'is "{{ label_word }}".\n\n' + _ALONE,
            "extrapolate": "{{ instruction }}\n\nHere is a {{ context_name }}:\n\n{{ context }}"
            "\n\nAnd a {{ text_name }} for it; the right label of the two is "
            '"{{ label_word }}":\n\n{{ text }}\n\nWrite another {{ text_name }} for the same '
            '{{ context_name }}, so that the right label is "{{ label_word }}" too.\n\n' + _ALONE,
        },
    },
    "plain": {
        "text": {
            "rationale": "What could make a {{ text_name }} {{ label_word }}?\nList {{ number }} "
            "reasons.",
            "seed": "Write a {{ label_word }} {{ text_name }}, because of: "
            "{{ rationales | join('; ') }}.",
            "extrapolate": "Write a {{ label_word }} {{ text_name }} similar to this one:\n"
            "{{ text }}",
        },
        "pair": {
            "seed": "{{ context }}\n\nBased on this {{ context_name }}, write a {{ text_name }} "
            "({{ label_word }}).",
            "extrapolate": "{{ context }}\n\nBased on this {{ context_name }}, write a "
            "{{ text_name }} ({{ label_word }}) similar to this one:\n{{ text }}",
        },
    },
}
"""Name -> the templates for texts and for pairs. The second resembles a common hand-written prompt,
with the classifier's instruction and a list of don'ts. The third is S3's Table 1."""


class Judge:
    """Judge of labels: a `linear` student trained on all gold rows of a task."""

    def __init__(self, task: str) -> None:
        rows = rows_of(task)
        known = [Example(str(row["text"]), str(row["label"])) for row in rows]
        names = sorted({str(row.label) for row in known})
        self.student = Linear().start(names, 0)
        self.student.fit(Dataset(tuple(known)))

    def share_right(self, rows: Dataset) -> float:
        """Return the share of rows whose label equals the judge's."""
        said = self.student.predict(rows.texts)
        return mean(a == label for a, label in zip(said, rows.labels, strict=True))


def line(name: str, comparison: Comparison, judge: Judge | None) -> list[str]:
    """Return the line of a template set in the table."""
    runs = [run for run in comparison.runs if run.is_done]
    if not runs:
        raise SystemExit(f"{name}: no run is done: {comparison.runs[0].error}")
    found = [Run(run.folder) for run in runs]
    rows = [run.dataset for run in found]
    rounds = [[done.metrics for done in run.rounds] for run in found]
    rejected = sum(sum(n.rejected.values()) for each in rounds for n in each)
    copies = sum(n.duplicates for each in rounds for n in each)
    written = sum(map(len, rows)) + copies + rejected
    fewest = min(map(len, rows))
    pairs = [
        distinct_n(count_ngrams([tokenise(text) for text in each.texts[:fewest]]))[1]
        for each in rows
    ]
    tokens = [(run.prompt_tokens + run.completion_tokens) / run.rows for run in runs]
    number = min(map(len, rounds))
    auc = [[scores_of(each[i])["auc"] for each in rounds] for i in range(number)]
    return [
        name,
        f"{100 * (1 - rejected / written):.0f} %",
        f"{100 * mean(map(judge.share_right, rows)):.0f} %" if judge else "–",
        f"{mean(pairs):.2f}",
        f"{mean(tokens):.0f}",
        ", ".join(_spread(each) for each in auc),
        _spread([scores_of(each[-1])["accuracy"] for each in rounds]),
    ]


def _spread(scores: Sequence[float]) -> str:
    around = f" ± {100 * stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"{100 * mean(scores):.1f}{around}"


def main() -> None:
    """Run the chosen cells, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser, calls=CALLS, seeds=SEEDS)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    called, llm = llm_of(options)
    heads = ("templates", "read", "label right", "distinct-2", "tokens a row", "AUC by round")
    for task in options.task:
        judge = None if task == "rte" else Judge(task)
        print(f"### {task}, {called}\n\n| {' | '.join(heads)} | accuracy |", flush=True)
        print("| --- | ---: | ---: | ---: | ---: | --- | ---: |", flush=True)
        for name in options.sets:
            folder = OUT / f"{task}-{called}-{name.replace(' ', '-')}"
            prompts = SETS[name]["pair" if task == "rte" else "text"]
            comparison = stepsynth.compare(
                write_task(task, llm, folder, mine=options.calls // 2, prompts=prompts),
                ["s3"],
                seeds=options.seeds,
                equal="calls",
                budget=options.calls,
                out=folder / "compare",
            )
            print(f"| {' | '.join(line(name, comparison, judge))} |", flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
