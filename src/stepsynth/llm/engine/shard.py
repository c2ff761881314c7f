"""One shard, in a process of its own: it answers a block of requests into a store of its own."""

from collections.abc import Callable
from typing import Any

from stepsynth.errors import StepsynthError
from stepsynth.llm.core.backend import Backend, LLMSettings, open_backends
from stepsynth.llm.core.types import Failed
from stepsynth.llm.engine.llm import LLM
from stepsynth.llm.engine.sharding import ShardOrder, ShardReport
from stepsynth.llm.store.merge import add_digests, digest
from stepsynth.llm.store.store import Store

Open = Callable[[LLMSettings, int], tuple[Backend[Any], dict[str, list[Backend[Any]]]]]


def answer_order(order: ShardOrder, open_all: Open = open_backends) -> ShardReport:
    """Have a block of requests answered; the answers are in the store, the rest in the report.

    Args:
        order: The block.
        open_all: Returns the backends of settings.
    """
    report, digests = ShardReport(), 0
    llm: LLM | None = None
    try:
        backend, phases = open_all(order.settings, order.random_seed)
        llm = LLM(
            backend,
            random_seed=order.random_seed,
            store=Store(order.store),
            run=order.run,
            limits=order.limits,
            phases=phases,
            has_answered=order.has_answered,
        )
        llm.on_notice = report.notices.append
        total = len(order.requests)
        for said in llm.stream_numbered(iter(order.requests), phase=order.phase, total=total):
            if isinstance(said, Failed):
                report.failed.append(said)
            else:
                digests = add_digests((digests, digest(said.request_id, said.to_stored())))
        report.digests = digests
    except KeyboardInterrupt:
        report.is_stopped = True
    except StepsynthError as error:
        report.error = error
    finally:
        if llm is not None:
            report.retries, report.setbacks = llm.usage.retries, llm.usage.setbacks
            llm.close()
    return report
