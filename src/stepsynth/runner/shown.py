"""Which gold texts stood in prompts, and to which LLM."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from stepsynth._util.text import WORD
from stepsynth.records import Example

SHORTEST = 12
"""Characters of a text that is looked for: shorter ones stand in prompts by chance."""

_WORD = re.compile(WORD)


class ShownGold:
    """Texts and contexts of gold rows that are looked for in every prompt; white space may differ.

    One is looked for only where its rarest word stands: this runs for every prompt.

    Args:
        rows: The gold rows.

    Attributes:
        texts: LLM -> texts that stood in prompts to it, for every LLM that was asked.
        contexts: LLM -> contexts that did.
    """

    def __init__(self, rows: Iterable[Example] = ()) -> None:
        rows = list(rows)
        self.texts: dict[str, set[str]] = {}
        self.contexts: dict[str, set[str]] = {}
        self._texts = _by_rarest_word(row.text for row in rows)
        self._contexts = _by_rarest_word(row.context or "" for row in rows)

    def look(self, prompt: str, llm: str) -> None:
        """Look for them in a prompt to an LLM."""
        spaced = " ".join(prompt.split())
        words = set(_WORD.findall(spaced))
        for index, found in ((self._texts, self.texts), (self._contexts, self.contexts)):
            there = found.setdefault(llm, set())
            for word in index.keys() & words:
                there.update(text for text in index[word] if text in spaced)


def _by_rarest_word(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return the rarest word of a text -> the texts, each once, with single spaces."""
    spaced = sorted({" ".join(text.split()) for text in texts})
    words = {text: set(_WORD.findall(text)) for text in spaced if len(text) >= SHORTEST}
    counts = Counter(word for own in words.values() for word in own)
    found: dict[str, list[str]] = defaultdict(list)
    for text, own in words.items():
        if own:
            found[min(own, key=lambda word: (counts[word], -len(word), word))].append(text)
    return found
