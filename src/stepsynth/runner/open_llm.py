"""The LLM of a run with its store, its caps, the other LLMs of single phases, and its shards."""

from collections.abc import Callable
from functools import partial

from stepsynth.executors import ExecutorSettings, at_work
from stepsynth.executors.local import Local
from stepsynth.llm import ShardOrder, ShardPlan, ShardReport, answer_order, open_backends
from stepsynth.llm.backends.scripted import Rule, Scripted
from stepsynth.llm.store import Store, absorb_all
from stepsynth.runfolder import RunFolder
from stepsynth.runner.usage import CountedLLM
from stepsynth.taskfile import Config

# For methods that ask no LLM: it matches no prompt, so an unexpected request fails.
_NO_LLM = Scripted(rules=(Rule(pattern=r"(?!)", answers=("",)),))


def open_llm(
    config: Config,
    folder: RunFolder,
    run: str,
    *,
    executor: ExecutorSettings | None = None,
    on_notice: Callable[[str], None] = lambda _: None,
) -> CountedLLM:
    """Return the LLM of a configuration, with the store of its completions.

    Args:
        config: The configuration; without an `llm` section the LLM answers nothing.
        folder: The run folder; it holds the store, unless `llm.store` names another file.
        run: Digest of the run's identity, under which the store records the spending.
        executor: Where shards are worked on; None: in processes of this machine.
        on_notice: Told in a sentence what the user should know, now and later.

    Raises:
        ConfigError: The LLM cannot be used as it is set.
        RunFolderError: The store cannot be used.
    """
    settings, seed = config.llm or _NO_LLM, config.random_seed
    store = None
    is_paid = any(each.stores_completions for each in settings.endpoints())
    if is_paid and config.llm is not None:
        path = settings.store_path(folder.store)
        store = Store(path)
        # Of a coordinator that was killed: its answers are paid for.
        for notice in absorb_all(folder.shard_stores, path, run):
            on_notice(notice)
    main, phases = open_backends(settings, seed)
    where = executor or Local()
    plan = ShardPlan(
        settings,
        settings.num_shards,
        folder.shard_stores,
        open_workers=partial(where.open, settings.num_shards, folder.shard_stores),
        answer=answer,
    )
    llm = CountedLLM(
        main,
        random_seed=seed,
        store=store,
        run=run,
        limits=None if config.llm is None else config.limits,
        phases=phases,
        shards=plan if plan.number > 1 else None,
    )
    llm.on_notice = on_notice
    return llm


def answer(order: ShardOrder) -> ShardReport:
    """Have a block of requests answered, in a process of an executor."""
    try:
        with at_work():
            return answer_order(order)
    except KeyboardInterrupt:
        return ShardReport(is_stopped=True)
