"""Parsers of the label, or the labels, that an LLM chose. They raise on no text."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from stepsynth._util.text import UNSPACED, clean, normalise
from stepsynth.prompts.parsing import read_answer
from stepsynth.prompts.refusals import is_refusal
from stepsynth.prompts.structured import read_fields, read_value, strings
from stepsynth.records import Rejected

LONGEST = 1000
"""Most characters of an answer that is a label alone."""
LOOKED_AT = 20_000
"""Characters at the end of an answer that are searched for labels."""

_AROUND = " \t\r\n.,;:!?。，、；：！？\"'`“”‘’«»*_()[]{}<>（）「」"
_KEYS = ("label", "answer", "sentiment", "category", "class", "topic", "verdict", "decision")
_NAMED = re.compile(
    rf"[\s*_#>]{{0,6}}(?:the )?(?:{'|'.join(_KEYS)})s?[*_]{{0,3}}\s?[:：=][*_\s]{{0,4}}", re.I
)
_LISTED = re.compile(r"\s*(?:[-•]\s+|\*\s+|\(?\d{1,2}[.)]\s+|[(（]?\d{1,2}[．）、]\s*|[①-⑳]\s*)")
_SEPARATE = re.compile(r"[,;|\n、，；]")
_AND = re.compile(rf"{_SEPARATE.pattern}|\s(?:and|&)\s")
"""Patterns of what stands between the labels of a list."""
_UNSPACED, _ONE = re.compile(f"[{UNSPACED}]{{2}}"), re.compile(f"[{UNSPACED}]")
_DENIED = re.compile(
    r"(?:\b(?:not|non|minus|(?:rather|other) than|\w{1,5}n['’ ]t|nicht|kein\w{0,2}|"
    r"keines(?:falls|wegs)|و?(?:ليس|ليست|غير|لا))"
    r"(?: (?!(?:but|rather|sondern|بل)\b)\w+){0,2} ?"
    r"|(?:[没沒]|不(?![错錯仅僅但只过過])|非(?!常))[^，。,.；;：:、！？\n而但]{0,4})\Z"
)
"""What stands before a label that is said not to apply, up to two words before it."""
_BEFORE = 40
"""Characters before a label that are searched for it."""
_BUT_NOT = r"(?!(?:な[^。、\n]{1,6})?\s*(?:(?:では|じゃ)(?:な|あり)|でな[いく]|とは(?:言|い|思)え))"
"""The same after a label, in Japanese."""
_ARABIC, _SIGNS = re.compile(r"[\u0620-\u064a]"), re.compile(r"[\u064b-\u0652\u0670\u0640]")
_ENDING, _ARTICLE = re.compile(r"(?<=\w\w\w)ا\b"), re.compile(r"\bال(?=\w\w)")
_NONE = frozenset({"none", "none of these", "none of them", "no label", "no labels", "n a"})
"""What an LLM calls a list without labels, normalised."""
_MINUS = re.compile(r"[−–‐‑﹣－](?=\d)")
"""What else is written for the sign of a number."""
_NARROW = {ord("０") + i: ord("0") + i for i in range(10)}
"""Digits as wide as a Chinese character -> digits."""
_COUNTED = "[年月日時时分秒つ个個人件回]"
"""What a number before it counts: "3月" is March."""
_WEAK = frozenset({"no", "non", "not", "other"})
"""Labels that are parts of speech too: "no idea", "in other words"."""
_VALUE = re.compile(r"[*_\"'`]{0,4}\s?[:：=]\s?[*_\"'`]{0,4}(?:\d|true\b|false\b|yes\b|no\b)")
"""What stands after each label of a list with values: "spam: 0.1, other: 0.9"."""
# What stands between a label and its reasons.
_REASONS = re.compile(
    r"[*_\"'`”’)\]]{0,4}"
    r"(?:\s?[.,;:!?(\n。，：（]|\s+[-–—]\s|\s+(?:because|since|as|due to|for|with)\b|\s*\Z)",
    re.I,
)


@dataclass(frozen=True)
class _Names:
    """The names of labels.

    Attributes:
        exact: Word or label -> label, as they are written.
        folded: The same without case.
        plain: The same normalised, where that is unique and loses no sign: "-1" is not "1".
        raw: Pattern of the folded names, the longest first.
        loose: Pattern of the normalised names, for a normalised text.
    """

    exact: Mapping[str, str]
    folded: Mapping[str, str]
    plain: Mapping[str, str]
    raw: re.Pattern[str]
    loose: re.Pattern[str]

    def equal_to(self, text: str) -> str | None:
        """Return the label that is the whole text."""
        if len(text) > LONGEST:
            return None
        for said in (text.strip(), text.strip(_AROUND)):
            for names, form in ((self.exact, said), (self.folded, _fold(said))):
                if form in names:
                    return names[form]
        return self.plain.get(_form(text))

    def named_in(self, text: str) -> str | None:
        """Return the only label that is named in a text; None: none or several."""
        raw = {self.folded[name] for name in _affirmed(self.raw, _fold(text))}
        found = raw or {self.plain[name] for name in _affirmed(self.loose, _form(text))}
        return found.pop() if len(found) == 1 else None

    def opening(self, text: str) -> str | None:
        """Return the label that a text begins with, if its reasons follow."""
        begin = _narrow(text).casefold()
        for before in (_LISTED, _NAMED):
            found = before.match(begin)
            begin = begin[found.end() if found else 0 :].lstrip(_AROUND)
        found = self.raw.match(begin)
        is_alone = found and _REASONS.match(begin, found.end())
        return self.folded[found[0]] if found and is_alone else None

    def valued_in(self, text: str) -> set[str]:
        """Return the labels that have a value in a text, as in a list of probabilities."""
        said = _fold(text[-LOOKED_AT:])
        found = self.raw.finditer(said)
        return {self.folded[name[0]] for name in found if _VALUE.match(said, name.end())}

    def may_go_on(self, text: str) -> bool:
        """Say whether a text that was cut off ends with a name that begins a longer one."""
        said = _fold(text)
        return any(
            said.endswith(name) and other.startswith(name) and other != name
            for name in self.folded
            for other in self.folded
        )


def parse_choice(
    completion: str, labels: Mapping[str, str], *, truncated: bool = False
) -> str | Rejected:
    """Return the label that an output names: as JSON (`label`), alone, first, or in words.

    Args:
        completion: What the LLM wrote.
        labels: Label -> its word in prompts; either may be named.
        truncated: The LLM was cut off; a label that was named before counts.

    Returns:
        The label, or `Rejected`: "too_large", "refusal", or "no_label" where none or several are
        named.
    """
    text = read_answer(completion)
    if isinstance(text, Rejected):
        return text
    names = _names(tuple(labels.items()))
    found = next(filter(None, _choices(text, names)), None)
    is_clear = _said_first(text, names) in (None, found) and len(names.valued_in(text)) < 2
    if found is None or not is_clear or (truncated and names.may_go_on(text)):
        return Rejected("refusal" if is_refusal(text) else "no_label", completion)
    return found


def parse_choices(
    completion: str, labels: Mapping[str, str], *, truncated: bool = False
) -> tuple[str, ...] | Rejected:
    """Return the labels that an output lists: as JSON (`labels`), or separated by commas or lines.

    Args:
        completion: What the LLM wrote.
        labels: Label -> its word in prompts; either may be listed.
        truncated: The LLM was cut off; a JSON list that is complete still counts.

    Returns:
        The labels in the order of `labels`, () where the list is empty or says that none fits; or
        `Rejected`: "too_large", "refusal", or "no_labels" where no list is found or it has other
        items alone.
    """
    text = read_answer(completion)
    if isinstance(text, Rejected):
        return text
    names = _names(tuple(labels.items()))
    said = _listed_in_json(text, names)
    if said is None and not truncated:
        said = _listed_in_words(text, names)
    if text.lstrip().startswith("{") and said != _listed_in_json(text, names, is_first=True):
        said = None  # a second answer, to a text of its own
    said = said and [each for item in said for each in _listed_in_words(item, names) or [item]]
    found = {label for item in said or () if (label := names.equal_to(item))}
    others = [item for item in said or () if normalise(item) not in _NONE]
    if said is None or (others and not found):
        return Rejected("refusal" if is_refusal(text) else "no_labels", completion)
    return tuple(label for label in labels if label in found)


def _listed_in_json(text: str, names: _Names, *, is_first: bool = False) -> list[str] | None:
    """Return the items of a JSON list, or of the field of labels in an object; the last first."""
    lines = [] if is_first else [line for line in text.splitlines() if line.strip()]
    for part in dict.fromkeys(part[-LOOKED_AT:] for part in (*lines[-1:], text)):
        for start in sorted(i for i in (part.find("{"), part.find("[")) if i >= 0):
            value = read_value(part[start:])
            if isinstance(value, Mapping):
                fields = {str(key).casefold(): inner for key, inner in value.items()}
                named = [v for k, v in fields.items() if {k, k.removesuffix("s")} & {*_KEYS}]
                value = named[0] if len(named) == 1 else None
            if isinstance(value, str):
                return _listed_in_words(value, names) or [value]
            if isinstance(value, list):
                return strings(value)
    return None


def _listed_in_words(text: str, names: _Names) -> list[str] | None:
    """Return the labels that a text lists and nothing else; None: it is no list of labels."""
    said = text.strip()
    if not said or len(said) > LONGEST:
        return None
    if names.equal_to(said):  # a label may hold a comma
        return [said]
    named = _NAMED.match(said)
    said = said[named.end() :] if named else said
    # A label word may hold an "and".
    for between in (_SEPARATE, _AND):
        items = [_LISTED.sub("", item, count=1) for item in between.split(said)]
        items = [item for item in items if item.strip(_AROUND)]
        if items and all(names.equal_to(item) or normalise(item) in _NONE for item in items):
            return items
    return None


def _said_first(text: str, names: _Names) -> str | None:
    """Return the label that an answer is complete with before it goes on, if it is.

    Another label after it may correct it, or answer a further text that the LLM made up.
    """
    if text.lstrip().startswith("{"):
        said = read_fields(text[:LOOKED_AT]).get("label", "")
        return names.equal_to(said) if said else None
    return names.equal_to(text.strip().partition("\n")[0])


def _choices(text: str, names: _Names) -> Iterator[str | None]:
    """Yield the labels that parts of an answer name, the most certain first.

    A judge explains first and decides last; others decide first.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    parts = dict.fromkeys(part[-LOOKED_AT:] for part in (*lines[-1:], text))
    for part in parts:
        said = read_fields(part).get("label", "")
        yield said and (names.equal_to(said) or names.named_in(said))
    yield names.equal_to(text)
    for last in lines[-1:]:
        named = _NAMED.match(last)
        yield names.equal_to(last[named.end() :] if named else last)
    yield names.opening(text)
    for part in parts:
        yield names.named_in(part)


