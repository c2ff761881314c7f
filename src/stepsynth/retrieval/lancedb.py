"""Dense retrieval whose vectors stay on disk: an IVF_PQ index of LanceDB.

An inverted file (IVF) divides the vectors into partitions, of which a query visits the nearest;
product quantisation (PQ) compresses a vector to a byte for eight dimensions. The best hits are
compared again by their whole vectors, so cosines are exact.

Jégou et al.: "Product Quantization for Nearest Neighbor Search", TPAMI 2011.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stepsynth._util.pretrained import need
from stepsynth.retrieval._encoder import Embedder, embed_in_steps, load_encoder
from stepsynth.retrieval._passages import Passage
from stepsynth.retrieval._retriever import Floats, Index, Progress
from stepsynth.retrieval._vectors import Places, Vectors
from stepsynth.retrieval.dense import Dense, DenseIndex

EXACT_UP_TO = 10_000
"""Most vectors without an index: a scan takes some milliseconds."""
PARTITION = 4096
"""Vectors of a partition."""
VISITED, REFINED = 64, 20
"""Partitions that a query visits; whole vectors that are compared for each hit."""

_TABLE, _FILE = "vectors", "lance"


class LanceDB(Dense):
    """The `lancedb` retriever.

    Attributes:
        encoder: See `Dense`.
    """

    name: ClassVar[str] = "lancedb"
    libraries: ClassVar[tuple[str, ...]] = ("sentence-transformers", "lancedb")

    def check(self) -> None:
        """Check that LanceDB, sentence-transformers and the encoder are available."""
        need("lancedb", "lancedb")
        load_encoder(self.encoder)

    def _build(self, passages: Sequence[Passage], folder: Path, on_progress: Progress) -> None:
        texts = [passage.text for passage in passages]
        write_table(folder, embed_in_steps(self.encoder, texts, on_progress))

    def _open(self, passages: Sequence[Passage], folder: Path, on_progress: Progress) -> Index:
        return DenseIndex(passages, Table(folder), Embedder(self.encoder, on_progress))


def write_table(folder: Path, batches: Iterable[Floats]) -> None:
    """Write unit-length vectors, and their index if they are many.

    Args:
        folder: Where to write them.
        batches: (n, n_dimensions) each; never all in memory at once.
    """
    import lancedb
    import pyarrow as pa
    from lancedb.index import IvfPq

    iterator = iter(batches)
    first = next(iterator)
    dimensions = first.shape[1]
    schema = pa.schema([("place", pa.int64()), ("vector", pa.list_(pa.float32(), dimensions))])

    def records() -> Iterator[Any]:
        at = 0
        for batch in chain([first], iterator):
            flat = pa.array(np.ascontiguousarray(batch, dtype=np.float32).ravel())
            vectors = pa.FixedSizeListArray.from_arrays(flat, dimensions)
            places = pa.array(np.arange(at, at + len(batch)))
            yield pa.RecordBatch.from_arrays([places, vectors], schema=schema)
            at += len(batch)

    table: Any = lancedb.connect(folder / _FILE).create_table(_TABLE, records(), schema=schema)
    count = table.count_rows()
    if count > EXACT_UP_TO:
        parts = max(dimensions // 8, 1)
        config = IvfPq(
            distance_type="cosine",
            num_partitions=max(count // PARTITION, 2),
            num_sub_vectors=next(n for n in range(parts, 0, -1) if dimensions % n == 0),
        )
        table.create_index("vector", config=config)


class Table(Vectors):
    """Unit-length vectors in a table of LanceDB.

    Args:
        folder: What `write_table` wrote.
    """

    def __init__(self, folder: Path) -> None:
        import lancedb

        self._table: Any = lancedb.connect(folder / _FILE).open_table(_TABLE)
        # LanceDB opens files once they are asked for: damage should be found now.
        self.find_nearest(self.take([0]), 1)

    def find_nearest(self, queries: Floats, k: int) -> list[tuple[Places, Floats]]:
        """Return the places of the k nearest vectors of each query, and their cosines."""
        if not len(queries):
            return []
        search = self._table.search(list(queries), vector_column_name="vector")
        search = search.distance_type("cosine").nprobes(VISITED).refine_factor(REFINED)
        found = search.select(["place", "_distance"]).limit(k).to_arrow()
        asked = found["query_index"].to_numpy() if len(queries) > 1 else np.zeros(len(found), int)
        places = found["place"].to_numpy().astype(np.intp)
        cosines = np.asarray(1 - found["_distance"].to_numpy(), dtype=np.float32)
        order = np.lexsort((places, -cosines.round(6), asked))
        edges = np.searchsorted(asked[order], np.arange(len(queries) + 1))
        chosen = [order[a:b] for a, b in pairwise(edges)]
        return [(places[each], cosines[each]) for each in chosen]

    def take(self, places: Sequence[int]) -> Floats:
        """Return the vectors at these places: (n_places, n_dimensions)."""
        wanted = sorted(set(map(int, places)))
        found = self._table.take_offsets(wanted).select(["place", "vector"]).to_arrow()
        flat = found["vector"].combine_chunks().flatten().to_numpy()
        vectors = flat.reshape(len(found), -1)[np.argsort(found["place"].to_numpy())]
        return vectors[np.searchsorted(wanted, np.asarray(places))]
