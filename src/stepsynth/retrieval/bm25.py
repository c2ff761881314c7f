"""BM25 retrieval of passages that share rare words with the query, without an encoder to download.

Scores are those of Lucene's BM25, whose inverse document frequency is never negative; the code of
SynthesizRR uses Okapi's. Stop words are English or none, and there is no stemming.

With an encoder, the cosine of a hit is the encoder's; only queries and their hits are embedded.
Without one it is the cosine of TF-IDF vectors, which is lower for paraphrases: the paper's cosine
bands (0.4 to 0.9) are for dense encoders.

Robertson and Zaragoza: "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; Lù: "BM25S:
Orders of magnitude faster lexical search via eager sparse scoring", 2024.
"""

import re
import unicodedata
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from stepsynth._util.pretrained import need
from stepsynth._util.text import clean
from stepsynth.errors import ConfigError, DataError
from stepsynth.retrieval._encoder import Embedder, load_encoder
from stepsynth.retrieval._passages import Passage
from stepsynth.retrieval._retriever import Floats, Hit, Index, Progress, Retriever, rank_best

# A word stands between white space and punctuation. Combining marks stay in their words, which `\w`
# would break. Chinese characters and Japanese syllables have no spaces between words: each is one.
_ALONE = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_BREAKS = r"\s!-/:-@\[-`{-~\u00a1-\u00bf\u2000-\u206f\u3000-\u303f"
_WORD = re.compile(rf"[{_ALONE}]|[^{_BREAKS}{_ALONE}]+")

_STEP = 10_000

SHARD = 250_000
"""Passages whose scores are made and searched at a time."""
K1, B = 1.5, 0.75
"""Parameters of BM25, as bm25s has them by default."""
_COUNTS = "counts.npz"


class BM25(Retriever):
    """The `bm25` retriever."""

    name: ClassVar[str] = "bm25"
    libraries: ClassVar[tuple[str, ...]] = ("bm25s",)
    format: ClassVar[int] = 2
    not_indexed: ClassVar[frozenset[str]] = frozenset({"folder", "encoder"})

    stop_words: Literal["en", "none"] = Field(
        default="en", description="Leave out the stop words of this language, or none."
    )
    encoder: str | None = Field(
        default=None,
        description="A sentence encoder that gives the cosines of hits: a name on the Hugging Face "
        "hub, or a folder; without it they are those of TF-IDF.",
    )

    def check(self) -> None:
        """Check that bm25s, and the encoder if there is one, are available."""
        need("bm25s", "retrieval")
        if self.encoder:
            load_encoder(self.encoder)

    def _advise(self, warn: Callable[[str], None]) -> None:
        if not self.encoder:
            warn(
                "retrieval: bm25 has no encoder, so cosines are those of TF-IDF; the bands of the "
                "paper (0.4 to 0.9) are for dense encoders: set retrieval.encoder, or lower bands"
            )

    def _build(self, passages: Sequence[Passage], folder: Path, on_progress: Progress) -> None:
        from bm25s.stopwords import STOPWORDS_EN

        stop_words = frozenset(STOPWORDS_EN if self.stop_words == "en" else ())
        vocabulary: dict[str, int] = {}
        know = vocabulary.setdefault
        counts: list[Path] = []
        for at in range(0, len(passages), SHARD):
            ids, lengths = array("i"), array("i")
            for passage in passages[at : at + SHARD]:
                words = [w for w in split_words(passage.text) if w not in stop_words]
                ids.extend([know(word, len(vocabulary)) for word in words])
                lengths.append(len(words))
                if len(lengths) % _STEP == 0:
                    on_progress("index", at + len(lengths), len(passages))
            counts.append(_count_words(folder / f"{at // SHARD:05d}", ids, lengths, vocabulary))
        on_progress("index", len(passages), len(passages))
        if not vocabulary:
            raise DataError(
                "no passage of the corpus holds a word", hint="is `text` the right column?"
            )
        _write_scores(counts, vocabulary, len(passages))

    def _open(self, passages: Sequence[Passage], folder: Path, on_progress: Progress) -> Index:
        from bm25s import BM25 as Scorer

        shards = sorted(place for place in folder.iterdir() if place.is_dir())
        scorers = [Scorer.load(place, mmap=True) for place in shards]
        embedder = Embedder(self.encoder, on_progress) if self.encoder else None
        return BM25Index(passages, scorers, embedder)


def _count_words(
    place: Path, ids: "array[int]", lengths: "array[int]", vocabulary: Mapping[str, int]
) -> Path:
    """Write how often each word stands in each passage of a shard, and return the file.

    Args:
        place: Folder of the shard.
        ids: The words of all its passages, one after the other, as numbers.
        lengths: The number of words of each passage.
        vocabulary: Word -> number, so far.
    """
    from scipy.sparse import csc_matrix, save_npz

    rows = np.repeat(np.arange(len(lengths)), lengths)
    shape = len(lengths), len(vocabulary)
    found: Any = csc_matrix((np.ones(len(ids), np.float32), (rows, np.asarray(ids))), shape)
    found.sum_duplicates()
    place.mkdir()
    save_npz(place / _COUNTS, found, compressed=False)
    return place / _COUNTS


