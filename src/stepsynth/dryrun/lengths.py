"""Text lengths, from gold rows: the length that prompts ask for, and the tokens of an answer."""

from collections.abc import Sequence

from stepsynth.methods import Method
from stepsynth.records import Dataset
from stepsynth.tasks import Task

SHORT, LONG, LONGEST = 0.1, 0.9, 0.95
"""Quantiles of the gold texts: prompts ask for lengths between the first two, and an answer gets
tokens for the third."""
FEWEST_TOKENS = 192
TOKENS_A_BYTE = 2 / 3
"""English has four bytes per token; languages that tokenizers know less have two or fewer."""
MARGIN, STEP = 64, 64
"""Tokens for the markup around a text; rounding to steps keeps bounds equal if a row is added."""
SPACED = 12
"""Characters per word above which a language is taken to put no spaces between words."""


def fit_task(task: Task, method: Method, mine: Dataset) -> Task:
    """Return the task with the length in words of most gold texts, if the method sees gold."""
    writer = method.parts[-1]  # of a mix, the one that writes rows
    sees_gold = getattr(writer, "sees", "none") != "none"
    if task.length is not None or not sees_gold or not mine:
        return task
    texts = [row.text for row in mine]
    words = sorted(len(text.split()) for text in texts)
    if sum(map(len, texts)) > SPACED * sum(words):
        return task
    band = _round(_share(words, SHORT)), _round(_share(words, LONG))
    return task.model_copy(update={"length": band})


def text_tokens(mine: Dataset) -> int | None:
    """Return the most tokens that a text like the gold ones needs; None: no gold texts."""
    if not mine:
        return None
    longest = _share(sorted(len(row.text.encode()) for row in mine), LONGEST)
    needed = max(FEWEST_TOKENS, MARGIN + round(TOKENS_A_BYTE * longest))
    return -(-needed // STEP) * STEP


def _share(sizes: Sequence[int], share: float) -> int:
    return sizes[round(share * (len(sizes) - 1))]


def _round(words: int) -> int:
    """Round a number of words, from 10 on to a multiple of 5."""
    return max(1, words) if words < 10 else 5 * round(words / 5)
