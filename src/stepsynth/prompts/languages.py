"""Whether a text is written in the language that was asked for, by its script.

A weak LLM that is asked for Japanese may answer in Chinese, in English or in Latin letters. Each
of these shows in the script. Which Latin-script language a text has does not, but for English.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

_SCRIPTS: Mapping[str, str] = {
    "latin": "a-zA-Z\u00aa-\u024f\u1e00-\u1eff",
    "cyrillic": "\u0400-\u052f",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "arabic": "\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f",
    "hebrew": "\u05d0-\u05ea",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e01-\u0e4f",
    "hangul": "\u1100-\u11ff\u3131-\u318e\uac00-\ud7af",
    "kana": "\u3041-\u30ff",
    "han": "\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
}
"""Script -> its letters, as a range in a regular expression."""

_SAMPLES: Mapping[str, tuple[str, str]] = {
    "cyrillic": ("а", "я"),
    "greek": ("α", "ρ"),
    "arabic": ("ب", "غ"),
    "hebrew": ("א", "ת"),
    "devanagari": ("क", "ह"),
    "thai": ("ก", "ฮ"),
    "hangul": ("가", "갛"),
    "kana": ("か", "ど"),
    "han": ("一", "丿"),
}
"""Script -> the first and the last of a run of its letters."""

# Names in English and in the language itself, as words; then the scripts of its texts.
_LANGUAGES = (
    ("japanese|日本語", ("kana", "han")),
    ("chinese|mandarin|cantonese|中文|汉语|漢語|华语|普通话", ("han",)),
    ("korean|한국어", ("hangul",)),
    ("arabic|العربية|عربي", ("arabic",)),
    ("persian|farsi|فارسی|urdu|اردو", ("arabic",)),
    ("hebrew|עברית", ("hebrew",)),
    ("russian|русский|ukrainian|українська|bulgarian|български", ("cyrillic",)),
    ("greek|ελληνικά", ("greek",)),
    ("hindi|हिन्दी|हिंदी|marathi|nepali", ("devanagari",)),
    ("thai|ไทย", ("thai",)),
    (
        "german|deutsch|french|français|spanish|español|italian|italiano|portuguese|português|dutch|"
        "nederlands|polish|polski|turkish|türkçe|vietnamese|tiếng việt|indonesian|swedish|svenska|"
        "danish|dansk|norwegian|norsk|finnish|suomi|czech|čeština|hungarian|magyar|romanian|română",
        ("latin",),
    ),
)

_IN_LATIN = re.compile(r"\blatin\b|\broman\b|romani[sz]|transliterat|r[oō]maji|pinyin|arabizi")
"""Words that say that a language is not written in its own script."""

LEAST = 0.2
"""Least share of letters in the scripts of the language, of all but those of names."""

_NAMES = re.compile(
    r"(?:https?://|www\.)[!-~]+|[\w.+-]{1,64}@[\w.-]+|[@#]\w+|\b\w*[A-Z0-9]\w*\b", re.ASCII
)
"""Addresses, handles, and words with a capital or a digit: names that any language takes over."""

LONG_HAN = 8
"""Chinese characters from which a Japanese text has some kana among them."""

_ENGLISH = frozenset(
    {
        *("the", "and", "this", "that", "with", "you", "they", "would", "your", "from", "which"),
        *("there", "their"),
    }
)
_QUOTED = re.compile(r"[\"“„«»][^\"“”„«»\n]{1,200}[\"“”«»]")
_TITLE = re.compile(r"\b[A-Z]\w*(?:,? (?:(?:and|the|of|with|from|a|in|to) ){0,2}[A-Z]\w*)+")
_MANY = 0.12
"""Share of such words in an English text; no other language has one word in eight of them."""


def is_written_in(text: str, language: str) -> bool:
    """Return whether a text can be of that language; True where nothing is known about it.

    Args:
        text: A text.
        language: The language as a task names it ("Japanese", "日本語", "Egyptian Arabic").
    """
    scripts = _scripts_of(language)
    if not scripts:
        return True
    if not any(map(str.isalpha, text)):
        return True
    if re.search(rf"\b(?:in|into) {re.escape(language)}\b", text, re.I):
        return False  # English words about the language: "In Japanese, this means ..."
    found = {name: len(_pattern(name).findall(text)) for name in (*scripts, "kana", "han")}
    own = sum(found[name] for name in scripts)
    rest = _NAMES.sub(" ", text)
    of_theirs = sum(len(_pattern(name).findall(rest)) for name in scripts)
    others = sum(map(str.isalpha, rest)) - of_theirs
    letters = own + max(0, others)
    if not own or own < LEAST * letters:
        return False
    if scripts == ("kana", "han"):
        return found["kana"] > 0 or found["han"] < LONG_HAN
    if scripts == ("han",):
        return found["kana"] < LEAST * letters
    return scripts != ("latin",) or not _is_english(text)


def _is_english(text: str) -> bool:
    # A text in any language may name "The Good, the Bad and the Ugly".
    own = _TITLE.sub(" ", _QUOTED.sub(" ", text))
    words = re.findall(r"\w+", (own if re.search(r"\w", own) else text).casefold())
    hits = [word for word in words if word in _ENGLISH]
    return len(set(hits)) > 1 and len(hits) >= _MANY * len(words)


def sample_letters(language: str) -> str:
    """Return some letters of a language; "": it is written in Latin ones, or not known."""
    for script in _scripts_of(language):
        if script in _SAMPLES:
            first, last = _SAMPLES[script]
            return "".join(map(chr, range(ord(first), ord(last) + 1)))
    return ""


@lru_cache(maxsize=64)
def _scripts_of(language: str) -> tuple[str, ...]:
    """Return the scripts of all languages that are named; (): English is, or none is known."""
    said = language.casefold()
    if "english" in said or _IN_LATIN.search(said):
        return ()
    found = [scripts for names, scripts in _LANGUAGES if re.search(names, said)]
    return tuple(dict.fromkeys(name for scripts in found for name in scripts))


@lru_cache
def _pattern(script: str) -> re.Pattern[str]:
    return re.compile(f"[{_SCRIPTS[script]}]")
