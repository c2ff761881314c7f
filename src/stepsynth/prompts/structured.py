"""JSON in LLM output, repaired if needed: a comma too many, Python's quotes, a cut-off end.

Invalid JSON is repaired by `json_repair`, which makes something of any text. So it is only given
text that begins like a value, and little enough to take hardly any time.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from stepsynth._util.text import clean_answer

MOST_REPAIRED = 8_000
"""Most characters of a text that is repaired; repair takes quadratic time."""

# Numbers stay as they are written: 1.50 is not 1.5.
_DECODER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)
BEGINS = r"(?:\{\s*(?:[\"'“]?[^\W\d_][\w -]{0,40}[\"'”]?|[\"']\d{1,3}[\"'])\s*:|\[\s*[\"'“{\[])"
"""Pattern of the beginning of an object or a list of texts."""
_BEGINS = re.compile(BEGINS)


def looks_structured(text: str) -> bool:
    """Say whether a text begins like an object or a list of texts; "[laughs] Well" does not."""
    return bool(_BEGINS.match(text))


def read_value(text: str, *, is_cut: bool = False) -> Any:
    """Return the value that a text begins with, repaired if needed; None: there is none.

    Args:
        text: What was written, from its { or [ on.
        is_cut: Repair an unclosed value too; its last text may then be incomplete.
    """
    try:
        return _DECODER.raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    end = len(text) if is_cut else text.rfind("}" if text[:1] == "{" else "]") + 1
    if not 0 < end <= MOST_REPAIRED or not looks_structured(text):
        return None
    import json_repair  # takes a tenth of a second, which only commands that read answers pay

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
    return clean_answer(str(value)) if isinstance(value, (str, int, float)) else None


def strings(value: object) -> list[str]:
    """Return the texts in a value; the fields of one object in a list are one item."""
    if isinstance(value, str):
        return [clean_answer(value)]
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in strings(inner)]
    if not isinstance(value, list):
        return []
    items: list[str] = []
    for inner in value:
        texts = strings(inner)
        items += [": ".join(texts)] if isinstance(inner, Mapping) and texts else texts
    return items
