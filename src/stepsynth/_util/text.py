"""Text compared as people compare it: without case, width, punctuation or spacing."""

import re
import unicodedata

_NOT_WORD = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """Return the form under which two texts count as the same row.

    Unicode NFKC, case-folded, punctuation and white space as single spaces. Text that holds no
    letter or digit at all (an emoji, "?!") is kept as it is, so that it does not equal another.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORD.sub(" ", folded).strip() or folded.strip()


def shorten(text: str, width: int = 80) -> str:
    """Return the text on one line, cut at `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
