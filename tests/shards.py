"""Shards in threads: a pool, and what answers an order with a fake LLM."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from stepsynth.llm import Completion, Request, ShardOrder, ShardReport, answer_order
from tests.fakes import FakeBackend


class Threads(ThreadPoolExecutor):
    """A pool whose workers are threads of this process."""

    can_start = True

    def stop(self) -> None:
        """A thread cannot be stopped: it ends with its order."""


def answer_with(say: Callable[[Request], str | Completion]) -> Callable[[ShardOrder], ShardReport]:
    """Return what answers orders in the words of a function."""

    def answer(order: ShardOrder) -> ShardReport:
        backend = FakeBackend(say, concurrency=order.settings.live().concurrency)
        return answer_order(order, lambda _settings, _seed: (backend, {}))

    return answer
