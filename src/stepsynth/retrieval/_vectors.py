"""Nearest-neighbour search in vectors on disk: exact for few, by a graph for many."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepsynth.retrieval._retriever import Floats, rank_best

EXACT_UP_TO = 200_000
"""Most vectors for exact search: 4 ms of one core per query, at 384 dimensions."""

Places = npt.NDArray[np.intp]

_QUERIES_AT_ONCE = 64
_EXPANSION_ADD, _EXPANSION_SEARCH = 64, 512
"""Candidates kept while a vector is added, and during a search."""

_EXACT_FILE, _GRAPH_FILE = "vectors.npy", "vectors.usearch"


class Vectors(ABC):
    """Unit-length vectors in a file that is mapped into memory."""

    @abstractmethod
    def find_nearest(self, queries: Floats, k: int) -> list[tuple[Places, Floats]]:
        """Return the positions of the k nearest vectors of each query, and their cosines.

        Args:
            queries: (n_queries, n_dimensions), of length 1.
            k: At most as many as there are vectors.
        """

    @abstractmethod
    def take(self, places: Sequence[int]) -> Floats:
        """Return the vectors at these positions: (n_places, n_dimensions)."""


def write_vectors(folder: Path, batches: Iterable[Floats], count: int) -> None:
    """Write unit-length vectors for `open_vectors`.

    Args:
        folder: Where to write them.
        batches: (n, n_dimensions) each; for exact search never all in memory at once.
        count: Number of vectors in all.
    """
    iterator = iter(batches)
    first = next(iterator)
    write = _write_exact if count <= EXACT_UP_TO else _write_graph
    write(folder, chain([first], iterator), (count, first.shape[1]))


def open_vectors(folder: Path) -> Vectors:
    """Map what `write_vectors` wrote."""
    if (folder / _GRAPH_FILE).exists():
        return _Graph(folder / _GRAPH_FILE)
    return _Exact(folder / _EXACT_FILE)


def _write_exact(folder: Path, batches: Iterable[Floats], shape: tuple[int, int]) -> None:
    file = np.lib.format.open_memmap(folder / _EXACT_FILE, mode="w+", dtype=np.float32, shape=shape)
    at = 0
    for batch in batches:
        file[at : at + len(batch)] = batch
        at += len(batch)
    file.flush()


def _write_graph(folder: Path, batches: Iterable[Floats], shape: tuple[int, int]) -> None:
    from usearch.index import Index

    graph = Index(ndim=shape[1], metric="ip", dtype="f16", expansion_add=_EXPANSION_ADD)
    at = 0
    for batch in batches:
        # One thread: with more, the graph (and so a few hits) would differ from build to build.
        graph.add(np.arange(at, at + len(batch)), np.ascontiguousarray(batch), threads=1)
        at += len(batch)
    graph.save(str(folder / _GRAPH_FILE))


class _Exact(Vectors):
    """Exact search: all vectors, as float32, are compared with every query."""

    def __init__(self, file: Path) -> None:
        self._vectors: Floats = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))

    def find_nearest(self, queries: Floats, k: int) -> list[tuple[Places, Floats]]:
        found: list[tuple[Places, Floats]] = []
        for at in range(0, len(queries), _QUERIES_AT_ONCE):
            for cosines in queries[at : at + _QUERIES_AT_ONCE] @ self._vectors.T:
                best = rank_best(cosines, k)
                found.append((best, cosines[best]))
        return found

    def take(self, places: Sequence[int]) -> Floats:
        return self._vectors[np.asarray(places, dtype=np.intp)]


class _Graph(Vectors):
    """A hierarchical navigable small world (HNSW) of float16 vectors: finds nearly all nearest.

    Malkov and Yashunin: "Efficient and Robust Approximate Nearest Neighbor Search Using
    Hierarchical Navigable Small World Graphs", TPAMI 2020.
    """

    def __init__(self, file: Path) -> None:
        from usearch.index import Index

        graph: Any = Index.restore(str(file), view=True)
        if graph is None:
            raise ValueError(f"{file.name} is missing or damaged")
        self._graph = graph

    def find_nearest(self, queries: Floats, k: int) -> list[tuple[Places, Floats]]:
        self._graph.expansion_search = max(_EXPANSION_SEARCH, 2 * k)
        matches = self._graph.search(np.atleast_2d(queries), k)
        found: list[tuple[Places, Floats]] = []
        for keys, distances, count in zip(
            matches.keys, matches.distances, matches.counts, strict=True
        ):
            places = keys[: int(count)].astype(np.intp)
            cosines = np.asarray(1.0 - distances[: int(count)], dtype=np.float32)
            order = np.lexsort((places, -cosines.round(6)))
            found.append((places[order], cosines[order]))
        return found

    def take(self, places: Sequence[int]) -> Floats:
        vectors = np.asarray(
            self._graph.get(np.asarray(places, dtype=np.uint64), dtype="f32"), dtype=np.float32
        )
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
