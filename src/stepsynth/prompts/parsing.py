"""Read what an LLM wrote: one text, or a list of rationales. Never raises on any text.

LLMs add to an answer what nobody asked for: "Sure, here is ...", quotes, a code fence, the label
in brackets. All of that comes off, in the order of the steps below. What is left is the text, or
the output is `Rejected` with its reason: "refusal", "truncated" or "empty".
"""

import json
import re
import unicodedata
from collections.abc import Iterable

from stepsynth._util.text import normalise
from stepsynth.records import Rejected

_THINKING = re.compile(r"\A\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S | re.I)
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n?(.*?)(?:```|\Z)", re.S)
_COLON = r"[:：]"

# An opening that speaks to the reader and not to the task: "Sure, here is a review:", "Voici :".
_YES = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|bien s[uû]r|certainement|"
    r"d['’]accord|claro|por supuesto|nat[uü]rlich|gerne?|当然|好的|没问题|當然|沒問題|"
    r"もちろん(?:です)?|はい|承知(?:いたし)?しました|わかりました)"
)
_HERE = (
    r"(?:here(?:['’]s| is| are)|voici|aqu[ií] (?:tienes|est[aá])|hier (?:ist|sind)|"
    r"以下|这是|這是|こちら)"
)
_PROMISE = r"\b(?:here|below|following|another|similar|example|new)\b"
_PREAMBLE = re.compile(
    rf"\A\s*(?:(?:{_YES}[,!.，！。、\s]+)?{_HERE}[^\n]{{0,160}}{_COLON}[ \t]*\n"  # its own line
    rf"|{_YES}[,!.，！。、]+[^\n]{{0,120}}{_PROMISE}[^\n]{{0,80}}{_COLON}[ \t]*\n"
    rf"|{_YES}[,!.，！。、 \t]*\n"
    rf"|{_YES}[,!.，！。、 \t]+{_HERE}[^\n:：]{{0,120}}{_COLON})"  # before the text on one line
    rf"\s*(?=\S)",
    re.I,
)
_HEADING = (
    r"(?:text|answer|output|example|message|review|sentence|title|文本|例文|回答|texte|réponse)"
)

_REFUSALS = [
    re.compile(pattern, re.I)
    for pattern in (
        r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b",
        r"\bAI language models?\b|\blanguage model,? I\b",
        r"\bopenai'?s? (?:use case|content|usage) polic",
        r"\A\W*(?:(?:(?:i['’]?m|i am) (?:very |so )?)?sorry|apologies|unfortunately)?"
        r"\W*(?:but )?(?:as [^.,]{0,40}, )?i (?:can['’]?t|cannot|can not|am unable to|won['’]?t|"
        r"am not (?:able to|comfortable)|will not|could not|must decline to) (?:\w+ ){0,2}?"
        r"(?:generat(?:e|ing)|write|create|provide|produce|fulfil+|assist|comply|complete|perform|"
        r"help (?:you )?with (?:this|that|your request|(?:writ|creat|generat)ing)|continue with|"
        r"do that as|engage in|respond to)\b",
        r"\A\W*(?:je suis désolée?|désolée?)\W.{0,60}\bje ne (?:peux|suis)\b",
        r"\ben tant qu(?:e modèle de langage|'ia|’ia|'intelligence artificielle)",
        r"作为(?:一个|一名)?(?:人工智能|AI|语言模型|大型语言模型)|作為(?:一個)?(?:人工智慧|AI|語言模型)",
        r"\A\W*(?:很?抱歉|对不起|對不起)[，,。]?.{0,12}(?:我)?(?:无法|不能|無法)"
        r"(?:生成|提供|撰写|编写|完成|满足|协助|创建|撰寫)",
        r"(?:AI|言語モデル|人工知能)(?:として|ですので|なので)",
        r"\A\W*(?:申し訳(?:ありません|ございません)|すみません).{0,60}(?:できません|できかねます|いたしかねます)",
    )
]

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
_ITEM = re.compile(
    r"^\s*(?:[-*•·–—▪◦‣]\s+|[-*•·]\s*(?=\*\*)|\(?\d{1,3}\s*[.)．、：]\s*|\(\d{1,3}\)\s*|[①-⑳]\s*|[a-z][.)]\s+)"
    r"(?P<item>.+)$",
    re.I,
)
_INLINE_NUMBER = re.compile(r"(?:^|(?<=[\s.;。；]))\(?\d{1,2}[.)、．]\s*(?=\S)")


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
    text = _unfence(_THINKING.sub("", completion))
    if _is_refusal(text):
        return Rejected("refusal", completion)
    # A quoted text may hold a tag and a tag may follow the quotes, so both come off twice.
    for _ in range(2):
        text = _strip_preamble(text, text_name)
        text = _strip_label_tag(text, labels)
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
    text = _unfence(_THINKING.sub("", completion))
    if _is_refusal(text):
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


def _says_something(text: str) -> bool:
    """Say whether there is a letter, a digit or a symbol such as an emoji; marks alone are none."""
    return any(c.isalnum() or unicodedata.category(c) == "So" for c in text)


def _is_refusal(text: str) -> bool:
    return any(pattern.search(text[:600]) for pattern in _REFUSALS)


def _unfence(text: str) -> str:
    """Return what a code fence holds, where one holds most of the answer."""
    fence = _FENCE.search(text)
    if fence and len(fence[1].strip()) * 2 > len(text.strip()) - 10:
        return fence[1]
    return text


def _strip_preamble(text: str, text_name: str) -> str:
    text = _PREAMBLE.sub("", text, count=1)
    names = "|".join(filter(None, (_HEADING, re.escape(text_name) if text_name else "")))
    heading = (
        rf"\A\s*[#*_]*\s*(?:new |another |similar )?(?:{names})\s*[*_]*\s*{_COLON}[*_]*\s*(?=\S)"
    )
    return re.sub(heading, "", text, count=1, flags=re.I)


def _strip_label_tag(text: str, labels: Iterable[str]) -> str:
    """Take off a label at the end: "(Positive)", "[billing]", "Label: positive"."""
    stems = sorted({stem for label in labels for stem in _stems(label)}, key=len, reverse=True)
    if not stems:
        return text
    word = rf"(?:{'|'.join(map(re.escape, stems))})\w*"
    few = rf"(?:[\w-]+[ \t]+){{0,2}}(?:not[ \t-]+|non-?)?{word}(?:[ \t]+[\w-]+)?"
    tag = (
        rf"(?:\A|(?<=[.!?…。！？\"'”’)\s])|(?<=[^\x00-\x7f]))\s*[(\[（【]\s*(?:label\s*{_COLON}\s*)?{few}\s*[)\]）】]"
        rf"|\n\s*[#*_(\[]*(?:label|sentiment|category|class|team|topic|标签|類別|ラベル|étiquette)[*_]*\s*"
        rf"{_COLON}[*_]*\s*{few}[)\]*_.]*"
    )
    return re.sub(rf"(?:{tag})[\s.\"'”’]*\Z", "", text, flags=re.I)


def _stems(label: str) -> list[str]:
    """Return what inflected forms of a label's words share: "hyperbol" of "hyperbole"."""
    words = re.findall(r"[^\W_]+", label.casefold())
    long = [word for word in words if len(word) > 3 or not word.isascii()]
    return [w[: max(4, len(w) - 1)] if w.isascii() else w for w in (long or words[-1:])]


def _unquote(text: str) -> str:
    """Take off quotes around the whole text, and a quote that is opened and never closed."""
    text = text.strip()
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
    """Return the strings of the first JSON list, also where it is a value of an object."""
    start, end = text.find("["), text.rfind("]")
    if start < 0 or end <= start:
        return []
    try:
        values = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return []
    items: list[str] = []
    for value in values if isinstance(values, list) else []:
        if isinstance(value, dict):
            value = ": ".join(v for v in value.values() if isinstance(v, str))
        if isinstance(value, str):
            items.append(value)
    return items


def _clean_item(item: str) -> str:
    item = re.sub(r"\*\*(.+?)\*\*|__(.+?)__", lambda m: m[1] or m[2], item)
    return _unquote(item.strip().rstrip(",")).strip().strip("*").strip()
