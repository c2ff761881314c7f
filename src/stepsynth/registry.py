"""Find a method, backend, student or task kind by its file name.

A registry lists the modules of one package without importing them, and imports exactly the one
that is asked for; the class in it whose `name` is the file's name is the registered one. Adding a
file adds a name; nothing else is edited. Other packages add names through an entry-point group
that is called as the package (`stepsynth.methods`, ...).
"""

import importlib
import pkgutil
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from stepsynth.errors import UnknownNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The named classes of one package.

    Args:
        package: Dotted name of the package whose public modules are the names.
        kind: What is registered, for messages ("method").
        base: The class that a registered class extends.
    """

    package: str
    kind: str
    base: type[T]

    def names(self) -> list[str]:
        """Return the known names, sorted, without importing any of them."""
        own = (m.name for m in pkgutil.iter_modules(importlib.import_module(self.package).__path__))
        plugins = (e.name for e in entry_points(group=self.package))
        return sorted({name for name in (*own, *plugins) if not name.startswith("_")})

    def get(self, name: str, *, where: str = "") -> type[T]:
        """Import and return the class that is registered under a name.

        Raises:
            UnknownNameError: No file and no entry point has that name.
        """
        for entry in entry_points(group=self.package):
            if entry.name == name:
                return entry.load()
        if name.startswith("_") or name not in self.names():
            raise UnknownNameError(self.kind, name, self.names(), where=where)
        module = importlib.import_module(f"{self.package}.{name}")
        values: list[Any] = list(vars(module).values())
        for value in values:
            is_ours = isinstance(value, type) and issubclass(value, self.base)
            if is_ours and vars(value).get("name") == name:
                return cast("type[T]", value)
        raise TypeError(f"{module.__name__} defines no {self.base.__name__} with name = {name!r}")
