"""Several random faults in a row on one run."""

from collections.abc import Callable

from benchmarks.torture import hooks
from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.faults.disks import run_with_small_files
from benchmarks.torture.faults.kills import (
    PLACES,
    interrupt,
    kill,
    stop_a_while,
    strike_after,
    strike_at_place,
    strike_at_request,
    strike_before_write,
)
from benchmarks.torture.faults.networks import failure, hit
from benchmarks.torture.faults.surroundings import NO_LOCALE
from benchmarks.torture.server import as_usual


def _kill(e: Episode) -> None:
    start = e.rng.choice(
        [
            lambda: strike_at_request(e, kill),
            lambda: strike_after(e, kill, e.rng.uniform(0, 4)),
            lambda: strike_before_write(e, "SIGKILL"),
            lambda: strike_at_place(e, e.rng.choice(list(PLACES.values())), "SIGKILL"),
        ]
    )
    child = start()
    child.was_killed = True
    e.end(child, 0)


def _interrupt(e: Episode) -> None:
    start = e.rng.choice(
        [
            lambda: strike_at_request(e, interrupt),
            lambda: strike_after(e, interrupt, e.rng.uniform(0.2, 4)),
            lambda: strike_before_write(e, "SIGINT"),
        ]
    )
    e.end(start(), 0, 130)


def _stop(e: Episode) -> None:
    child = strike_before_write(e, "SIGSTOP")
    stop_a_while(e, child)
    e.end(child, 0)


def _cap(e: Episode) -> None:
    e.run(0, 3, sets={"limits.requests": e.rng.randrange(1, e.scene.known.requests.total())})


def _few_files(e: Episode) -> None:
    e.run(0, 2, 4, wrap=["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"])


def _other_world(e: Episode) -> None:
    e.run(0, env={"HOME": None, **NO_LOCALE}, orders=[hooks.clock(-e.rng.choice([60.0, 86_400.0]))])


def _storm(e: Episode) -> None:
    e.ledger.fault = hit(e.rng.choice([0.2, 1.0]), 1, failure(e.rng.choice([429, 503])))
    e.run(0, 4)
    e.ledger.fault = as_usual


STEPS: list[Callable[[Episode], None]] = [
    *(_kill, _kill, _interrupt, _interrupt, _stop, _cap),
    *(_few_files, run_with_small_files, _other_world, _storm),
]


@fault("several in a row", weight=10)
def several(e: Episode) -> None:
    """Apply two to five faults to one run."""
    for step in e.rng.choices(STEPS, k=e.rng.randint(2, 5)):
        step(e)
    e.finish()
