"""Text compared as people compare it: without case, width, punctuation or spacing."""

import re
import unicodedata

# Faces made of punctuation carry meaning that punctuation else does not: ":)" is not ":(".
_FACE = re.compile(r"[:;=]-?([()dp/|])(?!\w)")


class _Spaced(dict[int, str]):
    """Code point -> itself, or a space for punctuation, separators and control characters."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = " " if unicodedata.category(character)[0] in "PZC" else character
        return self[code]


_SPACED = _Spaced()


def normalise(text: str) -> str:
    """Return the form under which two texts count as the same row.

    Unicode NFKC, case-folded, punctuation and white space as single spaces. Symbols, emoji and
    combining marks stay: "great 😍" is not "great 😡", "C++" is not "C".
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    faces = _FACE.sub(lambda found: f" face{ord(found[1])} ", folded)
    return " ".join(faces.translate(_SPACED).split()) or folded.strip()


def clean(text: str) -> str:
    """Return the text as valid Unicode: half a surrogate pair becomes U+FFFD.

    LLMs and files hold half characters where an escaped text was cut; no database takes them.
    """
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shorten(text: str, width: int = 80) -> str:
    """Return the text on one line, cut at `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
