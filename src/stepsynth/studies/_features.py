"""Vectors of texts, for studies of nearness in meaning."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stepsynth._util.pretrained import load_sentence_encoder
from stepsynth.errors import DataError

Features = npt.NDArray[np.float32]

LSA = "lsa"
ENCODER_OPTION = (
    "What turns texts into vectors: `lsa` (TF-IDF of words, 100 singular vectors; no download), "
    "or a sentence encoder (a name on the Hugging Face hub, or a folder)."
)
_DIMENSIONS = 100


def embed(texts: Sequence[str], encoder: str = LSA, *, random_seed: int = 0) -> Features:
    """Return unit vectors of texts: (n, d); zero vectors where `lsa` knows no word.

    Texts that are to be compared belong in one call: `lsa` learns its axes from them.

    Args:
        texts: n texts; a repeated text is embedded once.
        encoder: "lsa", or a sentence-transformers model: a name on the hub, or a folder.
        random_seed: Seed of the singular value decomposition.

    Raises:
        ConfigError: The encoder is missing.
        DataError: No text holds a word.

    Source of `lsa`: Deerwester et al.: "Indexing by Latent Semantic Analysis", JASIS 1990.
    """
    if encoder == LSA:
        return _embed_lsa(texts, random_seed)
    model = load_sentence_encoder(encoder, where="encoder", extra="transformers")
    known = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(known)}
    vectors = model.encode(known, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)[[place[text] for text in texts]]


def word_features(texts: Sequence[str]) -> Any:
    """Return the TF-IDF of words and pairs of words: sparse (n, n_terms), rows of length 1.

    Raises:
        DataError: No text holds a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    dtype: Any = np.float32
    vectorizer = TfidfVectorizer(
        sublinear_tf=True,
        ngram_range=(1, 2),
        min_df=2 if len(texts) > 100 else 1,
        max_features=50_000,
        token_pattern=r"(?u)\b\w+\b",
        dtype=dtype,
    )
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:  # an empty vocabulary
        raise DataError("the texts cannot be compared: none of them holds a word") from error


def _embed_lsa(texts: Sequence[str], random_seed: int) -> Features:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    terms = word_features(texts)
    most = min(terms.shape) - 1
    if most < 1:  # one text or one word: nothing to decompose
        return np.ones((len(texts), 1), dtype=np.float32)
    svd = TruncatedSVD(min(_DIMENSIONS, most), random_state=random_seed)
    reduced: Any = normalize(svd.fit_transform(terms))
    return reduced.astype(np.float32)
