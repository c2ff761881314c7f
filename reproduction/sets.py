"""Several labels a text, live: the section "Several labels a text" of `docs/results.md`.

    STEPSYNTH_DATA=... python -m reproduction.sets --url http://127.0.0.1:8000/v1 --llm NAME

A text is one item of AG News, or two of different sections one after the other; its labels are
their sections. All methods but `gold` have the same number of calls. Results stay in `.bench/sets`,
so a stopped command resumes; the table goes to stdout.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import stepsynth
from reproduction.comparisons import student_section, table
from reproduction.live import data_folder, read
from stepsynth._util.files import write_jsonl
from stepsynth._util.rng import make_rng
from stepsynth.comparison import Comparison

OUT = Path(".bench/sets")
ROWS = {"train": {"gold": 60, "select": 40, "unlabelled": 300}, "test": {"test": 300}}
PAIRS = 0.4
"""Share of texts that are two items."""

METHODS = ("gold", "zerogen", "goldgen", "s3", "annotate:size=100;shots=4;check=20;train_on=both")
TASK = {
    "kind": "multi_label",
    "instruction": "Decide which sections of a newspaper a report belongs to.",
    "text_name": "news report",
    "labelled_name": "news report about {label}",
    "labels": {
        "World": "world politics",
        "Sports": "sports",
        "Business": "business",
        "Sci/Tech": "science and technology",
    },
}


def reports(items: Sequence[Mapping[str, Any]], rng: Random) -> Iterator[dict[str, Any]]:
    """Yield texts of one or two items of different sections, each item once."""
    waiting: Mapping[str, Any] | None = None
    for item in items:
        if waiting is not None and waiting["label"] != item["label"]:
            labels = [waiting["label"], item["label"]]
            yield {"text": f"{waiting['text']} {item['text']}", "label": labels}
            waiting = None
        elif waiting is None and rng.random() < PAIRS:
            waiting = item
        else:
            yield {"text": item["text"], "label": [item["label"]]}


def write_files(folder: Path) -> dict[str, str]:
    """Write the rows, and return the section `data`."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, str] = {}
    for split, sizes in ROWS.items():
        rng = make_rng(0, "sets", split)
        items = read(data_folder("ag-news/") / f"ag-news/{split}.jsonl.gz")
        drawn = reports(rng.sample(items, len(items)), rng)
        for name, size in sizes.items():
            rows = list(islice(drawn, size))
            if name == "unlabelled":
                rows = [{"text": row["text"]} for row in rows]
            write_jsonl(folder / f"{name}.jsonl", rows)
            found[name] = f"{name}.jsonl"
    return found


def compare(
    llm: Mapping[str, Any], student: str, methods: Sequence[str], *, seeds: int, calls: int
) -> Comparison:
    """Run the rest of the comparison of an LLM and a student."""
    folder = OUT / f"{llm['model']}-{student}"
    values = {
        "task": TASK,
        "data": write_files(folder),
        "llm": llm,
        "student": student_section(student),
        "method": {"name": "s3", "rounds": 2, "rationales": False},
    }
    path = folder / "task.yaml"
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")  # JSON is YAML
    return stepsynth.compare(
        path,
        methods,
        seeds=seeds,
        equal="calls",
        budget=calls,
        against=methods[0],
        out=folder / "compare",
    )


def main() -> None:
    """Run the comparison, and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True, help="Of a live LLM, up to and with its /v1.")
    parser.add_argument("--llm", default="local", help="Its name.")
    parser.add_argument("--student", nargs="+", default=["static"])
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--calls", type=int, default=100, help="The same for all.")
    options = parser.parse_args()
    llm = {"backend": "openai_compatible", "base_url": options.url, "model": options.llm}
    llm |= {"concurrency": 4, "timeout_s": 600}  # small servers answer few at a time
    for student in options.student:
        done = compare(llm, student, options.methods, seeds=options.seeds, calls=options.calls)
        print(f"### {options.llm}, {student}\n\n{table(done)}\n", flush=True)


if __name__ == "__main__":
    main()
