"""Read what an LLM wrote: one text, a list of rationales, or an object. Never raises on any text.

LLMs add to an answer what nobody asked for: "Sure, here is ...", quotes, a code fence, the label
in brackets. All of that comes off, in the order of the steps below. What is left is the text, or
the output is `Rejected` with its reason: "refusal", "truncated" or "empty".
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from stepsynth._util.text import clean, normalise
from stepsynth.prompts.refusals import is_refusal
from stepsynth.records import Rejected

_THINKING = re.compile(r"\A.*</think(?:ing)?>|\A\s*<think(?:ing)?>.*\Z", re.S | re.I)
# A language tag stands before a line break only: "```Great film```" has none.
_FENCE = re.compile(r"^[ \t]*```(?:[\w+-]*[ \t]*\n)?(.*?)(?:```|\Z)", re.S | re.M)
_COLON = r"[:：]"

# An opening that speaks to the reader and not to the task: "Sure, here is a review:", "Voici :".
_YES = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|bien s[uû]r|certainement|"
    r"d['’]accord|claro|por supuesto|selbstverständlich|nat[uü]rlich|gerne?|certo|конечно|"
    r"当然|好的|没问题|當然|沒問題|もちろん(?:です)?|はい|承知(?:いたし)?しました|わかりました|물론(?:입니다)?)"
)
_HERE = (
    r"(?:here(?:['’]s| is| are| you (?:go|are))|below is|voici|aqu[ií] (?:tienes|est[aá])|ecco|"
    r"hier (?:ist|sind)|вот|以下|这是(?=一|为|您|你)|這是(?=一|為|您|你)|こちら)"
)
_NOUNS = (
    r"(?:texts?|answers?|outputs?|examples?|messages?|reviews?|sentences?|versions?|samples?|drafts?|"
    r"one|another|new|following|similar|文本|评论|例文|例|回答|textes?|avis|réponses?|ejemplos?|beispiele?)"
)
_CLOSING = re.compile(
    r"\n\s*(?:-{3,}\s*\n\s*)?(?:i hope (?:this|that|it) helps|let me know if you(?:['’]d| would) like|"
    r"let me know if you need (?:any )?(?:changes|more|another|further)|\(?word count)[^\n]*\s*\Z",
    re.I,
)
_QUALIFIER = (
    r"(?:very|highly|slightly|mildly|mostly|clearly|strongly|not|non|label|labelled|labeled|sentiment|"
    r"category|class|flag|tone|team|topic|tweet|review|text)"
)

_QUOTES = {
    '"': '"',
    "'": "'",
    "“": "”",
    "‘": "’",
    "«": "»",
    "„": "“",
    "「": "」",
    "『": "』",
    "`": "`",
}
_BULLET = r"[-*•·・–—▪◦‣●]"
_NUMBER = r"(?:\(?\d{1,3}\s*[.)．、](?!\d)|\(\d{1,3}\)|\d{1,3}\s?[:：](?!\d)|\d{1,3} [-–]|[①-⑳]|[一二三四五六七八九十]{1,3}、)"
_ITEM = re.compile(
    rf"^\s*(?:{_BULLET}\s+|{_BULLET}\s*(?=\*\*|[^\x00-\x7f])|\**{_NUMBER}\s*|[a-z][.)]\s+)(?P<item>.+)$",
    re.I,
)
_INLINE_NUMBER = re.compile(r"(?:^|(?<=[\s.;。；]))\(?\d{1,2}[.)、．](?!\d)\s*(?=\S)")


def parse_text(
    completion: str, *, text_name: str = "", labels: Iterable[str] = (), truncated: bool = False
) -> str | Rejected:
    """Return the one text that was asked for.

    Args:
        completion: What the LLM wrote.
        text_name: What it was asked to write; a heading of that name comes off ("Review: ...").
        labels: Labels and label words; a tag of them at the end comes off ("(Positive)").
        truncated: The LLM was cut off before it ended; half a text is no text.

    Returns:
        The text, or `Rejected` for a refusal, a truncated or an empty output.
    """
    if truncated:
        return Rejected("truncated", completion)
    text = without_thinking(completion)
    if is_refusal(text):
        return Rejected("refusal", completion)
    text = _only_value(text)
    patterns = _patterns(text_name, tuple(labels))
    # A quoted text may hold a tag and a tag may follow the quotes, so all comes off twice.
    for _ in range(2):
        for pattern in patterns:
            text = pattern.sub("", text, count=1)
        text = _unquote(text)
    text = text.strip()
    return text if _says_something(text) else Rejected("empty", completion)


def parse_list(completion: str, *, truncated: bool = False) -> tuple[str, ...] | Rejected:
    """Return the items of a list: JSON, numbered, bulleted, or simply a line each.

    Args:
        completion: What the LLM wrote.
        truncated: It was cut off: the last item is half and is left out.

    Returns:
        The different items in order, without numbers, bullets, bold marks and quotes; or
        `Rejected` for a refusal or where there is none.
    """
    text = without_thinking(completion)
    if is_refusal(text):
        return Rejected("refusal", completion)
    items = _items(text)
    if truncated and items:
        items = items[:-1]
    unique: dict[str, str] = {}
    for item in map(_clean_item, items):
        if _says_something(item):
            unique.setdefault(normalise(item), item)
    if unique:
        return tuple(unique.values())
    return Rejected("truncated" if truncated else "empty", completion)


def parse_object(
    completion: str, keys: Sequence[str], *, truncated: bool = False
) -> dict[str, str] | Rejected:
    """Return the texts of an object with the given keys: JSON, or a line "Key: ..." for each.

    Args:
        completion: What the LLM wrote.
        keys: All must be there, with a text that is not empty.
        truncated: The LLM was cut off; an object that is whole all the same counts.
    """
    text = without_thinking(completion)
    if is_refusal(text):
        return Rejected("refusal", completion)
    # Of lines that were cut off, nobody knows whether the last one is whole.
    fields = _json_fields(text) or ({} if truncated else _named_lines(text, keys))
    found = {key: _unquote(fields.get(key.casefold(), "")).strip() for key in keys}
    if all(map(_says_something, found.values())):
        return found
    return Rejected("truncated" if truncated else "no_object", completion)


def without_reasoning(completion: str) -> str:
    """Return an output without the reasoning that some models put before it."""
    return _THINKING.sub("", completion)


def without_thinking(completion: str) -> str:
    """Return an output without the reasoning that some models put before it, and its fence."""
    return _unfence(without_reasoning(completion))


def _json_fields(text: str) -> dict[str, str]:
    """Return the texts and numbers of the first JSON object in a text, by key in lower case."""
    decoder = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
    start = text.find("{")
    try:
        value, _ = decoder.raw_decode(text, start) if start >= 0 else ({}, 0)
    except (ValueError, RecursionError):
        return {}
    return {k.casefold(): clean(v) for k, v in value.items() if isinstance(v, str)}


def _named_lines(text: str, keys: Sequence[str]) -> dict[str, str]:
    names = "|".join(map(re.escape, keys))
    found = re.findall(rf"^\W*({names})\W*?{_COLON}\W*?[ \t]*(\S.*)$", text, re.I | re.M)
    return {name.casefold(): _clean_item(value) for name, value in found}


def _says_something(text: str) -> bool:
    """Say whether there is a letter, a digit or a symbol such as an emoji; marks alone are none."""
    return any(c.isalnum() or unicodedata.category(c) == "So" for c in text)


def _unfence(text: str) -> str:
    """Return what the first code fence holds, unless more stands around it than in it."""
    fence = _FENCE.search(text)
    if fence is None or not fence[1].strip():
        return text
    around = len(text.strip()) - len(fence[0].strip())
    return fence[1] if around <= max(80, len(fence[1])) else text


def _only_value(text: str) -> str:
    """Return the one string of a JSON object that holds nothing else: {"review": "..."}."""
    if not text.strip().startswith("{"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    values = list(value.values()) if isinstance(value, dict) else []
    return clean(values[0]) if len(values) == 1 and isinstance(values[0], str) else text


@lru_cache(maxsize=64)
def _patterns(text_name: str, labels: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Return what comes off a text, in order: opening, heading, label in front, closing, label tag."""
    names = f"(?:{re.escape(text_name)}|{_NOUNS})" if text_name else _NOUNS
    label = _label_pattern(labels)
    tagged = rf"(?:{_QUALIFIER}[ \t-]+){{0,2}}{label}(?:[ \t]+{_QUALIFIER}){{0,2}}"
    key = r"(?:label|sentiment|category|class|team|topic|标签|類別|ラベル|étiquette)"
    opening = (
        rf"\A\s*\W*(?:"
        rf"(?:{_YES}[,!.，！。、\s]+)?{_HERE}(?=[^\n:：]*{names}|[ \t]*{_COLON}|[^\x00-\x7f])"
        rf"[^\n:：]{{0,160}}{_COLON}[ \t]*\n"  # "Here is another review:" on a line of its own
        rf"|{_YES}[,!.，！。、]+(?=[^\n]*{names})[^\n]{{0,160}}{_COLON}[ \t]*\n"
        rf"|{_YES}[,!.，！。、 \t]*\n"
        rf"|{_YES}[,!.，！。、 \t]+{_HERE}[^\n:：]{{0,120}}{_COLON}"  # and before the text
        rf"|{_HERE} (?:an? |one |the )?(?:[\w'’-]+ ){{0,3}}?{names}[^\n:：]{{0,30}}{_COLON}"
        rf")\s*(?=\S)"
    )
    heading = (
        rf"\A\s*[#*_]*\s*(?:new |another |similar )?(?:{label}\s+(?:\w+\s+)?)?{names}\s*(?:[(\[]{label}[)\]])?"
        rf"\s*[*_]*\s*{_COLON}[*_]*\s*(?=\S)"
    )
    front = (
        rf"\A\s*(?:[(\[（【]\s*{tagged}\s*[)\]）】][ \t]*{_COLON}?"
        rf"|[*_]*(?:{key}\s*{_COLON}\s*)?{label}[*_]*\s*{_COLON}[*_]*"
        rf"|[*_]*{key}[*_]*\s*{_COLON}[*_]*\s*{label}[*_]*[ \t]*\n)\s*(?=\S)"
    )
    ended = r"(?:\A|(?<=[.!?…。！？\"'”’)\s])|(?<=[^\x00-\x7f]))"
    tag = (
        rf"(?:{ended}\s*[(\[（【]\s*(?:{key}\s*{_COLON}\s*)?{tagged}\s*[)\]）】]"
        rf"|{ended}\s*[#*_(\[]*{key}[*_]*\s*{_COLON}[*_]*\s*{tagged}[)\]*_.]*"
        rf"|\n\s*[*_#]*{tagged}[*_.]*|\s[-–—]\s*[*_]*{label}[*_.]*)[\s.\"'”’]*\Z"
    )
    return tuple(
        re.compile(pattern, re.I) for pattern in (opening, heading, front, _CLOSING.pattern, tag)
    )


