"""Faults of a comparison and its worker processes: kills, stops and interrupts."""

import os
import signal
import time
from collections.abc import Callable

from benchmarks.torture import hooks
from benchmarks.torture.child import Child
from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.faults.kills import (
    interrupt,
    kill,
    stop_a_while,
    strike_after,
    strike_at_place,
    strike_at_request,
)

_WORKERS_S = 60.0


def _kill_worker(e: Episode, child: Child) -> None:
    """Kill a worker process of a command, as soon as there is one."""
    ends = time.monotonic() + _WORKERS_S
    while child.is_running and time.monotonic() < ends:
        if workers := child.workers():
            os.kill(e.rng.choice(workers), signal.SIGKILL)
            e.lose(2.0)
            return
        time.sleep(0.005)


def _add(name: str, weight: int, start: Callable[[Episode], Child], *codes: int) -> None:
    def do(e: Episode) -> None:
        child = start(e)
        child.was_killed = KILL in name
        e.end(child, 0, *codes)
        e.finish()

    fault(f"compare: {name}", scene="compare", weight=weight)(do)


KILL = "killed"
_add(KILL, 2, lambda e: strike_at_request(e, kill))
_add(f"{KILL} at some time", 2, lambda e: strike_after(e, kill, e.rng.uniform(0, 9)))
_add("Ctrl-C while asking", 1, lambda e: strike_at_request(e, interrupt), 130)
_add("Ctrl-C", 3, lambda e: strike_after(e, interrupt, e.rng.uniform(0.2, 9)), 130)
_add("Ctrl-C while training", 1, lambda e: strike_at_place(e, hooks.TRAINING, "SIGINT"), 130)
_add("Ctrl-C at the page", 1, lambda e: strike_at_place(e, hooks.PAGE, "SIGINT"), 130)


@fault("compare: process killed while starting", scene="compare", weight=2)
def kill_starting(e: Episode) -> None:
    """Kill a worker process while Python starts or loads libraries in it."""
    child = e.start()
    ends = time.monotonic() + _WORKERS_S
    while child.is_running and not child.workers() and time.monotonic() < ends:
        time.sleep(0.005)
    time.sleep(e.rng.uniform(0, 1.5))
    _kill_worker(e, child)
    e.end(child, 0)
    e.finish()


@fault("compare: process killed while asking", scene="compare", weight=2)
def kill_asking(e: Episode) -> None:
    """Kill a worker process while it sends requests."""
    child = strike_at_request(e, lambda child: _kill_worker(e, child))
    e.end(child, 0)
    e.finish()


@fault("compare: process killed while training", scene="compare", weight=2)
def kill_training(e: Episode) -> None:
    """Kill one or two worker processes while they train."""
    order = hooks.at(hooks.TRAINING, e.marks(), times=e.rng.choice([1, 2]))
    child = e.start(orders=[order])
    code = e.end(child, 0)
    e.lose(120.0)  # the time of the kill is unknown
    if code == 0 and "its process was killed" not in child.stderr:
        e.problems.append("nothing was said of the killed process")
    e.finish()


@fault("compare: process killed three times", scene="compare")
def kill_three_times(e: Episode) -> None:
    """Kill worker processes that train, so often that a run is given up."""
    child = e.start(orders=[hooks.at(hooks.TRAINING, e.marks(), times=5)])
    code = e.end(child, 2)
    e.lose(120.0)
    if code == 2 and "was given up: its process was killed 3 times" not in child.stderr:
        e.problems.append(f"it was not said who was given up: {child.stderr[-300:]}")
    e.finish()


@fault("compare: process stopped", scene="compare")
def stop_process(e: Episode) -> None:
    """Suspend a worker process for a while."""
    child = strike_at_place(e, hooks.TRAINING, "SIGSTOP")
    stop_a_while(e, child)
    e.end(child, 0)
    e.finish()


@fault("compare: caps changed", scene="compare")
def change_caps(e: Episode) -> None:
    """Allow fewer requests than the comparison needs, then enough."""
    needed = e.scene.known.requests.total()
    cap = e.rng.randrange(2, needed)
    e.run(0, 3, sets={"limits.requests": cap})
    if len(e.ledger.asked) > cap:
        e.problems.append(f"{len(e.ledger.asked)} requests were sent, {cap} were allowed")
    e.finish()