@lru_cache(maxsize=64)
def _names(labels: tuple[tuple[str, str], ...]) -> _Names:
    exact: dict[str, str] = {word: label for label, word in labels}
    exact |= {label: label for label, _ in labels}
    folded = {_fold(name): label for name, label in exact.items()}
    forms: dict[str, set[str]] = {}
    for name, label in exact.items():
        forms.setdefault(_form(name), set()).add(label)
    plain = {
        _form(name): label
        for name, label in exact.items()
        if len(forms[_form(name)]) == 1 and _is_plain(name)
    }
    return _Names(exact, folded, plain, _pattern(folded, r"\w#+/&-"), _pattern(plain, r"\w"))


def _is_plain(name: str) -> bool:
    """Say whether a name is only words and separators: not "-1", "C#" or "A/B"."""
    is_number = not any(map(str.isalpha, name))
    return not is_number and bool(re.fullmatch(r"[^\W_]+(?:[\s_'’-]+[^\W_]+)*", name))


def _pattern(names: Mapping[str, str], within: str) -> re.Pattern[str]:
    """Return a pattern of names that are no part of a longer word or sign, longest first."""
    longest_first = sorted(filter(None, names), key=len, reverse=True)
    listed = "|".join(
        rf"(?<!{_beside(name, within)}){re.escape(name)}(?!{_beside(name[::-1], within)})"
        for name in longest_first
    )
    # "1." ends a sentence, "1.5" is a number.
    return re.compile(rf"(?<!\d[.,])(?:{listed or '(?!)'})(?![.,]\d|(?<=\d){_COUNTED}){_BUT_NOT}")


