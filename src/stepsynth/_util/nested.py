"""Nested settings as flat ones."""

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of nested mappings, joined by dots, and their values; empty ones are values.

    Args:
        value: Mappings in mappings.
        path: Key of the value itself.
    """
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
