"""The passages of a corpus, and their cutting to a length that fits a prompt."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from stepsynth._util.hashing import digest

_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of an unlabelled corpus.

    Attributes:
        id: Its id in the corpus, or else a digest of the text.
        text: Its text, as in the corpus.
    """

    id: str
    text: str

    @classmethod
    def of(cls, text: str, id: str = "") -> Self:  # noqa: A002 - the field's name
        """Return a passage; without an id it gets a digest of its text."""
        return cls(id or digest(text, length=16), text)


def cut(text: str, least: int = 20, most: int = 400) -> str | None:
    """Return a passage cut to between `least` and `most` words, at the end of a sentence.

    It ends at the last full stop (or question or exclamation mark) that leaves enough words, or
    else at the last word that fits, as in SynthesizRR's content sourcing. SynthesizRR counts the
    tokens of a language model; words between white space are about three quarters as many, and
    need no tokenizer.

    Returns:
        None: The text has fewer than `least` words.
    """
    words = list(re.finditer(r"\S+", text))
    if len(words) < least or not words:
        return None
    start, end = words[0].start(), words[min(most, len(words)) - 1].end()
    enough = words[max(least, 1) - 1].start()
    stops = [stop.end() for stop in _SENTENCE_END.finditer(text, enough, end)]
    return text[start : stops[-1] if stops else end]


def digest_corpus(passages: Iterable[Passage]) -> str:
    """Return a digest of ids and texts in order, since an index refers to them by position."""
    sha = hashlib.sha256()
    for passage in passages:
        for part in (passage.id, passage.text):
            data = part.encode("utf-8", "surrogatepass")
            sha.update(b"%d:" % len(data))
            sha.update(data)
    return sha.hexdigest()[:32]
