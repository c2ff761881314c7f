"""Kill -9, SIGSTOP and Ctrl-C in every phase of a run."""

import time
from collections.abc import Callable

from benchmarks.torture import hooks
from benchmarks.torture.child import Child
from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.server import LATENCY_S

WRITES = 70
"""Fewest changes of files that a run makes."""
STOPPED_S = (0.2, 3.0)
_STOP_LIMIT_S = 60.0


def strike_at_request(
    e: Episode, strike: Callable[[Child], None], kind: str | None = None
) -> Child:
    """Start the command, and call `strike` at a random request or a moment later."""
    wait_s = e.rng.choice([0.0, e.rng.uniform(0, 0.05)])
    due: list[bool] = []
    e.ledger.when(e.at_request(kind), lambda: due.append(True))
    child = e.start()
    while child.is_running and not due:
        time.sleep(0.002)
    time.sleep(wait_s)
    strike(child)
    return child


def strike_after(e: Episode, strike: Callable[[Child], None], seconds: float) -> Child:
    """Start the command, and call `strike` after a number of seconds."""
    child = e.start()
    ends = time.monotonic() + seconds
    while child.is_running and time.monotonic() < ends:
        time.sleep(0.002)
    strike(child)
    return child


def strike_at_place(e: Episode, where: tuple[str, str], name: str) -> Child:
    """Start the command, and send it a signal when it reaches a place in the code."""
    after_s = e.rng.choice([0.0, e.rng.uniform(0, 0.3)])
    return e.start(orders=[hooks.at(where, e.marks(), signal=name, after_s=after_s)])


def strike_before_write(e: Episode, name: str) -> Child:
    """Start the command, and send it a signal before a random change of a file."""
    order = hooks.before_write(e.rng.randint(1, WRITES), e.out, e.marks(), signal=name)
    return e.start(orders=[order])


def kill(child: Child) -> None:
    """Send SIGKILL (kill -9) to a command."""
    child.kill()


def interrupt(child: Child) -> None:
    """Send Ctrl-C to a command."""
    child.interrupt()


def stop_a_while(e: Episode, child: Child) -> None:
    """Wait until a process of a command is suspended, and resume it later."""
    ends = time.monotonic() + _STOP_LIMIT_S
    while child.is_running and time.monotonic() < ends:
        stopped = [pid for pid in child.processes() if child.is_stopped(pid)]
        if stopped:
            time.sleep(e.rng.uniform(*STOPPED_S))
            for pid in stopped:
                child.go_on(pid)
            return
        time.sleep(0.02)


PLACES = {
    "training": hooks.TRAINING,
    "scoring": hooks.SCORING,
    "report": hooks.REPORT,
}


def _add(name: str, weight: int, do: Callable[[Episode], None], scene: str = "linear") -> None:
    fault(name, scene=scene, weight=weight)(do)


def _killed(start: Callable[[Episode], Child]) -> Callable[[Episode], None]:
    def do(e: Episode) -> None:
        child = start(e)
        child.was_killed = True
        e.end(child, 0)
        e.finish()

    return do


def _interrupted(start: Callable[[Episode], Child]) -> Callable[[Episode], None]:
    def do(e: Episode) -> None:
        e.end(start(e), 0, 130)
        e.finish()

    return do


def _stopped(start: Callable[[Episode], Child]) -> Callable[[Episode], None]:
    def do(e: Episode) -> None:
        child = start(e)
        stop_a_while(e, child)
        e.end(child, 0)
        e.finish()

    return do


def _stop(child: Child) -> None:
    child.stop()


def _add_all() -> None:
    _add("kill: loading", 3, _killed(lambda e: strike_after(e, kill, e.rng.uniform(0, 2.5))))
    for kind, weight in (("rationale", 2), ("seed", 5), ("extrapolate", 5)):
        _add(f"kill: {kind}", weight, _killed(lambda e, k=kind: strike_at_request(e, kill, k)))
    for name, place in PLACES.items():
        _add(f"kill: {name}", 3, _killed(lambda e, p=place: strike_at_place(e, p, "SIGKILL")))
    _add("kill: writing", 8, _killed(lambda e: strike_before_write(e, "SIGKILL")))
    _add(
        "kill: search", 2, _killed(lambda e: strike_at_place(e, hooks.SEARCH, "SIGKILL")), "search"
    )
    for scene in ("embedding", "transformer"):
        start = _killed(lambda e: strike_at_place(e, hooks.TRAINING, "SIGKILL"))
        _add(f"kill: training {scene}", 1, start, scene)

    _add("stop: asking", 3, _stopped(lambda e: strike_at_request(e, _stop)))
    _add("stop: training", 1, _stopped(lambda e: strike_at_place(e, hooks.TRAINING, "SIGSTOP")))
    _add("stop: writing", 2, _stopped(lambda e: strike_before_write(e, "SIGSTOP")))

    # In the first fifth of a second Python itself may be starting, before stepsynth runs.
    loading = _interrupted(lambda e: strike_after(e, interrupt, e.rng.uniform(0.2, 2.5)))
    _add("Ctrl-C: loading", 3, loading)
    _add("Ctrl-C: asking", 3, _interrupted(lambda e: strike_at_request(e, interrupt)))
    for name, place in PLACES.items():
        start = _interrupted(lambda e, p=place: strike_at_place(e, p, "SIGINT"))
        _add(f"Ctrl-C: {name}", 1, start)
    _add("Ctrl-C: writing", 3, _interrupted(lambda e: strike_before_write(e, "SIGINT")))
    search = _interrupted(lambda e: strike_at_place(e, hooks.SEARCH, "SIGINT"))
    _add("Ctrl-C: search", 1, search, "search")


_add_all()


@fault("kill: again and again", weight=5)
def kill_again_and_again(e: Episode) -> None:
    """Kill the same run several times, at any place."""
    for _ in range(e.rng.randint(3, 5)):
        start = e.rng.choice(
            [
                lambda: strike_at_request(e, kill),
                lambda: strike_after(e, kill, e.rng.uniform(0, 4)),
                lambda: strike_before_write(e, "SIGKILL"),
            ]
        )
        child = start()
        child.was_killed = True
        if e.end(child, 0) == 0:
            break
    e.finish()


@fault("Ctrl-C: twice")
def interrupt_twice(e: Episode) -> None:
    """Press Ctrl-C, and again a moment later."""
    e.ledger.latency_s = 1.0

    began: list[float] = []

    def twice(child: Child) -> None:
        began.append(time.monotonic())
        interrupt(child)
        time.sleep(e.rng.uniform(0, 1.0))
        interrupt(child)

    child = strike_at_request(e, twice)
    e.end(child, 0, 130)
    e.lose(time.monotonic() - began[0])  # answers in flight are dropped
    e.ledger.latency_s = LATENCY_S
    e.finish()
