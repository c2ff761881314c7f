"""Read YAML so that every message can say in which line a key stands."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from stepsynth.errors import ConfigError, suggest

KeyPath = tuple[str, ...]
M = TypeVar("M", bound=BaseModel)


class Located:
    """The plain values of a YAML document, and the place of each key.

    Args:
        values: Nested dictionaries, lists and scalars.
        name: What messages call the document.
        lines: Key path -> line, where it is known.
    """

    def __init__(self, values: dict[str, Any], name: str, lines: Mapping[KeyPath, int]) -> None:
        self.values = values
        self.name = name
        self.lines = dict(lines)
        self.origins: dict[KeyPath, str] = {}

    def where(self, path: KeyPath) -> str:
        """Return "file, line 3: key.path" for a key, or for the nearest key above it."""
        for end in range(len(path), 0, -1):
            if (origin := self.origins.get(path[:end])) is not None:
                return f"{origin}: {'.'.join(path)}"
            if (line := self.lines.get(path[:end])) is not None:
                return f"{self.name}, line {line}: {'.'.join(path)}"
        return f"{self.name}: {'.'.join(path)}" if path else self.name

    def set(self, path: KeyPath, value: Any, *, origin: str) -> None:
        """Set a key, making the sections above it."""
        section = self.values
        for key in path[:-1]:
            inner: Any = section.setdefault(key, {})
            if isinstance(inner, str) and section is self.values:
                # `method: zerogen` is short for `method: {name: zerogen}`.
                inner = section[key] = {"name": inner}
            if not isinstance(inner, dict):
                raise ConfigError(f"{origin}: {key!r} is no section, it is {inner!r}")
            section = inner
        section[path[-1]] = value
        self.origins[path] = origin


def read_yaml(path: Path) -> Located:
    """Read a YAML 1.2 file whose top level is a mapping (so `yes` and `no` stay text).

    Raises:
        ConfigError: It is not there, is no UTF-8, does not parse, or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: there is no such file", hint="`stepsynth init` writes a task file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Located:
    """Parse a YAML document; see `read_yaml`."""
    try:
        document = YAML(typ="rt").load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{line}: this is no YAML: {error.problem}") from error
    except YAMLError as error:
        raise ConfigError(f"{name}: this is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(
            f"{name}: expected keys such as `task:` and `data:` at the top level",
            hint="`stepsynth schema` prints what a task file may hold",
        )
    lines: dict[KeyPath, int] = {}
    return Located(_plain(document, (), lines), name, lines)


def parse_value(text: str) -> Any:
    """Return the value that a text stands for in YAML: 3, 0.5, true, [a, b], or the text."""
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text
    return text if value is None and text.strip() not in ("", "null", "~") else value


def _plain(value: Any, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """Return the value in plain types, and note the line of every key on the way."""
    if isinstance(value, dict):
        for key in value:
            position = getattr(value, "lc", None)
            if position is not None and key in (position.data or {}):
                lines[*path, str(key)] = position.data[key][0] + 1
        return {_scalar(k): _plain(v, (*path, str(k)), lines) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(item, (*path, str(i)), lines) for i, item in enumerate(value)]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _innermost(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    """Return the model of a section within a model, as far as sections are models."""
    for key in path:
        inner = model.model_fields[key].annotation if key in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return model
        model = inner
    return model


def build(model: type[M], values: Mapping[str, Any], located: Located, path: KeyPath) -> M:
    """Return a validated section.

    Raises:
        ConfigError: With the place of the first wrong key, what was expected, and a suggestion.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        # A key that is misspelt is missing too: name the misspelling.
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        # pydantic names the members of a union in the place ("dict[str,any]"); a key has none.
        key = tuple(str(part) for part in first["loc"] if "[" not in str(part))
        where = located.where((*path, *key))
        if first["type"] == "extra_forbidden":
            known = list(_innermost(model, key[:-1]).model_fields)
            raise ConfigError(
                f"{where}: unknown key. Known keys here: {', '.join(known) or 'none'}.",
                hint=suggest(key[-1], known),
            ) from error
        if first["type"] == "missing":
            raise ConfigError(f"{where}: this key is required.") from error
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        if first["type"] in ("dict_type", "model_type"):
            message = "expected keys and values, such as {name: ...}"
        got = "" if first["type"] == "value_error" else f", got {first['input']!r}"
        raise ConfigError(f"{where}: {message}{got}.") from error
