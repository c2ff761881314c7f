"""Unit vectors of texts, for their cosines: an encoder's, or TF-IDF."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepsynth.metrics import Floats
from stepsynth.studies._features import embed, word_features
from stepsynth.studies._studied_run import StudiedRun

TFIDF = "TF-IDF of words and word pairs"


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of texts.

    Attributes:
        space: Name of the vector space, for the tables.
        rows: Text -> its row in `matrix`.
        matrix: (n_texts, n_dimensions), dense or sparse; rows have length 1, or 0 where a text
            holds no known word.
    """

    space: str
    rows: dict[str, int]
    matrix: Any

    def of(self, texts: Sequence[str]) -> Any:
        """Return the vectors of n texts: (n, n_dimensions)."""
        return self.matrix[[self.rows[text] for text in texts]]

    def cosines(self, ours: Sequence[str], theirs: Sequence[str]) -> Floats:
        """Return the cosine of each of n texts with the text at its place in the other list."""
        u, v = self.of(ours), self.of(theirs)
        product = u.multiply(v) if hasattr(u, "multiply") else u * v
        return np.asarray(product.sum(axis=1), dtype=np.float64).ravel()


def find_encoder(subject: StudiedRun) -> str:
    """Return the encoder that a run's student has, or "" if it has none."""
    if subject.config.student.name not in ("embedding", "setfit", "transformer"):
        return ""
    if subject.run is not None:
        model = subject.run.folder.model
        for place in (model / "encoder", model):
            if (place / "config.json").exists() or (place / "modules.json").exists():
                return str(place)
    return str(getattr(subject.config.student, "model", ""))


def make_vectors(texts: Sequence[str], encoder: str, *, random_seed: int = 0) -> Vectors:
    """Return the vectors of texts.

    Args:
        texts: Each is encoded once.
        encoder: A sentence-transformers model (a name or a folder; for a plain encoder, the mean
            of its last hidden states); "lsa", see `embed`; "": TF-IDF of these texts.
        random_seed: Seed of "lsa".

    Raises:
        ConfigError: The encoder or its library is missing.
        DataError: No text holds a word.
    """
    known = list(dict.fromkeys(texts))
    rows = {text: i for i, text in enumerate(known)}
    if not encoder:
        return Vectors(TFIDF, rows, word_features(known))
    return Vectors(
        f"encoder {Path(encoder).name}", rows, embed(known, encoder, random_seed=random_seed)
    )
