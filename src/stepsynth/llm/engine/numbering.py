"""The numbers of requests: what decides beside the text which completion one is asked for."""

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from stepsynth.llm.core.types import Request
from stepsynth.llm.engine.endpoint import Endpoints


class Numbered(NamedTuple):
    """A request that can be sent from anywhere, and in any order.

    Attributes:
        request: With its draw.
        endpoint: Place of its LLM among those of the run.
        repeat: How often its prompt was asked before, where an LLM answers several at once.
    """

    request: Request
    endpoint: int = 0
    repeat: int = 0


class Numbering:
    """Numbers requests, which must come in their order, over the life of an `LLM`."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self.draws: Counter[str] = Counter()
        self._repeats: Counter[tuple[int, str, str]] = Counter()

    def next(self, r: Request) -> Numbered:
        """Return a request with its numbers."""
        place, repeat = self._endpoints.next(r), 0
        if not r.stream:
            return Numbered(r, place)
        draw = self.draws[r.stream]
        self.draws[r.stream] = draw + 1
        if self._endpoints.all[place].backend.group_size > 1:
            repeat = self._repeats[place, r.stream, r.prompt]
            self._repeats[place, r.stream, r.prompt] += 1
        return Numbered(replace(r, draw=draw), place, repeat)
