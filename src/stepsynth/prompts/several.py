"""A parser of answers with several texts, each between tags. It raises on no text.

LLMs forget tags, number the texts instead, or write tags within a text. A part that is not clearly
one whole text is marked, so that half a text never becomes a row.
"""

import json
import re
from dataclasses import dataclass, replace

from stepsynth._util.text import clean_answer
from stepsynth.prompts.parsing import read_answer
from stepsynth.prompts.refusals import is_refusal
from stepsynth.prompts.structured import looks_structured, read_value
from stepsynth.prompts.wrapping import unfence
from stepsynth.records import Rejected

_TAG = re.compile(r"<(/?)text(?:[ \t][^<>\n]{0,60}|\d{1,3})?>", re.I)
_NUMBER = re.compile(r"^[ \t]*(?:[*#]{1,4}[ \t]{0,4})?(\d{1,3})[.):][*]{0,2}[ \t]+(?=\S)", re.M)
_LINE_START = re.compile(r"^[^\S\n]*(?=<)", re.M)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the texts of an answer.

    Attributes:
        text: The text between its tags.
        is_open: It has no closing tag: it is cut off if the answer was.
        is_broken: Its tags do not match, so its end is not known.
    """

    text: str
    is_open: bool = False
    is_broken: bool = False


def split_texts(completion: str, *, truncated: bool = False) -> list[Part] | Rejected:
    """Return the texts of an answer, in their order.

    Args:
        completion: What the LLM wrote: texts between <text> and </text>, or a numbered or a JSON
            list of two or more.
        truncated: The LLM was cut off; its last text is open.

    Returns:
        One part or more, or `Rejected`: "too_large", "refusal", "truncated", or "no_texts" if the
        texts cannot be told apart.
    """
    text = read_answer(completion, fenced=False)
    if isinstance(text, Rejected):
        return text
    parts = _tagged(text) or _numbered(text) or _json_list(unfence(text).strip())
    if parts:
        return parts
    if is_refusal(text):
        return Rejected("refusal", completion)
    return Rejected("truncated" if truncated else "no_texts", completion)


def _tagged(text: str) -> list[Part]:
    """Return what stands between tags; tags that open and close within a line belong to a text."""
    parts: list[Part] = []
    depth, start, unclosed = 0, 0, -1
    begins = {found.end() for found in _LINE_START.finditer(text)}
    for tag in _TAG.finditer(text):
        if tag[1] and depth == 0 and unclosed >= 0:
            # One closing tag too many: what looked like a forgotten tag was a tag within a text.
            parts[unclosed:] = [replace(part, is_broken=True) for part in parts[unclosed:]]
            unclosed = -1
        elif tag[1]:
            if depth == 1:
                parts.append(Part(text[start : tag.start()].strip()))
            depth = max(0, depth - 1)
        elif depth and tag.start() not in begins:
            depth += 1
        else:
            if depth:
                unclosed = len(parts)
                parts.append(Part(text[start : tag.start()].strip(), is_broken=depth > 1))
            start, depth = tag.end(), 1
    if depth:
        parts.append(Part(text[start:].strip(), is_open=True, is_broken=depth > 1))
    return _without_numbers(parts)


def _without_numbers(parts: list[Part]) -> list[Part]:
    """Return the parts without their numbers, where each text begins with its own."""
    numbers = [_NUMBER.match(part.text) for part in parts]
    said = [found and int(found[1]) for found in numbers]
    if len(parts) < 2 or said != list(range(1, len(parts) + 1)):
        return parts
    ends = [found.end() for found in numbers if found]
    return [replace(part, text=part.text[end:]) for part, end in zip(parts, ends, strict=True)]


def _numbered(text: str) -> list[Part]:
    """Return what stands after 1., 2., 3. and so on; other numbers belong to the texts."""
    numbers: list[re.Match[str]] = []
    for found in _NUMBER.finditer(text):
        if int(found[1]) == len(numbers) + 1:
            numbers.append(found)
    if len(numbers) < 2:
        return []
    ends = [*(found.start() for found in numbers[1:]), len(text)]
    texts = [text[found.end() : end].strip() for found, end in zip(numbers, ends, strict=True)]
    return [*map(Part, texts[:-1]), Part(texts[-1], is_open=True)]


def _json_list(text: str) -> list[Part]:
    value = read_value(text) if looks_structured(text) else None
    if not isinstance(value, list) or len(value) < 2:
        return []
    if not all(isinstance(item, (str, dict)) for item in value):
        return []
    listed = (item if isinstance(item, str) else json.dumps(item) for item in value)
    return [Part(clean_answer(item)) for item in listed]
