"""Decide of one row after the other whether it is kept, and why not."""

from collections import Counter
from collections.abc import Mapping, Sequence

from stepsynth._util.hashing import digest
from stepsynth._util.text import clean, normalise
from stepsynth.curation.near import NearDuplicates, jaccard, shingles, words
from stepsynth.curation.settings import Curation
from stepsynth.records import Example, Rejected

Key = tuple[str, str]
"""Context and text, normalised."""


def row_digest(row: Example) -> str:
    """Return a digest of what makes two rows the same: normalised context and text, no label."""
    return digest(_key(row))


class Curator:
    """The filters of one run. What it says depends on the rows before, in their order.

    Args:
        settings: Which filters are on.
        hidden: Name of a split ("test", "select") -> digests of its rows, by `row_digest`. The
            rows themselves never come here. A row of two splits is a copy of the first.

    Attributes:
        settings: Which filters are on.
        copies_seen: Reason ("copy_of_test", ...) -> copies that came by, rejected or not.

    Raises:
        ConfigError: Near duplicates are asked for, and rensa is not installed.
    """

    def __init__(self, settings: Curation, *, hidden: Mapping[str, frozenset[str]]) -> None:
        self.copies_seen: Counter[str] = Counter()
        self.settings = settings
        self._hidden = hidden
        self._kept: set[str] = set()
        is_near = settings.duplicates == "near"
        self._near = NearDuplicates(settings.similarity) if is_near else None

    def reject(
        self,
        row: Example,
        *,
        parent: Example | None,
        completion: str,
        shots: Sequence[Example] = (),
    ) -> Rejected | None:
        """Return why a row is not kept, or None; a row that is kept is remembered.

        Args:
            row: What the task's parser made of a completion.
            parent: The gold row that it was written from, if any.
            completion: What the LLM wrote, verbatim, for the record of what was rejected.
            shots: Gold rows that its prompt showed as examples.

        Returns:
            The first reason of "copy_of_test", "copy_of_select" (of any split in `hidden`),
            "too_short", "too_long", "copy_of_parent", "copy_of_shot", "duplicate",
            "near_duplicate".
        """
        key = _key(row)
        reason = (
            self._find_copy(key)
            or self._check_length(key)
            or self._find_repetition(key, parent, shots)
        )
        return Rejected(reason, completion) if reason else None

    def _find_copy(self, key: Key) -> str | None:
        own = digest(key)
        for name, digests in self._hidden.items():
            if own in digests:
                reason = f"copy_of_{name}"
                self.copies_seen[reason] += 1
                return reason if self.settings.copies else None
        return None

    def _check_length(self, key: Key) -> str | None:
        fewest, most = self.settings.min_words, self.settings.max_words
        if fewest is None and most is None:
            return None
        length = len(words(key[1]))
        if fewest is not None and length < fewest:
            return "too_short"
        return "too_long" if most is not None and length > most else None

    def _find_repetition(
        self, key: Key, parent: Example | None, shots: Sequence[Example]
    ) -> str | None:
        if self.settings.duplicates == "keep":
            return None
        context, text = key
        found = shingles(text, context) if self._near is not None else frozenset[str]()
        if parent is not None and self._is_copy(key, found, _key(parent)):
            return "copy_of_parent"
        if any(self._is_copy(key, found, _key(shot)) for shot in shots):
            return "copy_of_shot"
        own = digest(key)
        if own in self._kept:
            return "duplicate"
        if self._near is not None and not self._near.admit(found):
            return "near_duplicate"
        self._kept.add(own)
        return None

    def _is_copy(self, key: Key, found: frozenset[str], parent: Key) -> bool:
        if key == parent or self._near is None:
            return key == parent
        context, text = parent
        return jaccard(found, shingles(text, context)) >= self.settings.similarity


def _key(row: Example) -> Key:
    return normalise(clean(row.context or "")), normalise(clean(row.text))
