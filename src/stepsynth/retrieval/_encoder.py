"""Embeddings of texts by a sentence encoder, each text once."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stepsynth._util.pretrained import load_sentence_encoder
from stepsynth._util.text import clean
from stepsynth.retrieval._retriever import Floats, Progress

STEP = 256
"""Texts per call of the encoder, which sorts them by length so that little is padded."""


def load_encoder(name: str) -> Any:
    """Return an encoder by its name on the Hugging Face hub, or from a folder.

    Raises:
        ConfigError: The library or the model is missing.
    """
    return load_sentence_encoder(name, where="retrieval.encoder", extra="retrieval")


def embed_in_steps(name: str, texts: Sequence[str], on_progress: Progress) -> Iterator[Floats]:
    """Yield unit-length embeddings, (n, n_dimensions), of consecutive texts."""
    encoder = load_encoder(name)
    for at in range(0, len(texts), STEP):
        batch = [clean(text) for text in texts[at : at + STEP]]
        vectors = encoder.encode(
            batch, batch_size=32, normalize_embeddings=True, show_progress_bar=False
        )
        yield np.asarray(vectors, dtype=np.float32)
        on_progress("embed", min(at + STEP, len(texts)), len(texts))


class Embedder:
    """An encoder, by its name or folder, that remembers the embeddings of texts."""

    def __init__(self, name: str, on_progress: Progress) -> None:
        self._name = name
        self._on_progress = on_progress
        self._known: dict[str, Floats] = {}

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Return unit-length embeddings: (n_texts, n_dimensions)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        at = 0
        for vectors in embed_in_steps(self._name, new, self._on_progress):
            self._known |= dict(zip(new[at : at + len(vectors)], vectors, strict=True))
            at += len(vectors)
        if not texts:
            size = load_encoder(self._name).encode("").shape[-1]
            return np.zeros((0, size), dtype=np.float32)
        return np.stack([self._known[text] for text in texts])