def _beside(name: str, within: str) -> str:
    """Return the pattern of a character that may not stand before a name: it goes on there.

    Where no spaces divide words, a name has none around it: "これはpositiveです". But one
    character alone is in many words.
    """
    if _UNSPACED.match(name):
        return "(?!)"
    return f"[{within}]" if _ONE.match(name) else f"(?![{UNSPACED}])[{within}]"


def _affirmed(names: re.Pattern[str], text: str) -> Iterator[str]:
    """Yield the names in a text but those that it says do not apply."""
    for found in names.finditer(text):
        is_denied = _DENIED.search(text, max(0, found.start() - _BEFORE), found.start())
        is_said = found[0] not in _WEAK or _REASONS.match(text, found.end())
        if is_said and not is_denied:
            yield found[0]


def _form(text: str) -> str:
    """Return the normalised text; of Arabic words without article, vowel signs and endings."""
    said = normalise(text)
    if _ARABIC.search(said):
        said = _SIGNS.sub("", said).replace("ى", "ي")
        said = _ARTICLE.sub("", _ENDING.sub("", said))
    return said


def _fold(text: str) -> str:
    return " ".join(_narrow(clean(text)).casefold().split())


def _narrow(text: str) -> str:
    """Return the text with plain digits and minus signs in numbers, in place of wide ones."""
    return _MINUS.sub("-", text.translate(_NARROW))
