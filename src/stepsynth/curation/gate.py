"""A gate that keeps copies of held-out rows out of training and away from LLMs.

A copy has the same normalised text, or nearly the same: most word 3-grams of the shorter of two
texts stand in the other (Broder's containment, 1997). A text is thus recognised with words put
before it, cut in half, or within a passage. A method must not even be able to read held-out rows,
so only their digests and hashes are kept.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stepsynth._util.hashing import compact_digest, digest
from stepsynth._util.text import clean, normalise
from stepsynth.curation.near import shingle_list
from stepsynth.metrics import Flags, Ints
from stepsynth.records import Example

REMEMBERED = 1_000_000
"""Verdicts that are remembered, at 80 bytes each."""

Key = tuple[str, str]
"""Context and text, normalised."""

CONTAINED = 0.8
"""Share of the shorter text's 3-grams in the other one, from which the two are copies."""
LONG = 6
"""Fewest 3-grams of a text (of 8 words) for which that share is enough. Of a shorter text all must
occur, in a text at most twice as long: "a great film" stands in many texts."""
FEWEST = 2
"""Fewest 3-grams that a text and its near copy share."""
SPREAD = 1.25
"""Factor by which a text may be spread out in another one, by words put between its own."""


def row_key(row: Example) -> Key:
    """Return the identity of a row: its normalised context and text, without the label."""
    return _key(row.context or "", row.text)


@lru_cache(maxsize=64)  # a row that is written is looked at several times in a row
def _key(context: str, text: str) -> Key:
    return normalise(clean(context)) if context else "", normalise(clean(text))


def row_digest(row: Example) -> str:
    """Return a digest of the identity of a row."""
    return digest(row_key(row))


class Gate:
    """A gate that stops copies of held-out rows and of their contexts.

    Args:
        splits: Name ("test", "select") -> its rows. A copy from two splits counts for the first.
        is_open: Let copies pass, and only count them.

    Attributes:
        seen: Reason ("copy_of_test", "near_copy_of_select", ...) -> copies found.
    """

    def __init__(self, splits: Mapping[str, Collection[Example]], *, is_open: bool = False) -> None:
        self.seen: Counter[str] = Counter()
        self._is_open = is_open
        keys = {name: [row_key(row) for row in rows] for name, rows in splits.items()}
        self._rows = {name: _Copies(found) for name, found in keys.items()}
        texts = {name: {text for _, text in found} for name, found in keys.items()}
        contexts = {name: {c for c, _ in found if c} for name, found in keys.items()}
        # Without contexts, rows and texts are the same.
        self._texts = _of_texts(texts) if any(contexts.values()) else self._rows
        self._contexts = _of_texts(contexts)
        # By digest: a method that holds the gate can reach no text of a held-out row.
        self._verdicts: dict[bytes, str | None] = {}

    def stop_row(self, row: Example) -> str | None:
        """Return why a row may not be trained on, or None; a copy is counted."""
        return self._count(self._verdict(row))

    def admits(self, row: Example) -> bool:
        """Return whether a row may be trained on; nothing is counted."""
        return self._is_open or self._verdict(row) is None

    def stop_text(self, text: str) -> str | None:
        """Return why a text may not go to an LLM, or None: it copies a held-out text or context."""
        own = _key("", text)
        found = _find(own, self._texts, _Copies.find)
        return self._count(found or _find(own, self._contexts, _Copies.find))

    def stop_prompt(self, prompt: str) -> str | None:
        """Return why a prompt may not be sent, or None: a held-out text stands in it."""
        return self._count(_find(_key("", prompt), self._texts, _Copies.find_within))

    def may_show(self, row: Example) -> bool:
        """Return whether a prompt with this row among others may be sent; nothing is counted."""
        if self._is_open:
            return True
        parts = (_key("", part) for part in (row.text, row.context or ""))
        return not any(_find(part, self._texts, _Copies.find_within) for part in parts)

    def _verdict(self, row: Example) -> str | None:
        own = compact_digest([row.context, row.text])
        if own not in self._verdicts:
            if len(self._verdicts) == REMEMBERED:
                self._verdicts.clear()
            self._verdicts[own] = _find(row_key(row), self._rows, _Copies.find)
        return self._verdicts[own]

    def _count(self, reason: str | None) -> str | None:
        if reason is None:
            return None
        self.seen[reason] += 1
        return None if self._is_open else reason


def _find(
    own: Key, splits: Mapping[str, "_Copies"], look: Callable[["_Copies", str, Ints], str]
) -> str | None:
    if not splits:
        return None
    # Once for all splits: this runs for every row and every prompt.
    same, ours = digest(own), _hashes(*own)
    found = ((look(copies, same, ours), name) for name, copies in splits.items())
    return next((f"{how}_{name}" for how, name in found if how), None)


