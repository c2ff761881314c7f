"""Near-duplicates by the Jaccard similarity of word 3-grams, found by MinHash and banding.

Broder: "On the Resemblance and Containment of Documents", 1997 (shingles, MinHash). Indyk and
Motwani: "Approximate Nearest Neighbors", STOC 1998 (locality-sensitive hashing). Lee et al.:
"Deduplicating Training Data Makes Language Models Better", ACL 2022 (both, on training data).

MinHash only proposes pairs; each is compared in full before it is called near. Of pairs exactly at
the threshold at most one in ten is missed; of pairs 0.1 above it, about one in a thousand.
"""

import re
from array import array
from importlib import import_module
from math import sqrt
from typing import Any

from stepsynth._util.hashing import digest
from stepsynth._util.text import UNSPACED
from stepsynth.errors import ConfigError

SHINGLE = 3
"""Words per shingle."""

BANDS = 16
MOST_ROWS = 8
FOUND = 0.9
"""Smallest share of pairs at the threshold that the bands must find."""

_WORD = re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+")


def words(text: str) -> list[str]:
    """Return the words of a normalised text; in scripts without spaces, its characters."""
    return text.split() if text.isascii() else _WORD.findall(text)  # several times as fast


def shingles(text: str, context: str = "") -> frozenset[str]:
    """Return the word 3-grams of a normalised text, as a set."""
    return frozenset(shingle_list(text, context))


def shingle_list(text: str, context: str = "") -> list[str]:
    """Return the word 3-grams of a normalised text, in order; of a shorter text, its words.

    A context marks each of them, so that rows with different contexts have none in common.
    """
    found = words(text)
    if len(found) >= SHINGLE:
        found = [" ".join(group) for group in zip(found, found[1:], found[2:], strict=False)]
    if context:
        mark = digest(context, length=16)
        found = [f"{mark} {shingle}" for shingle in found]
    return found


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard similarity of two sets, 0-1; two empty sets are equal."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if one or other else 1.0


class NearDuplicates:
    """Sets of shingles without near-duplicates.

    Memory: about 2 kB for a set of 50 shingles.

    Args:
        similarity: Jaccard similarity, 0.5-1, from which two sets are near-duplicates.

    Raises:
        ConfigError: rensa is not installed.
    """

    def __init__(self, similarity: float) -> None:
        rensa = load_rensa()
        size = BANDS * rows_per_band(similarity)
        self._similarity = similarity
        # A sketch three standard errors below the threshold needs no comparison in full.
        self._least = similarity - 3 * sqrt(similarity * (1 - similarity) / size)
        self._new_sketch = lambda: rensa.RMinHash(num_perm=size, seed=0)
        self._index = rensa.RMinHashLSH(threshold=similarity, num_perm=size, num_bands=BANDS)
        self._sketches: list[Any] = []
        self._hashes: list[array[int]] = []

    def __len__(self) -> int:
        return len(self._sketches)

    def admit(self, found: frozenset[str]) -> bool:
        """Add a set unless it is a near-duplicate, and return whether it was added."""
        sketch = self._new_sketch()
        sketch.update(list(found))
        hashes = set(map(hash, found))
        for i in self._index.query(sketch):
            is_likely = sketch.jaccard(self._sketches[i]) >= self._least
            if is_likely and self._is_near(hashes, self._hashes[i]):
                return False
        self._index.insert(len(self), sketch)
        self._sketches.append(sketch)
        self._hashes.append(array("q", hashes))
        return True

    def _is_near(self, ours: set[int], theirs: "array[int]") -> bool:
        shared = sum(value in ours for value in theirs)
        union = len(ours) + len(theirs) - shared
        return not union or shared / union >= self._similarity


def rows_per_band(similarity: float) -> int:
    """Return the MinHash values per band: the most that still find `FOUND` of near pairs.

    A pair of similarity s agrees in a band of r values with probability s^r, and is found if it
    agrees in one of `BANDS` bands. More values propose fewer pairs in vain.
    """
    fitting = [r for r in range(1, MOST_ROWS + 1) if 1 - (1 - similarity**r) ** BANDS >= FOUND]
    return max(fitting, default=1)


def load_rensa() -> Any:
    """Return the library rensa.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module("rensa")
    except ImportError as error:
        raise ConfigError(
            f"curation.duplicates: near: the library rensa is not installed ({error})",
            hint="pip install 'stepsynth[quality]', or set curation.duplicates to exact",
        ) from error
