"""Additions of LLMs around a text: openings, headings, quotes, tags, explanations.

They stand at the ends, so only a fixed number of characters there is searched; and no pattern
repeats what its neighbour repeats. So time is linear, whatever an answer holds.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from stepsynth._util.text import DIRECTION_MARKS
from stepsynth.prompts.native_talk import ABOUT, CLOSINGS, EXPLAINS, GENRES

HEAD, TAIL = 500, 500
"""Characters at the beginning and at the end that are searched."""

# A language tag stands before a line break only: "```Great film```" has none.
_FENCE = re.compile(r"^[ \t]*```(?:[\w+-]*[ \t]*\n)?(.*?)(?:```|\Z)", re.S | re.M)
_COLON = r"[:：]"
_S, _B = r"\s{0,4}", r"[ \t]{0,4}"

# An opening that speaks to the reader and not to the task: "Sure, here is a review:", "Voici :".
_YES = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|bien s[uû]r|certainement|"
    r"d['’]accord|claro|por supuesto|selbstverständlich|nat[uü]rlich|gerne?|certo|конечно|"
    r"当然可以|当然|好的|没问题|當然|沒問題|もちろん(?:です)?|はい|承知(?:いたし)?しました|わかりました|かしこまりました|"
    r"물론(?:입니다)?|بالتأكيد|بالطبع|طبعا|بكل سرور|حسنا|أكيد)[\u064b\u064d]?"
)
_HERE = (
    r"(?:here(?:['’]s| is| are| you (?:go|are))|below is|voici|aqu[ií] (?:tienes|est[aá])|ecco|"
    r"hier (?:ist|sind)|вот|以下|这里是|這裡是|这是(?=一|为|您|你)|這是(?=一|為|您|你)|こちら|"
    r"إليكم?|فيما يلي|ها (?:هو|هي))"
)
_NOUNS = (
    r"(?:texts?|answers?|outputs?|examples?|messages?|reviews?|sentences?|versions?|samples?|drafts?|"
    r"responses?|e-?mails?|"
    r"one|another|new|following|similar|文本|评论|留言|消息|信息|例文|例|回答|"
    r"メッセージ|テキスト|文章|投稿|レビュー|textes?|avis|réponses?|ejemplos?|beispiele?|nachricht(?:en)?|"
    r"(?:ال)?(?:رسالة|نص|مثال|تعليق|مراجعة|جملة|إجابة))"
)
_QUOTE = re.compile(r"[\"“”]")
_TAGS = ("answer", "response", "output", "solution", "final", "text", "result", "content")
_CLOSING = (
    rf"\n\s{{0,8}}(?:{CLOSINGS})[^\n]{{0,40}}\Z|"
    r"\n\s{0,8}(?:-{3,20}\s{0,8})?(?:would you like me to (?:write|create|generate|provide|make|revise|"
    r"rewrite|adjust|change|add|try)\b|i hope (?:this|that|it) helps|let me know if you(?:['’]d| would) "
    r"like|let me know if you need (?:any )?(?:changes|more|another|further)|\(?word count)[^\n]{0,400}\Z"
)
_GLOSS = (
    r"(?<=[。！？؟])\s{0,4}[(（](?:[a-z\u00c0-\u024f][a-z\u00c0-\u024f ,.'’!?;-]{8,400}|"
    r"共\s?\d{1,4}\s?[个個]?字)[)）]\Z"
)
"""A translation or a transcription after a text in another script; a count of its characters."""
_ARTICLE = r"(?:an?|one|eine?|une?|一[条條则則个個篇])"
_RULE = r"(?:\n[ \t]{0,8}[-*_=]{3,40}\s{0,8})?"
"""A line between a text and what explains it."""
_ROLE = (
    r"(?:#{1,6}[ \t]?(?:response|assistant|output)[ \t]?:?[ \t]{0,4}\n|assistant[ \t]?\n|"
    r"assistant[ \t]?:(?!(?s:.){0,500}\n[ \t]{0,8}(?:user|human)\b))"
)
_TURN = re.compile(
    r"(?<=[.!?…。！？\"'”’)])\s{0,8}\n[ \t]{0,8}(?:#{2,6}[ \t]?(?:instruction|input|response|user|human|"
    r"assistant)\b|(?:user|human)[ \t]?:)",
    re.I,
)
"""Beginning of a turn that the LLM made up after its own; a text of such turns is a dialogue."""
_DIALOGUE = re.compile(r"\s*[*_#]{0,4}[ \t]?(?:user|human|assistant)\b", re.I)
_QUALIFIER = (
    r"(?:very|highly|slightly|mildly|mostly|clearly|strongly|not|non|label|labelled|labeled|sentiment|"
    r"category|class|flag|tone|team|topic|tweet|review|text)"
)
_IS = (
    r"(?:is|was|are|has|have|had|can be|could be|would be|should be|conveys?|expresses|reflects|shows?|"
    r"carries|gets|would get|contains?|belongs|falls)"
)

_QUOTES = {
    '"': '"',
    "'": "'",
    "“": "”",
    "‘": "’",
    "«": "»",
    "„": "“",
    "»": "«",
    "「": "」",
    "『": "』",
    "`": "`",
}


class Wrapping(NamedTuple):
    """The patterns of additions to the texts of one task.

    Attributes:
        heads: Additions before a text, in order: an opening, a heading, a label.
        announced: Announcement of a text in quotes: "A review of that kind is:".
        tails: Additions after a text, in order: a closing, a tag of its label.
        explanation: Beginning of a paragraph that explains the text.
        meta: Beginning of a text that is about the requested text.
        names: Names of a tag around the text, or of its JSON key, in lower case.
    """

    heads: tuple[re.Pattern[str], ...]
    announced: re.Pattern[str]
    tails: tuple[re.Pattern[str], ...]
    explanation: re.Pattern[str]
    meta: re.Pattern[str]
    names: frozenset[str]

    def take_off_heads(self, text: str) -> str:
        """Strip the additions before a text, unless nothing would be left."""
        for pattern in self.heads:
            text = text.lstrip()
            if found := pattern.match(text[:HEAD]):
                text = text[found.end() :].lstrip() or text
        if found := self.announced.match(text[:HEAD]):
            rest = text[found.end() :].strip()
            is_quoted = rest[:1] in '"“' and rest[-1:] in '"”'
            if rest and (is_quoted or found[0].endswith("\n")) and not _QUOTE.search(rest[1:-1]):
                return rest
        return text

    def take_off_tails(self, text: str) -> str:
        """Strip the additions after a text."""
        if not _DIALOGUE.match(text) and (found := _TURN.search(text)):
            text = text[: found.start()]
        if found := self.explanation.search(text):
            text = text[: found.start()]
        for pattern in self.tails:
            text = text.rstrip()
            if found := pattern.search(text, max(0, len(text) - TAIL)):
                text = text[: found.start()]
        return text

    def is_meta(self, text: str) -> bool:
        """Say whether a text is about the requested text, in its place."""
        return bool(self.meta.match(text[:HEAD]))

    def take_off_tags(self, text: str) -> str:
        """Strip tags that are named after the text: <review>...</review>."""
        found = re.match(r"<([^\W\d_][\w -]{0,40})>", text)
        if found is None or found[1].casefold().replace("_", " ") not in self.names:
            return text
        closing = f"</{found[1]}>"
        return text[found.end() : -len(closing)].strip() if text.endswith(closing) else text


@lru_cache(maxsize=64)
def wrapping_of(text_name: str, labels: tuple[str, ...] = ()) -> Wrapping:
    """Return the patterns for a kind of text, in a task with these labels and label words."""
    names = f"(?:{name_pattern(text_name)}|{_NOUNS})" if text_name else _NOUNS
    label = _label_pattern(labels)
    joined = rf"{label}(?:(?:{_B}[,&/]|\s{{1,4}}and(?: also)?\b){_S}{label}){{0,3}}"
    last = name_pattern(text_name.rpartition(" ")[2]) if " " in text_name else r"(?!)"
    tagged = rf"(?:{_QUALIFIER}[ \t-]{{1,4}}){{0,2}}{label}(?:[ \t]{{1,4}}{_QUALIFIER}){{0,2}}"
    key = (
        r"(?:label|sentiment|category|class|team|topic|标签|標籤|类别|類別|情感|情绪|ラベル|カテゴリー?|感情|"
        r"étiquette|kategorie|stimmung|التصنيف|الفئة)"
    )
    opening = (
        rf"\W{{0,20}}(?:"
        rf"(?:{_YES}[,!.،，！。、\s]{{1,8}})?{_HERE}(?=[^\n:：]{{0,200}}{names}|{_B}{_COLON}|[^\x00-\x7f])"
        rf"[^\n:：]{{0,160}}{_COLON}{_B}\n"  # "Here is another review:" on a line of its own
        rf"|{_YES}[,!.،，！。、]{{1,8}}(?=[^\n]{{0,200}}{names})[^\n]{{0,160}}{_COLON}{_B}\n"
        rf"|{_YES}[,!.،，！。、\s]{{1,8}}{_HERE}(?=[^\n]{{0,200}}{names})[^\n]{{0,160}}[.!。！]{_B}\n"
        rf"|{_YES}[,!.،，！。、 \t]{{0,8}}\n"
        rf"|{_YES}[,!.،，！。、 \t]{{1,8}}{_HERE}[^\n:：]{{0,120}}{_COLON}"  # and before the text
        rf"|{_HERE} (?:an? |one |the )?(?:[\w'’-]{{1,30}} ){{0,3}}?{names}[^\n:：]{{0,30}}{_COLON})"
    )
    titled = (
        rf"(?:new |another |similar )?(?:(?:{_ARTICLE}\s{{0,4}})?{joined}"
        rf"(?:\s{{1,4}}(?:\w{{1,30}}\s{{1,4}})?|[的な]?))?(?:{names}|{last})"
        rf"(?:{_S}[(\[]{label}[)\]]|\s{label})?"
    )
    heading = (
        rf"(?:[#*_]{{0,6}}{_S}{titled}{_S}[*_]{{0,3}}{_S}{_COLON}[*_]{{0,3}}"
        rf"|【{_S}{titled}{_S}】"
        rf"|[#*_]{{1,6}}[ \t]?(?:{titled}|{joined})[*_]{{0,3}}{_B}\n|{titled}{_B}\n{_B}\n)"
    )
    front = (
        rf"(?:[(\[（【]{_S}{tagged}{_S}[)\]）】]{_B}{_COLON}?"
        rf"|[*_]{{0,3}}(?:{key}{_S}{_COLON}{_S})?{joined}[*_]{{0,3}}{_S}{_COLON}[*_]{{0,3}}"
        rf"|[*_]{{0,3}}{key}[*_]{{0,3}}{_S}{_COLON}[*_]{{0,3}}{_S}{label}[*_]{{0,3}}{_B}\n"
        rf"|(?:true|false|correct|incorrect)[ \t]?:)"
    )
    ended = r"(?:\A|(?<=[.!?…。！？\"'”’)\s])|(?<=[^\x00-\x7f]))"
    tag = (
        rf"(?:{ended}{_S}[(\[（【]{_S}(?:{key}{_S}{_COLON}{_S})?{tagged}{_S}[)\]）】]"
        rf"|{ended}{_S}[#*_(\[]{{0,6}}{key}[*_]{{0,3}}{_S}{_COLON}[*_]{{0,3}}{_S}{tagged}[)\]*_.]{{0,6}}"
        rf"|\n\s{{0,8}}[*_#]{{0,6}}{tagged}[*_.]{{0,4}}|\s[-–—]{_S}[*_]{{0,3}}{label}[*_.]{{0,4}})"
        rf"[\s.\"'”’]{{0,6}}\Z"
    )
    about = rf"(?:this|the|that|my) (?:\w{{1,20}} )?{names}s? {_IS}\b[^.!?\n]{{0,80}}?{label}"
    native = ABOUT.format(names=f"(?:{names}|{GENRES})", label=label)
    explains = rf"(?:explanation|rationale|justification|reasoning)s?[*_]{{0,3}}{_B}{_COLON}"
    # A note may well be a part of a text; one that names the label is not.
    notes = rf"(?:note|reason|analysis|comment|why)s?[*_]{{0,3}}{_B}{_COLON}[^\n]{{0,300}}?{label}"
    explains_native = rf"(?:(?:english )?translation|{EXPLAINS}){_B}{_COLON}|{native}"
    explanation = (
        rf"{_RULE}\n{_B}[*_(（\[>#-]{{0,4}}[ \t]?(?:{explains}|{notes}|{about}|{explains_native})"
    )
    # Not "The following items are missing:" nor "The message on the display reads:".
    written = f"(?:{name_pattern(text_name or 'text')}|text|review|sentence|hypothesis|headline)"
    announced = (
        rf"\W{{0,6}}(?:the|this|an?|one|another)\s(?:[\w'’-]{{1,20}}\s){{0,3}}{written}"
        rf"[^\n:\"“]{{0,60}}:(?:[ \t]{{0,4}}\n|[ \t]{{1,4}}(?=[\"“]))"
    )
    own = text_name.casefold()
    named = {own, own.replace("-", ""), own.rpartition(" ")[2], *_TAGS} - {""}
    return Wrapping(
        heads=tuple(re.compile(pattern, re.I) for pattern in (_ROLE, opening, heading, front)),
        announced=re.compile(announced, re.I),
        tails=tuple(re.compile(pattern, re.I) for pattern in (_GLOSS, _CLOSING, tag)),
        explanation=re.compile(explanation, re.I),
        meta=re.compile(rf"\W{{0,6}}(?:{about}|{explains})", re.I),
        names=frozenset(named),
    )


def name_pattern(name: str) -> str:
    """Return a pattern of a name, whose hyphen an LLM leaves out: "email" for "e-mail"."""
    return re.escape(name).replace(r"\-", "[ -]?")


def _label_pattern(labels: Iterable[str]) -> str:
    """Return a pattern of a label or its inflection: "hyperbolic" for "hyperbole".

    Short labels and numbers must match exactly: "no" is not "not", "1" is not "10".
    """
    forms: set[str] = set()
    for label in labels:
        words = re.escape(label.strip().casefold()).replace(r"\ and\ ", r"\ (?:and|&)\ ")
        is_long = len(label) > 4 and label[-1:].isascii() and label[-1:].isalpha()
        forms.add(rf"{words[:-1]}\w{{0,3}}" if is_long else words)
    listed = "|".join(sorted(forms, key=len, reverse=True)) or r"(?!)"
    return rf"(?<!\w)(?:{listed})(?![\w-])" if any(f.isascii() for f in forms) else rf"(?:{listed})"


def unfence(text: str) -> str:
    """Return the content of the first code fence, unless more stands around it than in it."""
    fence = _FENCE.search(text)
    if fence is None or not fence[1].strip():
        return text
    around = len(text.strip()) - len(fence[0].strip())
    return fence[1] if around <= max(80, len(fence[1])) else text


def unquote(text: str) -> str:
    """Strip quotes around the whole text, and a quote that is opened and never closed."""
    text = text.strip().strip(DIRECTION_MARKS)
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
