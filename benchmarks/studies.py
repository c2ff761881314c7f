"""Time of the studies at 10,000 and 100,000 rows: `python -m benchmarks.studies [ROWS ...]`.

The texts are made up, with about 40 words and natural word frequencies (Zipf). Self-BLEU is also
computed by nltk, for 5 texts against 1,000 others, and extrapolated to all pairs.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stepsynth._util.files import write_jsonl
from stepsynth.data import DataSection
from stepsynth.llm.engine.limits import Limits
from stepsynth.methods.gold import Gold
from stepsynth.metrics.coverage import nearest_distances
from stepsynth.metrics.diversity import count_ngrams, self_bleu, tokenise
from stepsynth.metrics.mauve import mauve
from stepsynth.metrics.two_sample import tell_apart
from stepsynth.records import Dataset, Example, Provenance
from stepsynth.runfolder import MissedRow, RunRound
from stepsynth.students.linear import Linear
from stepsynth.studies import StudiedRun
from stepsynth.studies._features import embed, word_features
from stepsynth.studies.cartography import Cartography
from stepsynth.studies.coverage import Coverage
from stepsynth.studies.diversity import Diversity
from stepsynth.studies.labels import Labels
from stepsynth.studies.quality import EXTRAPOLATE, Quality
from stepsynth.taskfile.config import Config
from stepsynth.tasks.classification import Classification

LENGTH = 40
GOLD = 10_000
BY_NLTK, REFERENCES = 5, 1000


def made_rows(n: int, seed: int) -> Dataset:
    """Return n made-up rows of two labels, which differ in a few words."""
    rng = np.random.default_rng(seed)
    ranks = np.minimum(rng.zipf(1.3, size=(n, LENGTH)), 50_000)
    lengths = rng.integers(LENGTH // 2, LENGTH + 1, size=n)
    rows: list[Example] = []
    for i, (words, length) in enumerate(zip(ranks, lengths, strict=True)):
        label = "ab"[i % 2]
        text = " ".join(f"w{word}" for word in words[:length])
        rows.append(Example(f"{text} {label}{i % 7}", label))
    return Dataset(rows)


def made_subject(n: int) -> StudiedRun:
    """Return a studied run of n made-up rows with made-up gold."""
    task = Classification.model_validate({"labels": ["a", "b"]})
    config = Config("made", task, DataSection(gold="(given)"), None, Linear(), Gold(), Limits(), 0)
    gold = made_rows(GOLD, seed=1)
    third = GOLD // 3
    parts = gold[:third], gold[third : 2 * third], gold[2 * third :]
    subject = StudiedRun("made", made_rows(n, seed=2), *parts, config)
    mine = subject.mine
    # The study of extrapolations needs rows that are written from a gold row.
    added = Dataset(
        replace(row, provenance=Provenance("s3", 1, EXTRAPOLATE, (mine[i % len(mine)].id,)))
        for i, row in enumerate(subject.rows)
    )
    folder = Path(tempfile.mkdtemp())
    write_jsonl(folder / "examples.jsonl", added.to_dicts())
    write_jsonl(folder / "misclassified.jsonl", (MissedRow(row, "").to_dict() for row in mine))
    return replace(subject, rounds=(RunRound(1, folder),))


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that an action takes, and its result."""
    started = time.perf_counter()
    found = action()
    return time.perf_counter() - started, found


def tell(name: str, took: float, more: str = "") -> None:
    """Print a line."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  {name:<42} {took:8.1f} s   peak so far {peak:4.1f} GiB   {more}", flush=True)


def nltk_seconds(texts: list[list[str]]) -> float:
    """Return nltk's seconds for all texts, extrapolated from a few against some of the others."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    weights = [(1 / n,) * n for n in range(1, 6)]
    smoothing = SmoothingFunction().method1
    others = texts[BY_NLTK : BY_NLTK + REFERENCES]
    took, _ = timed(
        lambda: [sentence_bleu(others, text, weights, smoothing) for text in texts[:BY_NLTK]]
    )
    # The time of nltk grows with hypotheses times references.
    return took / (BY_NLTK * len(others)) * len(texts) * (len(texts) - 1)


def measure(n: int) -> None:
    """Time the metrics on all rows, then the studies with their default samples."""
    print(f"{n:,} rows; gold {GOLD:,}")
    subject = made_subject(n)
    texts = subject.rows.texts
    took_tokens, tokens = timed(lambda: [tokenise(text) for text in texts])
    took, _ = timed(lambda: self_bleu(count_ngrams(tokens)))
    by_nltk = nltk_seconds(tokens)
    nltk_is = f"nltk, extrapolated: {by_nltk:,.0f} s, {by_nltk / took:,.0f} x"
    tell("self-BLEU 1-5, every text against all", took, nltk_is)
    tell("  tokenising for it", took_tokens)
    took, vectors = timed(lambda: embed([*texts, *subject.gold.texts]))
    tell("lsa vectors of rows and gold", took)
    ours, gold = vectors[:n], vectors[n:]
    tell(
        "MAUVE, 30 buckets", timed(lambda: mauve(ours, gold, buckets=30, scale=5, random_seed=0))[0]
    )
    tell("two-sample test, vectors", timed(lambda: tell_apart(ours, gold, random_seed=0))[0])
    terms = word_features([*texts, *subject.gold.texts])
    took, _ = timed(lambda: tell_apart(terms[:n], terms[n:], random_seed=0))
    tell("two-sample test, words", took)
    tell("coverage: nearest row of each gold row", timed(lambda: nearest_distances(gold, ours))[0])
    studies = (Diversity(), Diversity(rows="all"), Coverage(), Labels(), Quality(), Cartography())
    for study in studies:
        rows = " of all rows" if getattr(study, "rows", "") == "all" else ""
        tell(f"study {study.name}{rows}", timed(lambda study=study: study.run([subject]))[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 100_000])
    for n in parser.parse_args().rows:
        measure(n)


if __name__ == "__main__":
    main()
