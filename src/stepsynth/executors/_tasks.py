"""Tasks that are done in any order and place, and once more where a worker dies."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, TypeVar

from stepsynth.errors import ConfigError
from stepsynth.executors._pool import Pool, at_work

T = TypeVar("T")

DEATHS = 3
"""Killed workers after which a task or a run is given up; the others go on."""
LOOK_S = 1.0
"""Seconds between two moments in which Ctrl-C is heard."""


def do_tasks(
    pool: Pool,
    task: Callable[..., T],
    given: Sequence[tuple[Any, ...]],
    *,
    jobs: int,
    on_done: Callable[[int], None],
) -> list[T]:
    """Do tasks, some at a time, and return what they return, in the order that they were given.

    Args:
        pool: Where they are done.
        task: A function of a module, which leaves nothing half-done that it takes for done.
        given: The arguments of each task.
        jobs: Most tasks at a time.
        on_done: Called with the number of tasks done.

    Raises:
        ConfigError: A task's worker died three times.
    """
    left = list(reversed(range(len(given))))
    pending: dict[Future[Any], int] = {}
    deaths: Counter[int] = Counter()
    done: dict[int, T] = {}
    try:
        while left or pending:
            while left and len(pending) < jobs:
                number = left.pop()
                pending[pool.submit(_work, task, given[number])] = number
            ended, _ = wait(pending, LOOK_S, return_when=FIRST_COMPLETED)
            for future in ended:
                number = pending.pop(future)
                error = future.exception()
                if isinstance(error, BrokenExecutor):
                    deaths[number] += getattr(error, "deaths", 1)
                    _check_deaths(deaths[number], task, error)
                    left.append(number)
                    continue
                done[number] = future.result()
                on_done(len(done))
    except BaseException:
        pool.stop()
        raise
    return [done[number] for number in range(len(given))]


def _work(task: Callable[..., T], given: tuple[Any, ...]) -> T:
    with at_work():
        return task(*given)


def _check_deaths(deaths: int, task: Callable[..., object], error: BaseException) -> None:
    if deaths >= DEATHS:
        raise ConfigError(
            f"a task ({task.__name__}) was given up: its worker was killed {deaths} times: {error}",
            hint="is there too little memory? Fewer --jobs need less; then give the same command",
        ) from error
