"""Read which label an LLM chose. Never raises on any text."""

import re
from collections.abc import Mapping

from stepsynth._util.text import normalise
from stepsynth.prompts.parsing import parse_object, without_thinking
from stepsynth.prompts.refusals import is_refusal
from stepsynth.records import Rejected


def parse_choice(
    completion: str, labels: Mapping[str, str], *, truncated: bool = False
) -> str | Rejected:
    """Return the label that an output names: as JSON (`label`), alone, or in words.

    Args:
        completion: What the LLM wrote.
        labels: Label -> its word in prompts; either may be named.
        truncated: The LLM was cut off; a label that was named before counts.

    Returns:
        The label, or `Rejected`: "refusal", or "no_label" where none or several are named.
    """
    text = without_thinking(completion)
    by_name: dict[str, str] = {}
    for label, word in labels.items():
        by_name.setdefault(normalise(word), label)
    for label in labels:
        by_name[normalise(label)] = label
    # A judge explains first and decides last.
    lines = [line for line in text.splitlines() if line.strip()]
    parts = (*lines[-1:], text)
    for part in parts:
        fields = parse_object(part, ("label",), truncated=truncated)
        found = set() if isinstance(fields, Rejected) else _mentioned(fields["label"], by_name)
        if len(found) == 1:
            return found.pop()
    for part in parts:
        found = _mentioned(part, by_name)
        if len(found) == 1:
            return found.pop()
    return Rejected("refusal" if is_refusal(text) else "no_label", completion)


def _mentioned(text: str, by_name: Mapping[str, str]) -> set[str]:
    """Return the labels named in a text; of names within names ("not spam") the longest."""
    said = normalise(text)
    if said in by_name:
        return {by_name[said]}
    longest_first = sorted(filter(None, by_name), key=len, reverse=True)
    if not longest_first:
        return set()
    names = "|".join(map(re.escape, longest_first))
    return {by_name[name] for name in re.findall(rf"(?<!\w)(?<!not )(?:{names})(?!\w)", said)}