def _label_pattern(labels: Iterable[str]) -> str:
    """Return what matches a label or its inflection: "hyperbolic" for "hyperbole".

    Short labels and numbers must stand there exactly: "no" is not "not", "1" is not "10".
    """
    forms: set[str] = set()
    for label in labels:
        words = re.escape(label.strip().casefold())
        is_long = len(label) > 4 and label[-1:].isascii() and label[-1:].isalpha()
        forms.add(rf"{words[:-1]}\w{{0,3}}" if is_long else words)
    listed = "|".join(sorted(forms, key=len, reverse=True)) or r"(?!)"
    return rf"(?<!\w)(?:{listed})(?![\w-])" if any(f.isascii() for f in forms) else rf"(?:{listed})"


def _strip_preamble(text: str, text_name: str) -> str:
    return _patterns(text_name, ())[0].sub("", text, count=1)


def _unquote(text: str) -> str:
    """Take off quotes around the whole text, and a quote that is opened and never closed."""
    text = text.strip()
    if text.startswith("**") and text.endswith("**") and "**" not in text[2:-2] and len(text) > 4:
        return text[2:-2]
    close = _QUOTES.get(text[:1])
    if close is None or len(text) < 2:
        return text
    inner = text[1:-1]
    if text.endswith(close):
        # «a» and «b» is no quoted text: a quote closes in it before another one opens.
        marks = re.sub(r"(?<=\w)['’](?=\w)", "", inner)
        first = re.search(f"[{re.escape(text[0] + close)}]", marks)
        opens = first is None or marks[: first.start()][-1:].isspace() or first.start() == 0
        return inner if opens else text
    if text[0] in '"“' and not any(mark in text[1:] for mark in '"”'):
        return text[1:].lstrip()
    return text


