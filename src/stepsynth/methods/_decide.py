"""Questions to the LLM about the label of a text, with gold rows as few-shot examples (shots).

Nearest shots follow Liu et al.: "What Makes Good In-Context Examples for GPT-3?", DeeLIO 2022, with
TF-IDF in place of their encoder; the nearest stands last, next to the question.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from stepsynth.llm import Request
from stepsynth.methods._method import Setup
from stepsynth.methods.fewgen import showable
from stepsynth.records import Example
from stepsynth.tasks import Task

ShotsFrom = Literal["nearest", "random"]


class Decisions:
    """Requests for the label of a text.

    Args:
        setup: Its `mine` are the pool of shots.
        shots: Gold rows in each prompt.
        shots_from: nearest: those most like the text; random: drawn anew for each text.
    """

    def __init__(self, setup: Setup, shots: int = 0, shots_from: ShotsFrom = "nearest") -> None:
        self._setup = setup
        self._number = shots
        self._from = shots_from
        self._pool: Sequence[Example] = showable(setup.mine, setup) if shots else ()

    def requests(self, rows: Sequence[Example]) -> list[Request]:
        """Return a request for each row, in order; a row is no shot of its own."""
        task = self._setup.task
        return [
            decide_request(row, task, shots=shots, stream="decide")
            for row, shots in zip(rows, self.shots(rows), strict=True)
        ]

    def shots(self, rows: Sequence[Example]) -> list[list[Example]]:
        """Return the shots for each row, the nearest last."""
        if not self._pool:
            return [[] for _ in rows]
        if self._from == "random":
            return [self._draw(row) for row in rows]
        return [
            found
            for start in range(0, len(rows), _AT_ONCE)
            for found in self._nearest(rows[start : start + _AT_ONCE])
        ]

    def _draw(self, row: Example) -> list[Example]:
        rng = self._setup.rng("shots", row.text, row.context)
        drawn = rng.sample(self._pool, min(self._number + 1, len(self._pool)))
        return [shot for shot in drawn if _joined(shot) != _joined(row)][: self._number]

    def _nearest(self, rows: Sequence[Example]) -> list[list[Example]]:
        vectorizer, vectors = self._index
        cosines = (vectorizer.transform(map(_joined, rows)) @ vectors.T).toarray()
        found: list[list[Example]] = []
        for row, own in zip(rows, cosines, strict=True):
            ranked = np.argsort(-own, kind="stable")[: self._number + 1]
            others = [shot for i in ranked if _joined(shot := self._pool[int(i)]) != _joined(row)]
            found.append(others[: self._number][::-1])
        return found

    @cached_property
    def _index(self) -> tuple[Any, Any]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        # Characters, so that texts without spaces between words have features too.
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform(map(_joined, self._pool))


def decide_request(
    row: Example, task: Task, *, shots: Sequence[Example] = (), stream: str = ""
) -> Request:
    """Return the request for the label of a row."""
    return Request(
        task.prompt("decide", row, shots=[show_shot(shot, task) for shot in shots]),
        stream=stream,
        tags={"kind": "decide", "row": row.id},
        schema=task.answer_schema("decide"),
    )


_AT_ONCE = 1024
"""Rows whose cosines to all shots are held in memory together."""


def show_shot(shot: Example, task: Task) -> dict[str, str]:
    """Return the fields of a shot in the prompt `decide`, with the answer that is wanted."""
    answer = json.dumps(task.answer_of(shot.label), ensure_ascii=False)
    return {"text": shot.text, "context": shot.context or "", "answer": answer}


def _joined(row: Example) -> str:
    return f"{row.text}\n{row.context or ''}"