def _write_scores(files: Sequence[Path], vocabulary: dict[str, int], count: int) -> None:
    """Write the scores of each word in each passage, shard by shard, in the format of bm25s.

    A shard's own frequencies would make its scores others than those of one index, and its hits
    not comparable with those of other shards.

    Args:
        files: The word counts of each shard.
        vocabulary: Word -> number.
        count: Number of all passages.
    """
    from bm25s import BM25 as Scorer
    from scipy.sparse import load_npz

    passages_with, words = np.zeros(len(vocabulary)), 0.0
    for file in files:
        counts: Any = load_npz(file)
        passages_with[: counts.shape[1]] += np.diff(counts.indptr)
        words += counts.data.sum(dtype=np.float64)
    idf = np.log(1 + (count - passages_with + 0.5) / (passages_with + 0.5)).astype(np.float32)
    for file in files:
        counts = load_npz(file)
        counts.resize(counts.shape[0], len(vocabulary))
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        norms = (K1 * (1 - B + B * lengths * (count / words))).astype(np.float32)
        scores = counts.data / (counts.data + norms[counts.indices])
        scores *= np.repeat(idf, np.diff(counts.indptr))
        scorer: Any = Scorer(method="lucene", k1=K1, b=B, csc_backend="scipy")
        scorer.scores = {
            "data": scores,
            "indices": counts.indices,
            "indptr": counts.indptr,
            "num_docs": counts.shape[0],
        }
        scorer.vocab_dict, scorer.nonoccurrence_array = vocabulary, None
        scorer.save(file.parent)
        file.unlink()


class BM25Index(Index):
    """Passages, and the score of each word in each of them.

    Args:
        passages: The corpus.
        scorers: The scores of each shard, as bm25s objects.
        embedder: Gives the cosines of hits; None: TF-IDF does.
    """

    def __init__(
        self, passages: Sequence[Passage], scorers: Sequence[Any], embedder: Embedder | None
    ) -> None:
        super().__init__(passages)
        self._scorers = scorers
        self._embedder = embedder

    def _search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        found = [self._rank(query, k) for query in queries]
        if self._embedder:  # all at once is faster; afterwards they are known
            hits = (self.passages[place].text for places, _ in found for place in places)
            self._embedder([*queries, *hits])
        return [self._hits(query, *ranked) for query, ranked in zip(queries, found, strict=True)]

    def _rank(self, query: str, k: int) -> tuple[Any, Any]:
        """Return positions and scores of the k best passages that share a word with the query."""
        ids = self._scorers[0].get_tokens_ids(split_words(query))
        found: list[Any] = []
        for number, scorer in enumerate(self._scorers):
            scores = scorer.get_scores_from_ids(ids)
            matched = np.flatnonzero(scores)
            best = matched[rank_best(scores[matched], k)]
            best.sort()  # ties of all shards are settled by position
            found.append((best + number * SHARD, scores[best]))
        places, scores = (np.concatenate(each) for each in zip(*found, strict=True))
        best = rank_best(scores, k)
        return places[best], scores[best]

    def _hits(self, query: str, places: Any, scores: Any) -> list[Hit]:
        if not len(places):
            return []
        passages = [self.passages[place] for place in places]
        cosines = self.cosines([query], [passage.text for passage in passages])[0]
        scored = zip(passages, scores, cosines, strict=True)
        return [Hit(p, rank, float(s), float(c)) for rank, (p, s, c) in enumerate(scored, start=1)]

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the encoder's unit-length embeddings: (n_texts, n_dimensions)."""
        if self._embedder is None:
            raise ConfigError(
                "bm25 has no encoder, so texts have no embeddings",
                hint="retrieval: {name: bm25, encoder: sentence-transformers/all-MiniLM-L6-v2}, or "
                "{name: dense}",
            )
        return self._embedder(texts)

    def cosines(self, queries: Sequence[str], passages: Sequence[str]) -> Floats:
        """Return the cosine of each query with each passage: (n_queries, n_passages)."""
        if self._embedder:
            return super().cosines(queries, passages)
        if not queries or not passages:
            return np.zeros((len(queries), len(passages)), dtype=np.float32)
        transform = self._tf_idf.transform
        products = transform(queries) @ transform(passages).T
        return np.clip(products.toarray(), 0.0, 1.0)

    @cached_property
    def _tf_idf(self) -> Any:
        """TF-IDF with the words and counts of the index."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        # A word has a score for each passage that it is in.
        passages_with = sum(np.diff(scorer.scores["indptr"]) for scorer in self._scorers)
        options: dict[str, Any] = {"analyzer": split_words, "dtype": np.float32}
        vocabulary = self._scorers[0].vocab_dict
        found = TfidfVectorizer(vocabulary=vocabulary, sublinear_tf=True, **options)
        found.idf_ = 1 + np.log((1 + len(self)) / (1 + passages_with))
        return found


def split_words(text: str) -> list[str]:
    """Return the words of a text, normalised in case and width."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", clean(text))
    return _WORD.findall(text.casefold())
