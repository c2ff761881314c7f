"""Speed and memory of retrieval: `python -m benchmarks.retrieval [--full] [--around FILE] [PART]`.

The data is made up: passages of 60 words with natural word frequencies, and vectors of 384
dimensions. The vectors are random around 32 directions, since those of real texts do not fill
their space either. 100,000 of each; with --full also 1,000,000. Each row of the table is measured
in a process of its own; its peak memory includes what is mapped from disk.

With --around the vectors have the structure of real ones: FILE (.npy) has embeddings of texts, and
a made vector is the sum of one of them, half another one, and noise of 0.3 of their length. PART is
a row of the table to measure alone: bm25, exact, usearch or lancedb.
"""

import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import peak_mb, seconds
from stepsynth.retrieval import Passage, _vectors
from stepsynth.retrieval._retriever import Floats
from stepsynth.retrieval._vectors import Vectors, open_vectors, write_vectors
from stepsynth.retrieval.bm25 import BM25, split_words

WORDS, QUERY_WORDS, VOCABULARY = 60, 30, 50_000
DIMENSIONS, DIRECTIONS = 384, 32
MOST_PLAIN = 100_000
"""Most passages for the plain loop of BM25, which holds a table of words for each."""
QUERIES, K, RECALL_AT = 200, 50, 10
AROUND = "STEPSYNTH_BENCHMARK_AROUND"
"""Environment variable of --around, for the processes that measure."""
BATCH = 10_000


@dataclass(frozen=True)
class Measured:
    """Measurements of one process.

    Attributes:
        index_s: Seconds to build the index on disk.
        per_query_s: Seconds per query, with all queries in one call.
        made_mb: Peak memory before the index was built, including the passages.
        peak_mb: Peak memory of the whole process.
        plain_s: Seconds per query of a plain loop, which needs no index.
        recall: Share of the k best that were found.
    """

    index_s: float
    per_query_s: float
    made_mb: float
    peak_mb: float
    plain_s: float = 0.0
    recall: float = 1.0


def make_texts(count: int, words: int, random_seed: int) -> list[str]:
    """Return texts of made-up words; the n-th most frequent is 1/n as frequent as the first."""
    rng = np.random.default_rng(random_seed)
    share = 1 / np.arange(1, VOCABULARY + 1)
    names = np.array([f"w{i}" for i in range(VOCABULARY)], dtype=object)
    edges = np.cumsum(share / share.sum())
    texts: list[str] = []
    for at in range(0, count, BATCH):
        drawn = np.searchsorted(edges[:-1], rng.random((min(BATCH, count - at), words)))
        texts += [" ".join(row) for row in names[drawn]]
    return texts


def make_vectors(count: int, random_seed: int) -> Iterator[Floats]:
    """Yield batches of vectors of length 1."""
    rng = np.random.default_rng([random_seed, count])
    if around := os.environ.get(AROUND):
        real = np.load(around, allow_pickle=False)
        real = real / np.linalg.norm(real, axis=1, keepdims=True)
        for at in range(0, count, BATCH):
            size = min(BATCH, count - at)
            batch = rng.standard_normal((size, real.shape[1]))
            batch *= 0.3 / np.linalg.norm(batch, axis=1, keepdims=True)
            batch += real[rng.integers(len(real), size=size)]
            batch += 0.5 * real[rng.integers(len(real), size=size)]
            yield (batch / np.linalg.norm(batch, axis=1, keepdims=True)).astype(np.float32)
        return
    directions = np.random.default_rng(0).standard_normal((DIRECTIONS, DIMENSIONS))
    for at in range(0, count, BATCH):
        size = min(BATCH, count - at)
        batch = rng.standard_normal((size, DIRECTIONS)) @ directions
        batch += 0.5 * rng.standard_normal((size, DIMENSIONS))
        yield (batch / np.linalg.norm(batch, axis=1, keepdims=True)).astype(np.float32)


