"""Counts of n-grams, remembered by text: cross-validation counts each text once."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np

REMEMBERED = 6_000_000
"""Most characters of the texts whose counts are remembered: some 200 MB of counts."""


class NGrams:
    """Counts of the n-grams of texts.

    Args:
        analyze: Returns the n-grams of a text.
        remembered: Most characters of the texts that are remembered; then all are forgotten.
    """

    def __init__(
        self, analyze: Callable[[str], Sequence[str]], remembered: int = REMEMBERED
    ) -> None:
        self._analyze, self._remembered = analyze, remembered
        self._lock = Lock()
        self._forget()

    def learn(self, texts: Sequence[str], limit: int) -> tuple[list[str], Any] | None:
        """Return the most frequent n-grams in alphabetical order, and their counts.

        Args:
            texts: n texts.
            limit: Most n-grams.

        Returns:
            The n-grams, and a sparse matrix (n, n_ngrams); None where the texts are too long
            together to be remembered.
        """
        if sum(map(len, set(texts))) > self._remembered:
            return None
        with self._lock:
            if sum(map(len, self._rows.keys() | texts)) > self._remembered:
                self._forget()
            for text in texts:
                self._count(text)
            names, order = list(self._ids), self._in_order()
            # In 32 bits, as scikit-learn has it: its choice among n-grams as frequent is kept.
            total = np.zeros(len(names), dtype=np.float32)
            for ids, counts in map(self._rows.__getitem__, texts):
                total[ids] += counts
            found = order[total[order] > 0]
            kept = found[np.sort((-total[found]).argsort()[:limit])]
            columns = np.arange(len(kept))
            return [names[i] for i in kept], self._matrix(texts, kept, columns, len(kept))

    def recall(self, texts: Sequence[str], vocabulary: Sequence[str]) -> Any:
        """Return the counts of a vocabulary, sparse (n, n_ngrams); None if a text is not known."""
        with self._lock:
            if not (texts and all(text in self._rows for text in texts)):
                return None
            known = [(i, self._ids[name]) for i, name in enumerate(vocabulary) if name in self._ids]
            columns, kept = np.array(known, dtype=np.int64).reshape(-1, 2).T
            return self._matrix(texts, kept, columns, len(vocabulary))

    def _forget(self) -> None:
        self._ids: defaultdict[str, int] = defaultdict()
        self._ids.default_factory = self._ids.__len__
        self._rows: dict[str, tuple[Any, Any]] = {}
        self._order: Any = np.empty(0, dtype=np.int64)

    def _count(self, text: str) -> None:
        if text in self._rows:
            return
        found = Counter(self._analyze(text))
        ids = np.fromiter(map(self._ids.__getitem__, found), np.int32, len(found))
        self._rows[text] = ids, np.fromiter(found.values(), np.float32, len(found))

    def _in_order(self) -> Any:
        """Return the ids of all n-grams in alphabetical order; sorting takes longest by far."""
        if len(self._order) != len(self._ids):
            names = list(self._ids)
            self._order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
        return self._order

    def _matrix(self, texts: Sequence[str], kept: Any, columns: Any, width: int) -> Any:
        """Return the sparse counts of the n-grams that are kept, each in its column."""
        from scipy.sparse import csr_matrix

        place = np.full(len(self._ids), -1, dtype=np.int32)
        place[kept] = columns
        rows = [self._rows[text] for text in texts]
        ids, counts = (np.concatenate(each) for each in zip(*rows, strict=True))
        found = place[ids]
        is_kept = found >= 0
        ends = np.cumsum([0, *(len(ids) for ids, _ in rows)])
        starts = np.concatenate(([0], np.cumsum(is_kept)))[ends]
        made = csr_matrix((counts[is_kept], found[is_kept], starts), shape=(len(rows), width))
        made.sort_indices()
        return made
