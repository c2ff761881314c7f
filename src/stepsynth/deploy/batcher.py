"""Rows of several requests, answered together in a thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from stepsynth.records import Example

T = TypeVar("T")


class Batcher(Generic[T]):
    """Answers the rows that wait at the same time together.

    Args:
        answer: Returns an answer for each row; called in a thread, one call at a time.
        most: Rows that are enough for a call; a request of more is not divided.
    """

    def __init__(self, answer: Callable[[Sequence[Example]], list[T]], most: int) -> None:
        self._answer = answer
        self._most = most
        self._waiting: deque[tuple[Sequence[Example], asyncio.Future[list[T]]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, rows: Sequence[Example]) -> list[T]:
        """Return the answers to rows; an error is that of their own call alone."""
        answered: asyncio.Future[list[T]] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, answered))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answered

    async def _work(self) -> None:
        """Answer what waits, and what has come meanwhile, until nothing is left."""
        while self._waiting:
            taken = [self._waiting.popleft()]
            while self._waiting and sum(len(rows) for rows, _ in taken) < self._most:
                taken.append(self._waiting.popleft())
            await self._answer_all(taken)

    async def _answer_all(
        self, taken: Sequence[tuple[Sequence[Example], asyncio.Future[list[T]]]]
    ) -> None:
        # Whoever asked may have gone.
        taken = [each for each in taken if not each[1].done()]
        rows = [row for own, _ in taken for row in own]
        if not taken:
            return
        try:
            said = await asyncio.to_thread(self._answer, rows)
        except Exception as error:
            if len(taken) > 1:  # one of them may have been the cause
                for each in taken:
                    await self._answer_all([each])
            elif not taken[0][1].done():
                taken[0][1].set_exception(error)
            return
        place = 0
        for own, answered in taken:
            if not answered.done():
                answered.set_result(said[place : place + len(own)])
            place += len(own)