def _of_texts(splits: Mapping[str, Iterable[str]]) -> dict[str, "_Copies"]:
    return {name: _Copies([("", text) for text in texts]) for name, texts in splits.items()}


class _Copies:
    """Held-out texts as hashes, to compare others with: 16 bytes of memory per word."""

    def __init__(self, keys: Collection[Key]) -> None:
        self._digests = frozenset(map(digest, keys))
        parts = [np.unique(_hashes(context, text)) for context, text in keys]
        self._sizes: Ints = np.array([len(part) for part in parts], dtype=np.int64)
        owners = np.repeat(np.arange(len(parts)), self._sizes)
        hashes = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], owners[order]

    def find(self, same: str, ours: Ints) -> str:
        """Return "copy_of" or "near_copy_of" for a copy of one of them; "": it is none.

        Args:
            same: Digest of the text, as of those of the same text.
            ours: Its 3-grams, in order.
        """
        if same in self._digests:
            return "copy_of"
        if self._are_strange(ours):
            return ""
        shared = self._shared(ours)
        size = len(np.unique(shared.ours))
        shorter, longer = np.minimum(shared.sizes, size), np.maximum(shared.sizes, size)
        is_long = (shorter >= LONG) & (shared.counts >= CONTAINED * shorter)
        is_short = (shorter >= FEWEST) & (shared.counts == shorter) & (longer <= 2 * shorter)
        return "near_copy_of" if shared.stands_in(is_long | is_short) else ""

    def find_within(self, _same: str, ours: Ints) -> str:
        """Return "copy_of" if one of them stands in a longer text; "": none does."""
        if self._are_strange(ours):
            return ""
        shared = self._shared(ours)
        is_most = (shared.sizes >= LONG) & (shared.counts >= CONTAINED * shared.sizes)
        return "copy_of" if shared.stands_in(is_most) else ""

    def _are_strange(self, ours: Ints) -> bool:
        """Return whether at most one 3-gram is known, as in most texts: a copy has two or more."""
        if not len(self._hashes):
            return True
        near = self._hashes.take(np.searchsorted(self._hashes, ours), mode="clip")
        return int(np.count_nonzero(near == ours)) < FEWEST

    def _shared(self, ours: Ints) -> "_Shared":
        """Return the held-out texts that share 3-grams with a text, and these 3-grams."""
        unique = np.unique(ours)
        first = np.searchsorted(self._hashes, unique, side="left")
        counts = np.searchsorted(self._hashes, unique, side="right") - first
        # The positions of all hits, one range after the other.
        starts = np.cumsum(counts) - counts
        places = np.repeat(first - starts, counts) + np.arange(counts.sum())
        order = np.argsort(self._owners[places], kind="stable")
        owners, begins, found = np.unique(
            self._owners[places[order]], return_index=True, return_counts=True
        )
        return _Shared(ours, self._hashes[places[order]], begins, found, self._sizes[owners])


@dataclass(frozen=True)
class _Shared:
    """The 3-grams that a text shares with held-out texts.

    Attributes:
        ours: The text's 3-grams, in order.
        hits: Shared 3-grams, grouped by held-out text.
        begins: Where each held-out text's hits begin.
        counts: Number of its hits.
        sizes: Number of its 3-grams.
    """

    ours: Ints
    hits: Ints
    begins: Ints
    counts: Ints
    sizes: Ints

    def stands_in(self, chosen: Flags) -> bool:
        """Return whether a chosen held-out text stands in one place of the text, or is longer.

        Scattered 3-grams do not count: five rows of one template in a prompt may together have all
        3-grams of a sixth.
        """
        return any(self._is_together(other) for other in np.flatnonzero(chosen).tolist())

    def _is_together(self, other: int) -> bool:
        size = int(self.sizes[other])
        width = int(SPREAD * size) + 2
        if len(self.ours) <= width:
            return True
        begin = self.begins[other]
        theirs = self.hits[begin : begin + self.counts[other]]
        places = np.flatnonzero(np.isin(self.ours, theirs)).tolist()
        within = Counter[int]()
        distinct = first = 0
        for place in places:
            within[int(self.ours[place])] += 1
            distinct += within[int(self.ours[place])] == 1
            while place - places[first] >= width:
                gone = int(self.ours[places[first]])
                within[gone] -= 1
                distinct -= not within[gone]
                first += 1
            if distinct >= CONTAINED * size:
                return True
        return False


def _hashes(context: str, text: str) -> Ints:
    """Return hashes of a text's 3-grams, in order; they differ from process to process."""
    found = shingle_list(text, context)
    return np.fromiter(map(hash, found), dtype=np.int64, count=len(found))
