"""Overlapping windows over long passages, and one answer per question from all its windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepsynth.metrics import Spans
from stepsynth.records import Answers, Example

BEST = 20
"""Best starts, and best ends, of a window that are combined into candidates."""


@dataclass(frozen=True)
class Window:
    """A question with a part of its passage.

    Attributes:
        row: Index of the question among the examples.
        inputs: Token ids, not padded.
        offsets: (n_tokens, 2) character offsets in the passage; -1 for tokens outside it.
        first: Position of the token that stands for "no answer here".
    """

    row: int
    inputs: dict[str, Any]
    offsets: Any
    first: int


def make_windows(
    tokenizer: Any, examples: Sequence[Example], *, limit: int, stride: int
) -> list[Window]:
    """Return the windows of all questions, in order.

    Args:
        tokenizer: A fast tokenizer.
        examples: Questions (`text`) with passages (`context`).
        limit: Most tokens of a window.
        stride: Tokens that neighbouring windows share.
    """
    # At least half of a window is passage, whatever the question's length.
    most = max(1, limit // 2 - 4)
    short = [_cut(tokenizer, row.text.lstrip(), most) for row in examples]
    room = limit - tokenizer.num_special_tokens_to_add(pair=True) - most
    encoded = tokenizer(
        short,
        [row.context or "" for row in examples],
        truncation="only_second",
        max_length=limit,
        stride=min(stride, room * 2 // 3),  # independent of the other questions
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding=False,
    )
    windows: list[Window] = []
    for i, row in enumerate(encoded["overflow_to_sample_mapping"]):
        of_passage = np.array([part == 1 for part in encoded.sequence_ids(i)])
        offsets = np.where(of_passage[:, None], np.array(encoded["offset_mapping"][i]), -1)
        inputs = {k: encoded[k][i] for k in tokenizer.model_input_names if k in encoded}
        special = tokenizer.cls_token_id
        ids = inputs["input_ids"]
        windows.append(Window(row, inputs, offsets, ids.index(special) if special in ids else 0))
    return windows


def _cut(tokenizer: Any, text: str, most: int) -> str:
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)[
        "offset_mapping"
    ]
    return text if len(offsets) <= most else text[: offsets[most - 1][1]]


def training_row(window: Window, example: Example) -> dict[str, Any]:
    """Return a window's inputs with the start and end of its answer, in tokens.

    A window that does not hold the whole answer is trained to point at its `first` token.
    """
    assert isinstance(example.label, Answers)
    start = example.label.starts[0]
    end = start + len(example.label.texts[0])
    begins, ends = window.offsets[:, 0], window.offsets[:, 1]
    inside = np.flatnonzero((begins < end) & (ends > start) & (begins >= 0) & (ends > begins))
    passage = np.flatnonzero(ends > begins)
    # Some characters are in no token (spaces, controls), so compare with the window's own border:
    # it must not cut the answer.
    has_all = (
        len(inside)
        and (begins[inside[0]] <= start or inside[0] > passage[0])
        and (ends[inside[-1]] >= end or inside[-1] < passage[-1])
    )
    first, last = (int(inside[0]), int(inside[-1])) if has_all else (window.first, window.first)
    return window.inputs | {"start_positions": first, "end_positions": last}


def find_spans(
    windows: Sequence[Window],
    starts: Sequence[Any],
    ends: Sequence[Any],
    examples: Sequence[Example],
    *,
    longest: int,
) -> Spans:
    """Return the best answer of each question over all its windows.

    Args:
        windows: The windows of all questions.
        starts: Each window's start scores, (n_tokens,).
        ends: Each window's end scores.
        examples: The questions with their passages.
        longest: Most tokens of an answer.
    """
    # A span that stands in two windows is one candidate.
    candidates: list[dict[tuple[int, int], float]] = [{} for _ in examples]
    for window, start, end in zip(windows, starts, ends, strict=True):
        scores = candidates[window.row]
        for span, score in _candidates(window, start, end, longest):
            scores[span] = max(score, scores.get(span, score))
    labels: list[str] = []
    places: list[int] = []
    shares: list[float] = []
    for scores, row in zip(candidates, examples, strict=True):
        first, last = max(scores, key=lambda span: (scores[span], -span[0]), default=(0, 0))
        answer = (row.context or "")[first:last]
        labels.append(answer.strip())
        # Some tokenizers count the space before a word as a part of it.
        places.append(first + len(answer) - len(answer.lstrip()))
        total = sum(np.exp(score - scores[first, last]) for score in scores.values())
        shares.append(float(1 / total) if scores else 0.0)
    return Spans(labels, places, shares)


def _candidates(
    window: Window, start: Any, end: Any, longest: int
) -> list[tuple[tuple[int, int], float]]:
    """Return a window's best answers, (first character, end character), with their scores."""
    of_passage = np.flatnonzero(window.offsets[:, 1] > window.offsets[:, 0])
    if not len(of_passage):
        return []
    firsts = of_passage[np.argsort(-start[of_passage], kind="stable")[:BEST]]
    lasts = of_passage[np.argsort(-end[of_passage], kind="stable")[:BEST]]
    scores = start[firsts][:, None] + end[lasts][None, :]
    length = lasts[None, :] - firsts[:, None]
    rows, columns = np.nonzero((length >= 0) & (length < longest))
    return [
        (
            (int(window.offsets[firsts[i], 0]), int(window.offsets[lasts[j], 1])),
            float(scores[i, j]),
        )
        for i, j in zip(rows, columns, strict=True)
    ]
