"""Parsers of LLM output: one text, a list of rationales, or an object. They raise on no text.

LLMs add to an answer what nobody asked for: reasoning, "Sure, here is ...", quotes, a code fence,
the label in brackets, JSON around it. All of that is stripped. What is left is the text, or the
output is `Rejected` with a reason. Time is linear in the output.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from stepsynth._util.reasoning import split_reasoning
from stepsynth._util.text import DIRECTION_MARKS, clean_answer, normalise
from stepsynth.prompts.refusals import is_refusal
from stepsynth.prompts.structured import (
    BEGINS,
    looks_structured,
    read_fields,
    read_value,
    strings,
)
from stepsynth.prompts.talk import drop_talk, talk_of
from stepsynth.prompts.wrapping import HEAD, Wrapping, unfence, unquote, wrapping_of
from stepsynth.records import Rejected

MOST_CHARACTERS = 100_000
"""Most characters of an output, some 25,000 tokens; a longer one is no text to learn from."""

SHORTEST_COPY = 20
"""Fewest characters of a source whose copy is told from the beginning of a text."""

_BULLET = r"[-*•·・–—▪◦‣●■□◆◇▶►➤✓✔]"
_NUMBER = (
    r"(?:[(（]?\d{1,3}\s?[.)．）、](?!\d)|[(（]\d{1,3}[)）]|\d{1,3}\s?[:：](?!\d)|\d{1,3} [-–]|"
    r"\d{1,3}[-–ـ](?=\s)|[①-⑳㈠-㈩]|[一二三四五六七八九十]{1,3}、)"
)
_ITEM = re.compile(
    rf"(?:{_BULLET}\s+|{_BULLET}\s*(?=\*\*|[^\x00-\x7f])|\*{{0,3}}{_NUMBER}\s*|[a-z][.)]\s+)(?P<item>\S.*)",
    re.I,
)
_BULLETED = re.compile(
    rf"\A(?:{_BULLET}[ \t]+(?=[^\n]+\Z)|\d{{1,2}}[.)][ \t]+(?=[\"“][^\"“”\n]+[\"”]\Z))"
)
"""A bullet before a text of one line, or a number before a quoted one."""
_MARKED_ENDS = re.compile(rf"(?m)^[{DIRECTION_MARKS}\ufeff]+|[{DIRECTION_MARKS}]+$")
_BEFORE_COPY = re.compile(r"[\W_]{0,8}(?:[^\W\d_][\w -]{0,40}[:：])?[\W_]{0,8}")
_AFTER_COPY = re.compile(r"[\"”'’»*_]{0,4}[ \t]*\n\s*(?=\S)")
"""What stands before and after a copy of a source: a heading, quotes; a line break."""
_ANNOUNCED = re.compile(rf"[^\n:：]{{1,200}}[:：]\s{{1,4}}(?={BEGINS})")
_INLINE_NUMBER = re.compile(r"(?:^|(?<=[\s.;。；]))[(（]?\d{1,2}[.)、．）](?!\d)\s*(?=\S)")


def parse_text(
    completion: str,
    *,
    text_name: str = "",
    labels: Iterable[str] = (),
    truncated: bool = False,
    context_name: str = "",
    sources: Sequence[str] = (),
    asked: str = "",
) -> str | Rejected:
    """Return the one text that was asked for.

    Args:
        completion: What the LLM wrote.
        text_name: What it was asked to write; a heading of that name is stripped ("Review: ...").
        labels: Labels and label words; a tag of them at the end is stripped ("(Positive)").
        truncated: The LLM was cut off before it ended; half a text is no text.
        context_name: What the text is written for.
        sources: Texts that it is written from, if any: a context, a text that it is to be like.
        asked: The rest of the request, normalised.

    Returns:
        The text, or `Rejected`: "truncated", "too_large", "refusal", "no_text" (JSON without one
        clear text), "empty", or what `Talk.find` finds: "meta" (talk about a text in its place),
        "bare_label", "echo", "options", "repetition", "broken_off".
    """
    if truncated:
        return Rejected("truncated", completion)
    text = _read(completion)
    if isinstance(text, Rejected):
        return text
    labels = tuple(labels)
    wrapping = wrapping_of(text_name, labels)
    # A quoted text may hold a tag and a tag may follow the quotes, so all is stripped twice.
    for _ in range(2):
        text = wrapping.take_off_heads(_take_off_sources(text, sources))
        if announced := _ANNOUNCED.match(text):
            text = text[announced.end() :]
        if looks_structured(text):
            folded = frozenset(label.strip().casefold() for label in labels)
            found = _text_of(read_value(text), wrapping.names, folded)
            if found is None:
                return Rejected("no_text", completion)
            text = found
        text = unquote(wrapping.take_off_tags(wrapping.take_off_tails(text)))
    text = unquote(_BULLETED.sub("", text.strip(), count=1))
    if wrapping.is_meta(text):
        return Rejected("meta", completion)
    if not _says_something(text):
        return Rejected("empty", completion)
    reason = talk_of(text_name, labels, context_name).find(text, sources=sources, asked=asked)
    return text if reason is None else Rejected(reason, completion)


def _take_off_sources(text: str, sources: Sequence[str]) -> str:
    """Return a text without a copy of a source before it, alone on its lines.

    A short source may well begin another text: "Hello".
    """
    for source in sources:
        copy = source.strip()
        place = text.find(copy, 0, HEAD + len(copy))
        rest = _AFTER_COPY.match(text, place + len(copy))
        is_copy = (
            len(copy) >= SHORTEST_COPY and place >= 0 and _BEFORE_COPY.fullmatch(text, 0, place)
        )
        if is_copy and rest:
            return text[rest.end() :]
    return text


def parse_list(completion: str, *, truncated: bool = False) -> tuple[str, ...] | Rejected:
    """Return the items of a list: JSON, numbered, bulleted, or one a line.

    Args:
        completion: What the LLM wrote.
        truncated: The LLM was cut off; the last item is incomplete and is left out.

    Returns:
        The different items in order, without numbers, bullets, bold marks and quotes; or
        `Rejected`: "too_large", "refusal", "truncated", or "empty" if there is none.
    """
    text = _read(completion)
    if isinstance(text, Rejected):
        return text
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


def parse_reasons(
    completion: str, *, text_name: str, labels: Iterable[str], asked: str, truncated: bool = False
) -> tuple[str, ...] | Rejected:
    """Return the reasons in a list, without talk, bare labels, bare numbers and repetitions.

    Args:
        completion: What the LLM wrote.
        text_name: What they are reasons for.
        labels: Labels and label words.
        asked: The request, normalised.
        truncated: The LLM was cut off.
    """
    listed = parse_list(completion, truncated=truncated)
    if isinstance(listed, Rejected):
        return listed
    kept = drop_talk(listed, talk_of(text_name, tuple(labels)), asked=asked)
    return tuple(kept) or Rejected("meta", completion)


def parse_object(
    completion: str, keys: Sequence[str], *, truncated: bool = False
) -> dict[str, str] | Rejected:
    """Return the texts of an object with the given keys: JSON, or a line "Key: ..." for each.

    Args:
        completion: What the LLM wrote.
        keys: All must be there, with a text that is not empty.
        truncated: The LLM was cut off; an object that is complete still counts.

    Returns:
        Key -> text, or `Rejected`: "too_large", "refusal", "truncated", or "no_object".
    """
    text = _read(completion)
    if isinstance(text, Rejected):
        return text
    # If lines were cut off, the last one may be incomplete.
    fields = read_fields(text) or ({} if truncated else _named_lines(text, tuple(keys)))
    found = {key: unquote(fields.get(key.casefold(), "")).strip() for key in keys}
    if all(map(_says_something, found.values())):
        return found
    return Rejected("truncated" if truncated else "no_object", completion)


def read_answer(completion: str, *, fenced: bool = True) -> str | Rejected:
    """Return an output without reasoning and chat markers; `Rejected`: it is too large.

    Args:
        completion: What the LLM wrote.
        fenced: Strip a code fence too.
    """
    if len(completion) > MOST_CHARACTERS:
        return Rejected("too_large", completion)
    text = split_reasoning(_MARKED_ENDS.sub("", clean_answer(completion))).answer
    return unfence(text) if fenced else text


def _read(completion: str) -> str | Rejected:
    text = read_answer(completion)
    if isinstance(text, str) and is_refusal(text):
        return Rejected("refusal", completion)
    return text


def _text_of(value: Any, names: Collection[str], labels: Collection[str]) -> str | None:
    """Return the one text of a JSON value; None: it is a label, or not clear."""
    if isinstance(value, str):
        return None if value.strip().casefold() in labels else clean_answer(value)
    if isinstance(value, list):
        return _text_of(value[0], names, labels) if len(value) == 1 else None
    if not isinstance(value, Mapping):
        return None
    fields = {str(key).strip().casefold().replace("_", " "): value[key] for key in value}
    named = [fields[key] for key in fields if key in names]
    if len(named) == 1:
        return _text_of(named[0], names, labels)
    said = [_text_of(inner, names, labels) for inner in fields.values()]
    texts = [text for text in said if text and any(map(str.isalpha, text))]
    return texts[0] if len(texts) == 1 and not named else None


@lru_cache(maxsize=64)
def _named_line(keys: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, keys))
    return re.compile(rf"\W{{0,12}}({names})\W{{0,6}}?[:：]\W{{0,6}}?[ \t]*(\S.*)", re.I)


def _named_lines(text: str, keys: tuple[str, ...]) -> dict[str, str]:
    """Return the fields of the first whole object that lines name; its first key begins one.

    An answer may go on to another object, and break off in it: their fields are not to mix.
    """
    objects: list[dict[str, str]] = [{}]
    for found in filter(None, map(_named_line(keys).match, map(str.lstrip, text.splitlines()))):
        if found[1].casefold() == keys[0].casefold():
            objects.append({})
        objects[-1].setdefault(found[1].casefold(), _clean_item(found[2]))
    return next((fields for fields in objects if len(fields) == len(keys)), {})


def _says_something(text: str) -> bool:
    """Say whether there is a letter, a digit or a symbol such as an emoji, not only punctuation."""
    return any(c.isalnum() or unicodedata.category(c) == "So" for c in text)


def _items(text: str) -> list[str]:
    as_json = _json_items(text)
    if as_json:
        return as_json
    text = _PLAIN.take_off_tails(text)
    lines = [line for line in text.splitlines() if line.strip()]
    numbered: list[str] = []
    for line in lines:
        if found := _ITEM.match(line.strip()):
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
    return _PLAIN.take_off_heads(text).splitlines()


_PLAIN: Wrapping = wrapping_of("")
"""Patterns of additions around a list."""


def _json_items(text: str) -> list[str]:
    """Return the texts of a JSON list or object, also of one that was cut off."""
    starts = [i for i in (text.find("["), text.find("{")) if i >= 0]
    if not starts or text[: min(starts)].count("\n") > 2:
        return []
    return strings(read_value(text[min(starts) :], is_cut=True))


def _clean_item(item: str) -> str:
    for _ in range(2):  # "A) 1. ..."
        nested = _ITEM.match(item.lstrip())
        item = nested["item"] if nested else item
    item = re.sub(r"\*\*(.+?)\*\*|__(.+?)__", lambda m: m[1] or m[2], item)
    return unquote(item.strip().rstrip(",")).strip().strip("*").strip()
