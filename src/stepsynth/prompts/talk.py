"""Detection of talk: what weak LLMs write about a text instead of the text.

"The movie review is negative.", "No title, no label.", "I'm ready to help.", the prompt again, a
bare label, two options: none of these is a text to learn from. A rule needs words that the text
itself would hardly have (its own name, its label in quotes, the asker), since a good text thrown
away costs as much as a bad one kept. Time is linear in the text.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from stepsynth._util.text import normalise
from stepsynth.prompts.native_talk import GENRES, OFFERS, STATES
from stepsynth.prompts.wrapping import name_pattern

HEAD = 600
"""Characters at the beginning that are searched for talk."""

_GENRES = (
    "text|sentence|review|message|item|article|post|tweet|comment|headline|question|hypothesis|"
    "premise|statement|claim|passage|paragraph|answer|response|example|example sentence|version|"
    "description|label|prompt|request|instruction|task"
)
_BE = r"(?:is|was|are|were|would be|could be|should be|can be|has been|isn['’]t|is not)"
_ADVERBS = (
    r"(?:(?:very|entirely|clearly|definitely|highly|considered|not|also|both|generally|mostly|simply|"
    r"overwhelmingly|overly|completely|strongly|labell?ed|classified|categori[sz]ed|as|a|an|the|in|"
    r"about|one|that|to be|of|only|still|now|just|truly|quite|extremely|mainly)\s+){0,4}"
)
_OF = re.compile(r" (?:on|about|to|for|of|in|by|with|at|that|who|which)\b ?")
_WRITINGS = "text|sentence|review|hypothesis|headline|paragraph"
_SPEAKS = (
    r"(?:(?:criticiz|criticis|describ|discuss|express|prais|highlight|convey|mention|captur|reflect|"
    r"explain|emphasi[sz])(?:e|es|ed|s)|has an?|was written)\b"
)
_NO = r"(?:titles?|quotes?|quotations?|labels?|comments?|answers?|names?|mentions?|explanations?|text)"

# What an assistant says to whoever asked, at the beginning.
_WORK = r"(?:text|sentence|review|hypothesis|premise|example|version|prompt)s?\b"
_ASSISTANT = "|".join(
    (
        r"(?:sure[,!.] )?i(?:['’]d| would|['’]ll| will) be (?:happy|glad|delighted|pleased) to "
        r"(?:help|assist|provide|write|create)",
        r"i(?:['’]m| am) (?:ready|happy|here|glad) to (?:help|assist|provide|write|list|create|share my)",
        r"i(?:['’]m| am) (?:just an ai|an ai|glad you (?:brought|asked|chose)|not sure what you mean)",
        rf"(?:no, )?i(?:['’]m| am) (?:not )?(?:unable|able|capable|ready)(?: to| of)? "
        rf"(?:provid|writ|generat|list|creat)\w* (?:[\w'’-]{{1,20}} ){{0,3}}?(?:{_WORK}|answer|list)",
        rf"i(?:['’]ll| will) (?:start by listing|give it to you|rewrite|(?:present|create|suggest|write|provide)\b"
        rf"[^.\n]{{0,40}}\b{_WORK}|make sure to (?:expand|include|use))",
        rf"i(?:['’]ve| have) (?:already )?(?:provided|written|created|revised|rewritten|generated)\b[^.\n]{{0,40}}\b{_WORK}",
        r"i(?:['’]m| am) sorry(?: for the (?:confusion|misunderstanding)|, i(?:['’]m| am) unable|, but (?:there is no|the (?:text|prompt)))",
        rf"you(?:['’]ve| have) (?:already )?(?:provided|answered|completed|written|asked for)\b[^.\n]{{0,40}}\b{_WORK}",
        r"you(?:['’]re| are) (?:right|correct)[,.] i (?:agree|apologi|made)",
        r"(?:that|this|it)(?:['’]s| is) an? (?:excellent|great|good|interesting|very good|nice|fantastic) "
        r"(?:suggestion|question|point|example|review|sentence|start|idea|hypothesis|text)(?:[!.,]|\Z)",
        r"(?:it (?:seems|looks|appears) (?:like |that |as if )?)(?:you(?:['’]re| are) (?:asking|referring)|"
        r"i(?:['’]m| am) asking|this is a multiple|the (?:text|prompt) )",
        r"the (?:correct|right|final|only possible|previous) (?:answer|label|response)\b",
        r"the answer (?:to the (?:given |original )?(?:question|prompt)|(?:is|would be):)",
        rf"(?:please )?provide (?:me with )?(?:an?|the|your|more) (?:[\w'’-]{{1,20}} )?{_WORK}",
        r"(?:your|my) (?:answer|sentence|hypothesis|prompt)\b",
        r"what an? (?:\w+ )?(?:task|question|prompt|request)!",
        rf"here(?:['’]s| is) (?:an?|the|another) (?:[\w'’-]{{1,20}} )?(?:revised|rewritten|possible|new|another|different) "
        rf"(?:{_WORK}|response)",
        r"no[,.]? (?:answer|more details|further)",
        r"(?:can|could) you (?:please )?(?:provide|give|clarify|specify)\b[^.\n]{0,80}\bi(?:['’]ll| will| can) help\b",
        r"to (?:make (?:it|this)|improve)\b[^.\n:]{0,60}\bconsider this\b",
        r"(?:ok(?:ay)?|so|alright)?,? ?the user (?:wants|is asking|asked|asks|needs|would like) me to\b",
        r"let['’]s (?:think (?:about the|step)|analy[sz]e (?:the|this))",
        r"the (?:sentence|text|word|phrase|title|review) [\"“]",
    )
)
_PLANS = (
    r"(?:we (?:need|have) to (?:write|produce|generate|output|create)|(?:i|we)(?:['’]ll| will| need to) "
    r"craft) (?:an?|one|another) (?:[\w'’-]{1,20} ){0,3}?"
)
_ANYWHERE = "|".join(
    (
        OFFERS,
        rf"\bno {_NO}\W{{1,3}}(?:and |or )?no {_NO}",
        r"(?<![\"“'‘])\bhow (?:can|may) i (?:help|assist) you",
        rf"\n\W{{0,6}}here(?:['’]s| is) (?:an?|the|another) (?:alternative|(?:[\w'’-]{{1,20}} )?{_WORK})[^\n:]{{0,40}}:",
        r"\bthis answer is\b|\byour answer:|\b(?:in)?correct: [\"“]",
        r"\b(?:in)?correct hypothesis (?:would|could|can|is|was)\b",
        r"(?:\n|[.!?] )i(?:['’]ve| have|['’]ll| will)? (?:remove|removed|added|changed|replaced|rewrote|rewritten|combined|"
        r"shortened|edited|made)\b[^.\n]{0,60}\b(?:sentence|hypothesis|premise|prompt|commas?|grammar)\b",
        r"\b(?:right|opposite) labels?\b|\b(?:correct|wrong|original|negative|positive) labels? (?:is|for|of)\b",
        r"\b(?:rewritten|original|given|provided|revised) (?:sentence|review|hypothesis|premise)\b",
    )
)
_BARE = frozenset(
    {
        *("yes", "no", "not", "true", "false", "correct", "incorrect", "right", "wrong", "none"),
        *(
            "n",
            "a",
            "na",
            "null",
            "undefined",
            "answer",
            "label",
            "title",
            "comment",
            "ok",
            "okay",
            "sure",
            "nothing",
        ),
        *("unknown", "and", "or", "the", "is", "it"),
    }
)
_UNFINISHED = frozenset(
    {
        *("the", "a", "an", "of", "and", "or", "with", "from", "your", "their", "my", "his", "its"),
        *("because", "but", "than"),
    }
)
# A smiley is no open end.
_OPEN_END = re.compile(r"[,，、،]\Z|(?<=\w)[:;：；؛]\Z|(?<=[\w\s])[(\[“«（「『【]\Z")
_FUNCTION = frozenset(
    {
        *("the", "a", "an", "is", "was", "are", "were", "be", "been", "has", "have", "does", "do"),
        *("did", "it", "its", "this", "that", "there", "these", "and", "or", "not", "no", "of"),
        *("in", "me", "can", "could", "would", "will", "one", "any", "write", "alone"),
        *("on", "for", "to", "about", "with", "by", "as", "from", "at", "you", "your", "i", "my"),
    }
)
_VERDICTS = (
    *("positive", "negative", "neutral", "entailment", "not entailment", "not_entailment"),
    *("contradiction", "hyperbole", "not hyperbole", "positiv", "negativ"),
    *("إيجابي", "إيجابية", "سلبي", "سلبية", "محايد", "محايدة", "正面", "负面", "負面", "中性"),
    *("肯定的", "否定的", "中立", "ポジティブ", "ネガティブ"),
)
"""Labels that describe a text and hardly occur in one; "terrible" or "lost" may well occur."""
_OPTION = re.compile(
    r"[ \t]{0,4}(?:[-*•][ \t]+|\(?(?:\d{1,2}|[a-hA-H])[.)][ \t]+|\d{1,2}[-–][ \t]+|"
    r"[(（]?\d{1,2}[．）、][ \t]*|[①-⑳㈠-㈩][ \t]*)\S"
)
_SENTENCES = re.compile(r"(?<=[.!?؟۔])\s+|(?<=[。！？।])\s*|\n+")
_BAND = re.compile(r"(\d+(?: (?:to|bis|إلى) |[~到])\d+) ?(?:words|wörter|كلمة|文字|字)")
"""Pattern of a requested length, normalised, in the languages of prompts."""
_OF_LIST = re.compile(
    r"\A\W{0,6}(?:sure\W{1,3})?here are\b|\A\W{0,6}there are (?:many|several) (?:examples|reasons)\b|"
    r"\bi(?:['’]ve| have) (?:listed|provided)\b|"
    r"\b\d{1,3} (?:different |short )*(?:examples|reasons|sentences)\b",
    re.I,
)
"""Pattern of a list item that is about the list."""
_SHORT = 250  # characters
_LONG_ITEM = 30  # words
_ALIKE = 0.8
"""Share of common words from which two reasons count as one."""
_LOOP = 3


class Talk(NamedTuple):
    """The patterns of talk in the texts of one task.

    Attributes:
        opening: Talk at the beginning.
        anywhere: Talk at any place.
        verdict: A sentence that only states the label of a text.
        heading: Heading of a further text in the same answer.
        own: Names of the text that it would hardly use itself, unless its source does.
        own_short: The same for a short text; a long review may well speak of reviews.
        selves: Words that mark a repetition of the request: the text's name, or a label that is a
            verdict.
        labels: Labels and their words, normalised.
    """

    opening: re.Pattern[str]
    anywhere: re.Pattern[str]
    verdict: re.Pattern[str]
    heading: re.Pattern[str]
    own: re.Pattern[str] | None
    own_short: re.Pattern[str] | None
    selves: frozenset[str]
    labels: frozenset[str]

    def find(self, text: str, *, sources: Sequence[str] = (), asked: str = "") -> str | None:
        """Return why a text cannot be kept, or None.

        Args:
            text: The text as it would be kept.
            sources: Texts that it is written from: their words are no talk, a copy is no new text.
            asked: The request without the sources, normalised.
        """
        said = normalise(text)
        if said.removeprefix("the ") in self.labels or not set(said.split()) - _BARE:
            return "bare_label"
        if self._is_echo(said, asked) or _is_copy(text, said, sources):
            return "echo"
        if self._is_talk(text, sources) or _says_length(said, asked, sources):
            return "meta"
        if _counts_options(text) or len(self.heading.findall(text[: 2 * HEAD])) > 1:
            return "options"
        if _is_loop(text):
            return "repetition"
        return "broken_off" if _is_broken_off(text, self.labels) else None

    def _is_echo(self, said: str, asked: str) -> bool:
        """Say whether a text is part of the request, or only describes itself in its words."""
        words = set(said.split())
        if not asked or len(words) < 2:
            return False
        if len(words) > 4 and asked.startswith(" ".join(said.split()[:5])):
            return True
        if len(words) > 2 and said in asked:
            return True
        return bool(words & self.selves) and words <= _FUNCTION | _BARE | set(asked.split())

    def _is_talk(self, text: str, sources: Sequence[str]) -> bool:
        head = text[:HEAD]
        if self.opening.match(head) or self.verdict.match(head) or self.anywhere.search(head):
            return True
        found = self.own.search(head) if self.own else None
        if found is None and len(text) <= _SHORT and self.own_short:
            found = self.own_short.search(text)
        if found is None:
            return False
        word = found[1].casefold()[:8]
        return not any(word in source.casefold() for source in sources)


@lru_cache(maxsize=64)
def talk_of(text_name: str = "", labels: tuple[str, ...] = (), context_name: str = "") -> Talk:
    """Return the patterns of talk for a kind of text, in a task with these labels.

    Args:
        text_name: What the LLM is asked to write.
        labels: Labels and label words.
        context_name: What it is written for.
    """
    words = _head(text_name)
    last = name_pattern(words[-1]) if words else "text"
    name = name_pattern(text_name) or "(?!)"
    names = rf"(?:{name}|{last}|{_GENRES})"
    # Texts do mention an item or a message, but hardly ever their own review or sentence.
    own_last = last if re.fullmatch(_WRITINGS, last) else "(?!)"
    own_names = rf"(?:{name}|{own_last})" if text_name not in ("", "text") else "(?!)"
    label = "|".join(sorted(map(re.escape, labels), key=len, reverse=True)) or "(?!)"
    about = (
        rf"(?:the|this|that|these|my|your|another|one|an?|each) (?:[\w'’-]{{1,20}} ){{0,3}}?{names}s?\b"
        rf"(?:,? (?:in question|above|below|itself|i (?:offered|wrote|chose|was given)|you \w+))?"
    )
    own_about = rf"(?:the|this|that|my|your) (?:[\w'’-]{{1,20}} ){{0,2}}?{own_names}"
    opening = (
        rf"\W{{0,6}}(?:no[,.]? ){{0,3}}(?:{_ASSISTANT}|{name}の内容[はが]|{_PLANS}{names}\b"
        rf"|{about} (?:{_BE} (?:{_ADVERBS}(?:{label}|{names})\b|written|similar|based|no longer|an example|"
        rf"entirely|not|very|clearly)|with (?:the|an?|no)\b|can be (?:classified|considered|rewritten)|"
        rf"mentions|suggests that the (?:review|text|film|reviewer)|does not (?:contain|entail|belong|follow)|"
        rf"(?:contains|has) no|follows from|belongs to|is in the (?:same|\w+ section)|for [\"“])"
        rf"|{own_about} {_SPEAKS}\b|an? (?:[\w'’-]{{1,20}} ){{0,4}}{own_names}(?: that {_SPEAKS}\b|\W{{0,6}}\Z)"
        rf"|{about}:? ?{_BE}:? ?[\"“]|in (?:an?|this|the|my|your) {own_names}\b"
        rf"|an? (?:[\w'’-]{{1,20}} ){{0,3}}?{names}\b (?:that|which|with) (?:belongs|is|has|an?|the|no)\b)"
    )
    verdicts = [label for label in labels if label.casefold() in _VERDICTS]
    quoted = [re.escape(word) for word in labels if word in verdicts or " " in word]
    says = "|".join(map(re.escape, verdicts)) or "(?!)"
    anywhere = (
        rf"{_ANYWHERE}|(?:\A|[.!?] )(?:the|this) {own_names} {_BE} {_ADVERBS}(?:{says})\b"
        rf"|[\"“'‘](?:{'|'.join(quoted) or '(?!)'})[.,]?[\"”'’]"
        rf"|\((?:„(?:{label})“|«(?:{label})»)\)"  # as prompts in German and Arabic name a kind
    )
    ended = rf"[\"”'’]?(?:\s(?:{names}|one|news|section|label))?\W{{0,6}}\Z"
    verdict = (
        rf"\W{{0,6}}(?:(?:the|this|that|my|your|it|its|an?)\b[^.!?\n]{{0,90}}?)?\b"
        rf"(?:{_BE}|has an?|label|labels?:|category|section)\b:?\W{{0,3}}{_ADVERBS}[\"“'‘]?(?:{says}){ended}"
        rf"|\W{{0,6}}{about}[^.!?\n]{{0,60}}? {_BE} {_ADVERBS}[\"“'‘]?(?:{label}){ended}"
    )
    verdict += "|" + STATES.format(
        names=rf"(?:{name}|{last}|{GENRES})",
        label=f"(?:{label})",
        verdict=f"(?:{says})",
    )
    if context_name:  # without a context, texts say so of the world
        verdict += (
            r"|\W{0,6}this is an? (?:\w+ )?(?:example of an? )?(?:lie|fallacy|contradiction)\W*\Z"
        )
    heading = (
        rf"(?m)^\W{{0,6}}(?:\w{{1,12}} )?{names}(?: ?\d{{1,2}}| ?\([^)\n]{{1,30}}\))?[*_]{{0,3}}:"
    )
    return Talk(
        re.compile(opening, re.I),
        re.compile(anywhere, re.I),
        re.compile(verdict, re.I),
        re.compile(heading, re.I),
        _own(text_name, context_name),
        _own_short(words),
        frozenset(
            {*normalise(" ".join((*words[-1:], *verdicts))).split(), "label", "section", "category"}
        ),
        frozenset(normalise(each) for each in labels),
    )


def _head(text_name: str) -> list[str]:
    """Return the words that name the text itself: "comment" of "comment on a news article"."""
    return _OF.split(text_name, maxsplit=1)[0].split()


def _own(text_name: str, context_name: str) -> re.Pattern[str] | None:
    words = _head(text_name)
    own = [re.escape(name) for name in (text_name, context_name) if len(name.split()) > 2]
    if len(words) > 2:
        own.append(re.escape(" ".join(words[-2:])))
    if context_name:
        own += [re.escape(name) for name in (context_name, *words[-1:]) if name != "text"]
    if len(words) == 2:
        name = re.escape(" ".join(words))
        own.append(
            rf"{name}(?= (?:in|with|sentence|is|that is) )|(?<=\A\w\w\w ){name}(?! (?:of|for|by)\b)"
        )
    return re.compile(rf"\b({'|'.join(own)})(?:es|s)?\b", re.I) if own else None


def _own_short(words: Sequence[str]) -> re.Pattern[str] | None:
    if "review" not in words:
        return None
    kind = re.escape(words[max(0, words.index("review") - 1)])
    before = rf"{kind} |(?:the|this|that|my|your) (?:[\w'’-]{{1,20}} ){{0,2}}?"
    return re.compile(rf"\b(?:{before})(review)(?:er)?\b", re.I)


def drop_talk(items: Iterable[str], talk: Talk, *, asked: str = "") -> list[str]:
    """Return the items of a list without talk, bare labels and near-duplicates.

    Of a long item only the first sentence is kept, since items go into prompts.
    """
    kept: list[str] = []
    known: list[frozenset[str]] = []
    for item in items:
        if len(item.split()) > _LONG_ITEM:
            item = _SENTENCES.split(item, maxsplit=1)[0]
        words = frozenset(normalise(item).split())
        reason = talk.find(item, asked=asked)
        if reason in ("bare_label", "echo", "meta") or item.rstrip().endswith(":"):
            continue
        if _OF_LIST.search(item):
            continue
        if not any(map(str.isalpha, item)):
            continue
        if any(len(words & other) >= _ALIKE * len(words | other) for other in known):
            continue
        kept.append(item)
        known.append(words)
    return kept


def _is_copy(text: str, said: str, sources: Sequence[str]) -> bool:
    """Say whether a text is a copy of a source; sources of a very different length are skipped."""
    near = (source for source in sources if abs(len(source) - len(text)) <= len(text) / 4)
    return any(normalise(source) == said for source in near)


def _says_length(said: str, asked: str, sources: Sequence[str]) -> bool:
    """Say whether a text contains the requested length as words: "a 10 to 40 password"."""
    band = _BAND.search(asked)
    if band is None or not re.search(rf"(?<!\d){band[1]}(?!\d)", said):
        return False
    return not any(band[1] in normalise(source) for source in sources)


def _counts_options(text: str) -> bool:
    lines = [line for line in text[: 4 * HEAD].splitlines() if line.strip()]
    return len(lines) > 1 and sum(bool(_OPTION.match(line)) for line in lines) > len(lines) / 2


def _is_loop(text: str) -> bool:
    sentences = [normalise(part) for part in _SENTENCES.split(text) if part.strip()]
    return len(sentences) >= _LOOP and len(set(sentences)) <= len(sentences) / 2


def _is_broken_off(text: str, labels: Collection[str]) -> bool:
    end = text.rstrip()
    if _OPEN_END.search(end[-3:]):
        return True
    last = end.rsplit(maxsplit=1)[-1]
    return " " in end and last in _UNFINISHED and last not in labels