def measure_bm25(count: int) -> Measured:
    """Measure BM25, beside a loop over the counts of all passages for each word of a query."""
    passages = [Passage(str(i), text) for i, text in enumerate(make_texts(count, WORDS, 0))]
    queries = make_texts(QUERIES, QUERY_WORDS, 1)
    made = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "index"
        retriever = BM25(stop_words="none")
        index_s = seconds(lambda: retriever.index(passages, place))
        index = retriever.index(passages, place)
        index.search(queries[:1], K)  # loads libraries before the measurement
        query_s = seconds(lambda: index.search(queries, K))
        peak = peak_mb()
    if count > MOST_PLAIN:
        return Measured(index_s, query_s / QUERIES, made, peak)
    counts = [Counter(split_words(passage.text)) for passage in passages]

    def ask_plainly(query: str) -> None:
        scores = np.zeros(count)
        for word in split_words(query):
            found = np.array([row[word] for row in counts])
            scores += found / (found + 1.5) * np.log(1 + count / (1 + np.count_nonzero(found)))
        np.argsort(-scores)[:K]

    plain_s = seconds(lambda: ask_plainly(queries[0]))
    return Measured(index_s, query_s / QUERIES, made, peak, plain_s)


def measure_dense(
    count: int,
    write: Callable[[Path, Iterator[Floats]], None],
    open_: Callable[[Path], Vectors] = open_vectors,
) -> Measured:
    """Measure search among vectors, beside a sort of all cosines for each query."""
    made = peak_mb()
    queries = next(make_vectors(QUERIES, 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index_s = seconds(lambda: write(folder, make_vectors(count, 0)))
        vectors = open_(folder)
        vectors.find_nearest(queries, K)  # reads the file before the measurement
        query_s = seconds(lambda: vectors.find_nearest(queries, K))
        peak = peak_mb()
        found = [set(places) for places, _ in vectors.find_nearest(queries, RECALL_AT)]
    everything = np.concatenate(list(make_vectors(count, 0)))
    best = [np.argpartition(-(everything @ q), RECALL_AT)[:RECALL_AT] for q in queries]
    plain_s = seconds(lambda: np.argsort(-(everything @ queries[0])))
    recall = np.mean([len(f & set(b)) / RECALL_AT for f, b in zip(found, best, strict=True)])
    return Measured(index_s, query_s / QUERIES, made, peak, plain_s, float(recall))


def measure_exact(count: int) -> Measured:
    """Measure the exact search."""
    _vectors.EXACT_UP_TO = count
    return measure_dense(count, lambda folder, batches: write_vectors(folder, batches, count))


def measure_graph(count: int) -> Measured:
    """Measure the search by usearch's graph."""
    _vectors.EXACT_UP_TO = 0
    return measure_dense(count, lambda folder, batches: write_vectors(folder, batches, count))


def measure_lancedb(count: int) -> Measured:
    """Measure the search by LanceDB's IVF_PQ."""
    from stepsynth.retrieval import lancedb

    return measure_dense(count, lancedb.write_table, lancedb.Table)


PARTS: dict[str, Callable[[int], Measured]] = {
    "bm25": measure_bm25,
    "dense, exact": measure_exact,
    "dense, usearch": measure_graph,
    "dense, lancedb": measure_lancedb,
}


def main() -> None:
    """Measure and print."""
    given = sys.argv[1:]
    sizes = (100_000, 1_000_000) if "--full" in given else (100_000,)
    if "--around" in given:
        os.environ[AROUND] = given[given.index("--around") + 1]
    chosen = [name for name in PARTS if any(name.endswith(part) for part in given)] or PARTS
    spawn = multiprocessing.get_context("spawn")
    print(f"{QUERIES} queries at once, {K} hits each; plain: a loop or a sort over all passages")
    print(
        f"{'':15} {'passages':>9} {'index s':>8} {'rows/s':>8} {'queries/s':>9} {'x plain':>8} "
        f"{'at 10':>6} {'peak MB':>8} {'before':>7}"
    )
    for count in sizes:
        for name in chosen:
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                m = pool.submit(PARTS[name], count).result()
            plain = f"{m.plain_s / m.per_query_s:8.1f}" if m.plain_s else f"{'-':>8}"
            print(
                f"{name:15} {count:9,} {m.index_s:8.1f} {count / m.index_s:8,.0f} "
                f"{1 / m.per_query_s:9,.0f} {plain} {m.recall:6.3f} "
                f"{m.peak_mb:8,.0f} {m.made_mb:7,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
