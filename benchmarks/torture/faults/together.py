"""Several processes in one folder, or on one store."""

import time

from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.faults.kills import STOPPED_S


def _count(e: Episode) -> int:
    return e.rng.randint(2, 4)


@fault("together: one folder", weight=3)
def share_folder(e: Episode) -> None:
    """Give the same command several times at once: one runs, the others say why they do not."""
    children = []
    for _ in range(_count(e)):
        children.append(e.start())
        time.sleep(e.rng.choice([0.0, e.rng.uniform(0, 2)]))
    codes = [e.end(child, 0, 2) for child in children]
    if 0 not in codes:
        e.problems.append(f"none of them came to its end: {codes}")
    for child, code in zip(children, codes, strict=True):
        if code == 2 and "another process is writing" not in child.stderr:
            e.problems.append(f"it was not said that the folder is in use: {child.stderr[-300:]}")
    e.finish()


@fault("together: one store", weight=3)
def share_store(e: Episode) -> None:
    """Run one task in several folders with one store: each request is sent once."""
    _share_store(e, kills=0)


@fault("together: one store, one killed", weight=3)
def share_store_killed(e: Episode) -> None:
    """Share a store as in `share_store`, and kill one of the processes."""
    _share_store(e, kills=1)


@fault("together: one store, one stopped", weight=2)
def share_store_stopped(e: Episode) -> None:
    """Share a store and suspend a process for a while: the others wait for what it claimed."""
    _share_store(e, kills=0, stops=True)


def _share_store(e: Episode, *, kills: int, stops: bool = False) -> None:
    e.sets["llm.store"] = e.folder / "shared.sqlite"
    e.ledger.latency_s = 0.05
    outs = [e.folder / f"out-{i}" for i in range(_count(e))]
    is_time: list[bool] = []
    e.ledger.when(e.at_request(), lambda: is_time.append(True))
    children = [e.start(out=out) for out in outs]
    while not is_time and any(child.is_running for child in children):
        time.sleep(0.005)
    victim = e.rng.choice(children)
    if kills:
        victim.kill()
        e.end(victim, 0)
    elif stops:
        victim.stop()
        time.sleep(e.rng.uniform(*STOPPED_S))
        victim.go_on(victim.pid)
    for child in children:
        if not (kills and child is victim):
            e.end(child, 0)
    e.out = outs[children.index(victim)]
    e.finish()
    e.check(*outs)
