"""Students on gold rows alone: macro-F1 and times by the number of rows.

    STEPSYNTH_DATA=/path/to/data python -m reproduction.students [--students linear static]

`static` needs a Model2Vec model (`--static FOLDER`). Without one it is distilled from MiniLM, in a
minute, and kept under `.bench/`; that takes `model2vec[distill]`, which needs an older
transformers: an environment of its own.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.encoder import minilm
from reproduction.live import data_folder, read
from stepsynth._util.rng import make_rng
from stepsynth.records import Dataset, Example
from stepsynth.students import StudentFactory, students
from stepsynth.tasks.classification import Classification

FILES = {
    "SST-2": ("sst2/train.jsonl", "sst2/test.jsonl"),
    "AG News": ("ag-news/train.jsonl.gz", "ag-news/test.jsonl.gz"),
    "IMDb": ("imdb/train.jsonl.gz", "imdb/test.jsonl.gz"),
}
SIZES = (50, 200, 1000)
MOST_TEST = 1_000
STATIC = Path(".bench/static-minilm")
NAMES = ("linear", "static", "static:tfidf=false", "embedding")


def distilled() -> str:
    """Return the folder of a static model distilled from MiniLM."""
    if not STATIC.exists():
        from model2vec.distill import distill_from_model
        from transformers import AutoModel, AutoTokenizer

        encoder, tokenizer = (each.from_pretrained(minilm()) for each in (AutoModel, AutoTokenizer))
        model = distill_from_model(encoder, tokenizer, device="cpu", pca_dims=256)
        model.save_pretrained(str(STATIC))
    return str(STATIC)


def factory(name: str, static: str, labels: tuple[str, ...], seed: int) -> StudentFactory:
    """Return the factory of a student by its name, or "NAME:tfidf=false"."""
    kind, _, rest = name.partition(":")
    keys: dict[str, object] = {}
    if kind in ("static", "embedding"):
        keys["model"] = static if kind == "static" else minilm()
    if rest:
        keys["tfidf"] = False
    return StudentFactory(students().get(kind).model_validate(keys), labels, seed)


def main() -> None:
    """Print a table: a line for each data set and student."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--students", nargs="+", default=list(NAMES))
    parser.add_argument("--only", nargs="+", default=list(FILES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--static", default="", help="Folder or name of a Model2Vec model.")
    options = parser.parse_args()
    static = options.static or distilled()
    shown = " | ".join(f"{size} rows" for size in SIZES)
    print(f"| data set | student | {shown} | fit of {SIZES[-1]}, s | predicted texts/s |")
    print("| --- | --- |" + " ---: |" * (len(SIZES) + 2))
    for title in options.only:
        files = [list(read(data_folder() / file)) for file in FILES[title]]
        train, test = ([Example(row["text"], str(row["label"])) for row in file] for file in files)
        held_out = Dataset(make_rng(0, "test").sample(test, min(MOST_TEST, len(test))))
        labels = tuple(sorted({str(row.label) for row in train}))
        task = Classification(labels={name: name for name in labels})
        for name in options.students:
            scores: dict[int, list[float]] = {size: [] for size in SIZES}
            fits: list[float] = []
            predicts: list[float] = []
            for size in SIZES:
                for seed in range(options.seeds):
                    model = factory(name, static, labels, seed).new()
                    began = time.perf_counter()
                    model.fit(Dataset(make_rng(seed, "gold").sample(train, size)))
                    fitted = time.perf_counter()
                    said = model.predict(held_out)
                    if size == SIZES[-1]:
                        fits.append(fitted - began)
                        predicts.append(time.perf_counter() - fitted)
                    scores[size].append(100 * task.score(held_out, said)["macro_f1"])
            cells = [
                f"{np.mean(each):.1f} ({np.std(each, ddof=1):.1f})" for each in scores.values()
            ]
            # The first run loads the model, later ones of `embedding` know the test rows.
            speed = len(held_out) / (predicts[0] if name == "embedding" else min(predicts))
            print(f"| {title} | `{name}` | {' | '.join(cells)} | {min(fits):.2f} | {speed:,.0f} |")


if __name__ == "__main__":
    main()
