"""The values of a task file with their lines, so that every message can name a key's line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from stepsynth._util.text import find_control, shorten
from stepsynth.errors import ConfigError
from stepsynth.registry import CONFIG_ERROR, OF_COMPILERS, Named, uncompilable, unknown_key
from stepsynth.taskfile.plain_yaml import MOST_BYTES, KeyPath, NotYamlError, parse

M = TypeVar("M", bound=BaseModel)

NESTED = ("method", "synthesis")
"""A section inside of another; like that one, its value may be a name."""


class LocatedYaml:
    """The plain values of a YAML document, and the place of each key.

    Args:
        values: Nested dictionaries, lists and scalars.
        name: Name of the document in messages.
        lines: Key path -> line, if it is known.
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
        """Set a key, and create the sections above it."""
        section = self.values
        for key in path[:-1]:
            inner: Any = section.setdefault(key, {})
            if isinstance(inner, str) and (section is self.values or key == NESTED[1]):
                # `method: zerogen` is short for `method: {name: zerogen}`.
                inner = section[key] = {"preset" if key == "llm" else "name": inner}
            if not isinstance(inner, dict):
                raise ConfigError(f"{origin}: {key!r} is no section, it is {inner!r}")
            section = inner
        section[path[-1]] = value
        self.origins[path] = origin


def read_yaml(path: Path) -> LocatedYaml:
    """Read a YAML 1.2 file whose top level is a mapping (so `yes` and `no` stay text).

    Raises:
        ConfigError: It is missing, is not UTF-8, does not parse, or is not a mapping.
    """
    if path.suffix.lower() == ".toml":
        raise ConfigError(
            f"{path}: a task file is YAML, and this is TOML",
            hint="`stepsynth init` writes a task file; JSON is YAML too",
        )
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: there is no such file", hint="`stepsynth init` writes a task file"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        return parse_yaml(raw.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: cannot be read: the byte 0x{raw[error.start]:02X} is no UTF-8",
            hint="save the task file as UTF-8",
        ) from error


def parse_yaml(text: str, name: str) -> LocatedYaml:
    """Parse a YAML document; see `read_yaml`."""
    try:
        values, lines = parse(text)
    except NotYamlError as error:
        line = f", line {error.line}" if error.line else ""
        raise ConfigError(f"{name}{line}: {error}", hint=error.hint) from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name}: expected keys such as `task:` and `data:` at the top level",
            hint="`stepsynth schema` prints what a task file may hold",
        )
    return LocatedYaml(values, name, lines)


def parse_value(text: str) -> Any:
    """Return the value that a text stands for in YAML: 3, 0.5, true, [a, b], or the text.

    Raises:
        ConfigError: It holds a control character.
    """
    if control := find_control(text, is_name=False):
        raise ConfigError(f"--set: a value holds {control}")
    try:
        value, _ = parse(text)
    except NotYamlError:
        return text
    return text if value is None and text.strip() not in ("", "null", "~") else value


def _innermost(model: type[BaseModel], path: KeyPath, values: object) -> type[BaseModel]:
    """Return the innermost model on a key path within a model."""
    for key in path:
        field = model.model_fields.get(key)
        values = values.get(key) if isinstance(values, Mapping) else None
        named = [each for each in (field.metadata if field else ()) if isinstance(each, Named)]
        inner = named[0].find(values) if named and isinstance(values, Mapping) else None
        inner = inner or (field and field.annotation)
        models = [each for each in (inner, *get_args(inner)) if isinstance(each, type)]
        models = [each for each in models if issubclass(each, BaseModel)]
        if not models:
            return model
        model = models[0]
    return model


def _key_of(place: Sequence[int | str], values: object) -> KeyPath:
    """Return the key path of a place that pydantic names.

    Pydantic also names members of a union ("dict[str,any]"), and items of a list where the document
    has a single value for it.
    """
    path: list[str] = []
    for part in place:
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        elif isinstance(part, int) and isinstance(values, list):
            values = values[part] if part < len(values) else None
        elif isinstance(part, int) or "[" in part:
            continue
        path.append(str(part))
    return tuple(path)


def build(model: type[M], values: Mapping[str, Any], located: LocatedYaml, path: KeyPath) -> M:
    """Return a validated section.

    Raises:
        ConfigError: A key is wrong; the message has its place, what was expected and a hint.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        # A misspelt key leaves another one missing: report the misspelling.
        first = min(
            error.errors(), key=lambda e: e["type"] not in ("extra_forbidden", CONFIG_ERROR)
        )
        key = _key_of(first["loc"], values)
        where = located.where((*path, *key))
        if first["type"] == CONFIG_ERROR:
            raise first.get("ctx", {})["error"].at(where) from error
        if first["type"] == "extra_forbidden":
            raise unknown_key(key[-1], _innermost(model, key[:-1], values)).at(where) from error
        if first["type"] == "missing":
            raise ConfigError(f"{where}: this key is required.") from error
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        if first["type"] in ("dict_type", "model_type"):
            message = "expected keys and values, such as {name: ...}"
        given = shorten(repr(first["input"]), 200)
        got = "" if first["type"] == "value_error" else f", got {given}"
        raise ConfigError(f"{where}: {message}{got}.") from error
    except OF_COMPILERS as error:
        raise uncompilable(error).at(located.where(path)) from error
