"""ZeroGen's rules for cutting and dropping texts.

Ye et al. (ZeroGen, EMNLP 2022). They are made for a model that only continues a text. An LLM that
follows instructions rarely needs them, and the first rule cuts any text with a quotation.
"""

import re
from dataclasses import replace

from stepsynth._util.text import normalise
from stepsynth.records import Answers, Example, Rejected

MIN_WORDS = 10
MIN_QUESTION_WORDS = 5

_QUOTE = re.compile(r'["“”]')
_FULL_STOP = re.compile(r"[.!?](?!\S)|[。！？]")


def clean_row(row: Example, *, is_question: bool, condition: str = "") -> Example | Rejected:
    """Return the row with its text cut, or why it is dropped.

    A question ends at its first question mark, and must have one. It must have at least 5 words and
    not contain its answer. Any other text ends before its first double quote, else before its first
    line break, else with its last full stop. It must have at least 10 words. No text may be a copy
    of its condition.

    Args:
        row: The row as parsed.
        is_question: Whether the task's texts are questions.
        condition: What the text was written about, if anything.
    """
    text = _cut_question(row.text) if is_question else _cut(row.text)
    if not text:
        return Rejected("no_question" if is_question else "no_sentence", row.text)
    if len(text.split()) < (MIN_QUESTION_WORDS if is_question else MIN_WORDS):
        return Rejected("short", row.text)
    is_answer = isinstance(row.label, Answers)
    if is_answer and f" {normalise(str(row.label))} " in f" {normalise(text)} ":
        return Rejected("holds_answer", row.text)
    if normalise(text) in {normalise(condition), normalise(row.context or "")}:
        return Rejected("copy_of_condition", row.text)
    return replace(row, text=text)


def _cut(text: str) -> str:
    text = text.strip()
    if found := _QUOTE.search(text):
        return text[: found.start()].strip()
    if "\n" in text:
        return text.partition("\n")[0].strip()
    stops = [found.end() for found in _FULL_STOP.finditer(text)]
    return text[: stops[-1]] if stops else ""


def _cut_question(text: str) -> str:
    found = re.search("[?？]", text)
    return text[: found.end()].strip() if found else ""
