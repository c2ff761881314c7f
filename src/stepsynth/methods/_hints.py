"""Extrapolation of a gold row without its text: from words of rows like it, or from a passage.

Words keep gold texts on the machine: they are those that set a cluster of gold rows of one label
apart, and each stands in several gold texts. Passages bring content that an LLM alone would not
think of, as in SynthesizRR (Divekar and Durrett, EMNLP 2024).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from stepsynth.methods._method import Setup
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.records import Dataset, Example
from stepsynth.retrieval import cut

SHARED_BY = 3
"""Fewest gold texts that a word in a prompt stands in: it tells of no single one."""
SAME, BLOCK = 0.6, 256
"""Jaccard similarity of words from which two texts have one source; rows compared at once."""
CLUSTER_ROWS = 10
"""Gold rows of one label to a cluster, on average."""
WORDS, WORDS_PER_PROMPT = 8, 3
"""Words of a cluster, and those of one prompt."""
NEAREST = 5
"""Passages of a gold row that its extrapolations take in turn."""
COPY = 0.95
"""Cosine from which a passage is a copy of the gold row."""
PASSAGE_WORDS = (1, 200)


class Words:
    """Requests for rows about the words of gold rows; no gold text goes into a prompt.

    Args:
        setup: Its `mine` are the gold rows.
    """

    def __init__(self, setup: Setup) -> None:
        self._rng = setup.rng("words")
        self._words = words_of_clusters(setup.mine, setup.rng("clusters").randrange(2**31))
        if not any(self._words.values()):
            setup.warn(
                f"no word stands in {SHARED_BY} gold texts of a cluster: rows are written from "
                "their label alone"
            )

    def request(self, parent: Example, writer: Writer) -> RowRequest:
        """Return the request for a row about some words of the parent's cluster."""
        words = self._words[parent.id]
        shown = self._rng.sample(words, min(WORDS_PER_PROMPT, len(words)))
        like = Example("", parent.label)
        prompt = writer.setup.task.seed_prompt(like, shown)
        return writer.row("extrapolate", prompt, like, parents=[parent], note={"words": shown})


class Passages:
    """Requests for rows that rewrite passages near gold rows, each row's nearest in turn.

    Args:
        setup: Its `mine` are the queries.

    Raises:
        ConfigError: There is no corpus.
    """

    def __init__(self, setup: Setup) -> None:
        index = setup.need_index("s3_plus")
        found = index.search([row.text for row in setup.mine], NEAREST)
        self._near: dict[str, Iterator[str]] = {}
        for row, hits in zip(setup.mine, found, strict=True):
            near = [hit.passage.text for hit in hits if 0 < hit.cosine < COPY]
            texts = [text for each in near if (text := cut(each, *PASSAGE_WORDS))]
            if texts:
                self._near[row.id] = cycle(texts)
        if far := len(setup.mine) - len(self._near):
            setup.warn(
                f"{far} of {len(setup.mine)} gold rows have no passage near them: they are "
                "extrapolated from their text alone"
            )

    def request(self, parent: Example, writer: Writer) -> RowRequest:
        """Return the request to rewrite a passage in the manner of the parent."""
        if parent.id not in self._near:
            return writer.extrapolation(parent)
        passage, like = next(self._near[parent.id]), Example("", parent.label)
        shots = [{"passage": "", "text": parent.text}]
        prompt = writer.setup.task.prompt("refine", like, passage=passage, shots=shots)
        note = {"passage": passage}
        return writer.row(
            "refine", prompt, like, parents=[parent], source=passage, shots=[parent], note=note
        )


def sources_of(words: Sequence[frozenset[str]]) -> list[int]:
    """Return the number of each text's source: texts that share most of their words have one.

    A message, its answer and its forward tell of one person, not of three.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    column = {word: i for i, word in enumerate(sorted(set().union(*words)))}
    sizes = np.array([len(own) for own in words])
    places = np.repeat(np.arange(len(words)), sizes)
    columns = [column[word] for own in words for word in own]
    has = csr_matrix(
        (np.ones(len(columns), np.float32), (places, columns)), (len(words), len(column))
    )
    near: list[tuple[int, int]] = []
    for start in range(0, len(words), BLOCK):
        shared = (has[start : start + BLOCK] @ has.T).toarray()
        ours = sizes[start : start + BLOCK, None]
        is_near = shared >= SAME * np.maximum(1, ours + sizes[None, :] - shared)
        near += [(start + int(i), int(j)) for i, j in zip(*is_near.nonzero(), strict=True)]
    rows, others = np.array(near, dtype=int).reshape(-1, 2).T
    links = csr_matrix((np.ones(len(rows)), (rows, others)), (len(words), len(words)))
    return connected_components(links, directed=False)[1].tolist()


def words_of_clusters(gold: Dataset, random_seed: int) -> dict[str, Sequence[str]]:
    """Return the words that set the cluster of each gold row apart, by the row's id.

    Rows of one label are clustered by their TF-IDF vectors (k-means).
    """
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    found: dict[str, Sequence[str]] = {row.id: () for row in gold}
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b[^\W\d_]{2,}\b")
    counted = vectorizer.build_analyzer()
    sources: dict[str, set[int]] = defaultdict(set)
    words = [frozenset(counted(row.text)) for row in gold]
    for own, source in zip(words, sources_of(words), strict=True):
        for word in own:
            sources[word].add(source)
    known = sorted(word for word, own in sources.items() if len(own) >= SHARED_BY)
    if not known:
        return found
    vectorizer.set_params(vocabulary=known)
    counts: Any = vectorizer.fit_transform([row.text for row in gold])
    vectors = counts.toarray()
    usual = vectors.mean(axis=0)
    by_label: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(gold):
        by_label[str(row.label)].append(place)
    for places in by_label.values():
        different = len(np.unique(vectors[places], axis=0))
        number = min(max(1, len(places) // CLUSTER_ROWS), different)
        clusters: Any = KMeans(number, random_state=random_seed)
        own = clusters.fit_predict(vectors[places])
        for cluster in range(number):
            members = np.array(places)[own == cluster]
            apart = vectors[members].mean(axis=0) - usual
            best = [i for i in np.argsort(-apart)[:WORDS] if apart[i] > 0]
            words = tuple(known[i] for i in best)
            found |= {gold[int(place)].id: words for place in members}
    return found
