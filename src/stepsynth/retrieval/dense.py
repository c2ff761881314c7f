"""Dense retrieval of the passages with embeddings nearest to the query's, as in SynthesizRR.

The paper uses Contriever (`facebook/contriever`) and inner products of normalised vectors over all
passages. Here the default is a smaller encoder, which the paper's code lists too. More than 200,000
passages are searched by a graph, which finds nearly all of the nearest.

Divekar and Durrett: "SynthesizRR: Generating Diverse Datasets with Retrieval Augmentation", EMNLP
2024; Izacard et al.: "Unsupervised Dense Information Retrieval with Contrastive Learning", TMLR
2022.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from stepsynth._util.pretrained import need
from stepsynth.retrieval._encoder import Embedder, embed_in_steps, load_encoder
from stepsynth.retrieval._passages import Passage
from stepsynth.retrieval._retriever import Floats, Hit, Index, Progress, Retriever
from stepsynth.retrieval._vectors import Vectors, open_vectors, write_vectors


class Dense(Retriever):
    """The `dense` retriever."""

    name: ClassVar[str] = "dense"
    libraries: ClassVar[tuple[str, ...]] = ("sentence-transformers", "usearch")

    encoder: str = Field(
        default="sentence-transformers/all-MiniLM-L6-v2",
        description="A sentence encoder: a name on the Hugging Face hub, or a folder. "
        "SynthesizRR's is facebook/contriever.",
    )

    def check(self) -> None:
        """Check that usearch, sentence-transformers and the encoder are available."""
        need("usearch", "retrieval")
        load_encoder(self.encoder)

    def _build(self, passages: Sequence[Passage], folder: Path, on_progress: Progress) -> None:
        texts = [passage.text for passage in passages]
        write_vectors(folder, embed_in_steps(self.encoder, texts, on_progress), len(texts))

    def _open(self, passages: Sequence[Passage], folder: Path, on_progress: Progress) -> Index:
        return DenseIndex(passages, open_vectors(folder), Embedder(self.encoder, on_progress))


class DenseIndex(Index):
    """Passages and their vectors, in the same order; queries are embedded in the same space."""

    def __init__(self, passages: Sequence[Passage], vectors: Vectors, embedder: Embedder) -> None:
        super().__init__(passages)
        self._vectors = vectors
        self._embedder = embedder

    def _search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        found = self._vectors.find_nearest(self._embedder(queries), k)
        return [
            [
                Hit(self.passages[place], rank, float(cosine), float(np.clip(cosine, -1, 1)))
                for rank, (place, cosine) in enumerate(zip(*hits, strict=True), start=1)
            ]
            for hits in found
        ]

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return unit-length embeddings; those of passages are read from disk."""
        known = self._place_of
        vectors = self._embedder([text for text in texts if text not in known])
        embeddings = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
        is_known = np.array([text in known for text in texts], dtype=bool)
        embeddings[~is_known] = vectors
        if is_known.any():
            embeddings[is_known] = self._vectors.take([known[t] for t in texts if t in known])
        return embeddings

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {passage.text: place for place, passage in enumerate(self.passages)}
