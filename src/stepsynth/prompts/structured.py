"""Read what an LLM wrote as JSON, or nearly so: a comma too many, Python's quotes, a cut-off end.

What is no JSON is mended by `json_repair`, which makes something of any text; so only what begins
as a value does is given to it, and only so much that it takes no time to speak of.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from stepsynth._util.text import clean

MOST_REPAIRED = 8_000
"""Characters of a text that is mended; that takes quadratic time in them."""

# Numbers stay as they are written: 1.50 is not 1.5.
_DECODER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)
BEGINS = r"(?:\{\s*(?:[\"'“]?[^\W\d_][\w -]{0,40}[\"'”]?|[\"']\d{1,3}[\"'])\s*:|\[\s*[\"'“{\[])"
"""How an object or a list of texts begins, as a pattern."""
_BEGINS = re.compile(BEGINS)


def looks_structured(text: str) -> bool:
    """Say whether a text begins as an object or a list of texts does; "[laughs] Well" does not."""
    return bool(_BEGINS.match(text))


def read_value(text: str, *, is_cut: bool = False) -> Any:
    """Return the value that a text begins with, mended where it needs to be; None: there is none.

    Args:
        text: What was written, from its { or [ on.
        is_cut: Mend a value that is not closed too; its last text may then be half.
    """
    try:
        return _DECODER.raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    end = len(text) if is_cut else text.rfind("}" if text[:1] == "{" else "]") + 1
    if not 0 < end <= MOST_REPAIRED or not looks_structured(text):
        return None
    import json_repair  # takes a tenth of a second, which no command pays that reads no answer

    try:
        return json_repair.loads(text[:end], skip_json_loads=True)
    except (ValueError, RecursionError):
        return None


def read_fields(text: str) -> dict[str, str]:
    """Return the texts and numbers of the first object in a text, by key in lower case."""
    start = text.find("{")
    value: Any = read_value(text[start:]) if start >= 0 else None
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, Mapping):
        return {}
    return {str(k).casefold(): said for k, v in value.items() if (said := as_text(v)) is not None}


def as_text(value: object) -> str | None:
    """Return a text or a number as text; None: it is something else."""
    if isinstance(value, bool):
        return str(value).lower()
    return clean(str(value)) if isinstance(value, (str, int, float)) else None


def strings(value: object) -> list[str]:
    """Return the texts in a value; the fields of one object in a list are one item."""
    if isinstance(value, str):
        return [clean(value)]
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in strings(inner)]
    if not isinstance(value, list):
        return []
    items: list[str] = []
    for inner in value:
        texts = strings(inner)
        items += [": ".join(texts)] if isinstance(inner, Mapping) and texts else texts
    return items