def _items(text: str) -> list[str]:
    as_json = _json_items(text)
    if as_json:
        return as_json
    text = _CLOSING.sub("", text)
    lines = [line for line in text.splitlines() if line.strip()]
    numbered: list[str] = []
    for line in lines:
        if found := _ITEM.match(line):
            numbered.append(found["item"])
        elif numbered and line[:1].isspace():
            numbered[-1] += " " + line.strip()
    if len(numbered) > 1:
        return numbered
    inline = [part for part in _INLINE_NUMBER.split(text)[1:] if part.strip()]
    if len(inline) > 1:
        return inline
    if numbered:
        return numbered
    return _strip_preamble(text, "").splitlines()


def _json_items(text: str) -> list[str]:
    """Return the strings of a JSON list or object, also of one that was cut off."""
    starts = [i for i in (text.find("["), text.find("{")) if i >= 0]
    if not starts or text[: min(starts)].count("\n") > 2:
        return []
    body = text[min(starts) :]
    end = max(body.rfind("]"), body.rfind("}")) + 1
    try:
        return _strings(json.loads(body[:end]))
    except (ValueError, RecursionError):
        pass
    if not re.match(r'[\[{]\s*(?:"|\[|\{)', body):
        return []
    # Cut off or nearly JSON: take the whole strings that are values, not keys.
    found = re.findall(r'"((?:[^"\\]|\\.)*)"(\s*:)?', body)
    return [value.replace('\\"', '"') for value, colon in found if not colon]


def _strings(value: object) -> list[str]:
    """Return the strings in a JSON value; the fields of one object in a list are one item."""
    if isinstance(value, str):
        return [clean(value)]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _strings(inner)]
    if not isinstance(value, list):
        return []
    items: list[str] = []
    for inner in value:
        texts = _strings(inner)
        items += [": ".join(texts)] if isinstance(inner, dict) and texts else texts
    return items


def _clean_item(item: str) -> str:
    item = re.sub(r"\*\*(.+?)\*\*|__(.+?)__", lambda m: m[1] or m[2], item)
    return _unquote(item.strip().rstrip(",")).strip().strip("*").strip()
