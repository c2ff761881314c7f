"""The kinds of fault, each a function that applies it to an episode."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from benchmarks.torture.episode import Episode

_MODULES = (
    "kills",
    "comparisons",
    "together",
    "disks",
    "damage",
    "surroundings",
    "networks",
    "answers",
    "caps",
    "several",
)


@dataclass(frozen=True)
class Kind:
    """Kind of fault.

    Attributes:
        name: Its name.
        do: Applies it to an episode and completes that.
        scene: The scene that it disturbs.
        weight: Its frequency relative to the other kinds.
    """

    name: str
    do: Callable[[Episode], None]
    scene: str = "linear"
    weight: int = 1


KINDS: dict[str, Kind] = {}


def fault(
    name: str, *, scene: str = "linear", weight: int = 1
) -> Callable[[Callable[[Episode], None]], Callable[[Episode], None]]:
    """Register a kind of fault."""

    def add(do: Callable[[Episode], None]) -> Callable[[Episode], None]:
        KINDS[name] = Kind(name, do, scene, weight)
        return do

    return add


def load_kinds() -> dict[str, Kind]:
    """Return all kinds."""
    for name in _MODULES:
        import_module(f"{__name__}.{name}")
    return KINDS
