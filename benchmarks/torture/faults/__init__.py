"""The kinds of fault: a function each, that does it to an episode."""

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
    """A kind of fault.

    Attributes:
        name: What it is called.
        do: Does it to an episode, to the end.
        scene: What it befalls.
        weight: How often it is done for one of the others.
    """

    name: str
    do: Callable[[Episode], None]
    scene: str = "linear"
    weight: int = 1


KINDS: dict[str, Kind] = {}


def fault(
    name: str, *, scene: str = "linear", weight: int = 1
) -> Callable[[Callable[[Episode], None]], Callable[[Episode], None]]:
    """Add a kind of fault."""

    def add(do: Callable[[Episode], None]) -> Callable[[Episode], None]:
        KINDS[name] = Kind(name, do, scene, weight)
        return do

    return add


def load_kinds() -> dict[str, Kind]:
    """Return all kinds."""
    for name in _MODULES:
        import_module(f"{__name__}.{name}")
    return KINDS
