"""Normalisation of text (case, width, punctuation, spacing), and its safe display."""

import re
import unicodedata
from sys import intern
from typing import Any, Literal

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, kana and Chinese characters, as a range in a regular expression: no
spaces divide their words, so each counts as a word."""

WORD = rf"[{UNSPACED}]|[^\W{UNSPACED}]+"
"""A word, as a regular expression."""

MARKS = 30
"""Most combining marks in a row; no language comes near it."""

# Unlike other punctuation, faces made of it carry meaning: ":)" is not ":(".
_FACE = re.compile(r"[:;=]-?([()dp/|])(?!\w)")

DIRECTION_MARKS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Invisible characters that set the direction of writing."""

_UNPRINTED = re.compile(r"\x1b\[[\d;]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# U+0080 to U+009F stay: signs of Windows that were read as another encoding.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def shared(value: Any) -> Any:
    """Return the one copy of a text that is read again and again; another value as it is."""
    return intern(value) if type(value) is str else value


class _Spaced(dict[int, str]):
    """Code point -> itself, or a space for punctuation, separators and control characters."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = " " if unicodedata.category(character)[0] in "PZC" else character
        return self[code]


_SPACED = _Spaced()
_UNSEEN = frozenset(("Cc", "Cf", "Zl", "Zp", "Zs"))


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: spaces, control and zero-width characters alone."""
    return all(unicodedata.category(character) in _UNSEEN for character in text)


def normalise(text: str) -> str:
    """Return the form under which two texts count as the same row.

    Unicode NFKC, case-folded, punctuation and white space as single spaces. Symbols, emoji and
    combining marks stay: "great 😍" is not "great 😡", "C++" is not "C".
    """
    if text.isascii():
        folded = text.lower()
    else:
        text = _without_piles(text, "NFKC")
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    faces = folded
    if ":" in folded or ";" in folded or "=" in folded:
        faces = _FACE.sub(lambda found: f" face{ord(found[1])} ", folded)
    return " ".join(faces.translate(_SPACED).split()) or folded.strip()


def clean(text: str) -> str:
    """Return the text as valid Unicode in form NFC: what looks the same is the same.

    A lone surrogate becomes U+FFFD: LLMs and files hold them where an escaped text was cut, and no
    database takes them. "é" in two characters, as macOS writes it, becomes one.
    """
    if text.isascii():
        return text
    return compose(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def clean_answer(text: str) -> str:
    """Return what an LLM wrote as `clean` does, without control characters or a terminal's colours.

    A tab and the ends of lines stay.
    """
    return _UNPRINTED.sub("", clean(text))


def compose(text: str) -> str:
    """Return the text in Unicode's form NFC."""
    return unicodedata.normalize("NFC", _without_piles(text, "NFC"))


def _without_piles(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Return the text with at most `MARKS` combining marks in a row.

    This is Unicode's "stream-safe" form (UAX #15). Marks in a row have to be sorted, which takes
    quadratic time: five seconds for a hundred thousand.
    """
    if unicodedata.is_normalized(form, text):
        return text
    kept: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= MARKS:
            kept.append(character)
    return "".join(kept)


def visible(text: str) -> str:
    """Return the text with characters made visible that command a terminal or reverse a line.

    These are control characters except tabs and line feeds, and those that set the direction of
    writing.
    """
    return _COMMANDS.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def shorten(text: str, width: int = 80) -> str:
    """Return the text on one line, cut at `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


_ASCII_CONTROLS = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN "
    "EM SUB ESC FS GS RS US"
)
_CONTROLS = _ASCII_CONTROLS.split()


def find_control(text: str, *, is_name: bool = True) -> str:
    """Return code and name of the first character that a text must not hold; "" if there is none.

    These are control characters and lone surrogates; in a name also line breaks and marks of the
    direction of writing.
    """
    if text.isascii() and text.isprintable():
        return ""
    for character in text:
        kind = unicodedata.category(character)
        is_odd = kind in ("Cc", "Cs") and (is_name or character not in "\t\n\r")
        if is_odd or (is_name and (kind in ("Zl", "Zp") or character in DIRECTION_MARKS)):
            code = ord(character)
            known = _CONTROLS[code] if code < len(_CONTROLS) else "a control character"
            name = "half a character" if kind == "Cs" else unicodedata.name(character, known)
            return f"the character U+{code:04X} ({name})"
    return ""


def check_name(name: str, what: str) -> str:
    """Return a name that can be shown on one line anywhere.

    Args:
        name: A label, the name of a text, ...
        what: Kind of name, for the message.

    Raises:
        ValueError: It holds a control character or the like.
    """
    if control := find_control(name):
        raise ValueError(f"{what} {shorten(repr(name))} holds {control}")
    return name
