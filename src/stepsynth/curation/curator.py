"""Row-by-row decisions on whether a row is kept, and why not."""

from collections.abc import Sequence

from stepsynth._util.hashing import compact_digest
from stepsynth.curation.gate import Gate, Key, row_key
from stepsynth.curation.near import NearDuplicates, jaccard, shingles, words
from stepsynth.curation.settings import Curation
from stepsynth.records import Example, Rejected


class Curator:
    """The filters of one run; a decision depends on the rows before, in their order.

    Args:
        settings: Which filters are on.
        gate: Stops copies of held-out rows; None: there are no held-out rows.

    Raises:
        ConfigError: Near-duplicates are to be rejected, and rensa is not installed.
    """

    def __init__(self, settings: Curation, gate: Gate | None = None) -> None:
        self.settings = settings
        self.gate = gate or Gate({})
        self._kept: set[bytes] = set()
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
        """Return why a row is not kept, or None; a kept row is remembered.

        Args:
            row: The row as the task's parser read it from a completion.
            parent: The gold row that it was written from, if any.
            completion: The LLM's output, verbatim, for the record of rejected rows.
            shots: Gold rows that its prompt showed as few-shot examples.

        Returns:
            The first reason that applies of "copy_of_test", "near_copy_of_test", the same of
            select, "too_short", "too_long", "copy_of_parent", "copy_of_shot", "duplicate",
            "near_duplicate".
        """
        key = row_key(row)
        reason = (
            self.gate.stop_row(row)
            or self._check_length(key)
            or self._find_repetition(key, parent, shots)
        )
        return Rejected(reason, completion) if reason else None

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
        if parent is not None and self._is_copy(key, found, row_key(parent)):
            return "copy_of_parent"
        if any(self._is_copy(key, found, row_key(shot)) for shot in shots):
            return "copy_of_shot"
        own = compact_digest(key)
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
