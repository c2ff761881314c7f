"""Registries of methods, backends, students and kinds of task, by file name.

A registry lists the modules of one package without importing them, and imports only the one that is
asked for. In it, the class whose `name` is the file's name is registered. To add a name, add a
file. Other packages add names through an entry-point group that is named after the package
(`stepsynth.methods`, ...).
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import (
    CoreSchema,
    InitErrorDetails,
    PydanticCustomError,
    PydanticKnownError,
    ValidationError,
    core_schema,
)

from stepsynth.errors import ConfigError, UnknownNameError, suggest

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
        plugins = self._plugins().names
        return sorted({name for name in (*own, *plugins) if not name.startswith("_")})

    def get(self, name: str) -> type[T]:
        """Import and return the class that is registered under a name.

        Raises:
            UnknownNameError: No file and no entry point has that name.
        """
        for entry in self._plugins().select(name=name):
            return entry.load()
        if name.startswith("_") or name not in self.names():
            raise UnknownNameError(self.kind, name, self.names())
        module = importlib.import_module(f"{self.package}.{name}")
        values: list[Any] = list(vars(module).values())
        for value in values:
            is_ours = isinstance(value, type) and issubclass(value, self.base)
            if is_ours and vars(value).get("name") == name:
                return cast("type[T]", value)
        raise TypeError(f"{module.__name__} defines no {self.base.__name__} with name = {name!r}")

    def _plugins(self) -> EntryPoints:
        return _installed(tuple(sys.path), self.package)


@cache
def _installed(path: tuple[str, ...], group: str) -> EntryPoints:
    """Return the entry points of a group; a search through thousands shows in what a run takes."""
    return _read(path).select(group=group)


@cache
def _read(_path: tuple[str, ...]) -> EntryPoints:
    """Return the entry points of all packages; reading them takes as long as a small fit."""
    # Python 3.11 returns a class of its own, which has the same `select`.
    return cast("EntryPoints", entry_points())


OF_COMPILERS = (ArithmeticError, MemoryError, RecursionError, SyntaxError)
"""Exceptions of template and pattern compilers, for input that is too deep or too long."""

CONFIG_ERROR = "stepsynth"
"""Pydantic error type of an error with a `ConfigError` in its context."""


@dataclass(frozen=True)
class Named:
    """A discriminated union of registered classes, in `Annotated[BASE, Named(...)]`.

    `{name: s3, rounds: 1}` is validated by the class that is registered as `s3`, which is imported
    only then. An instance of the base is accepted as it is.

    Args:
        registry: Returns the registry of the classes.
        key: The discriminator.
        default: The name if the key is missing; "": the key is required.
        by_name: Accept a name alone: `s3` for `{name: s3}`.
        keeps_key: The key is also a field of the class.
        is_nested: The field is one of a registered class: its JSON Schema lists names alone, and
            its JSON form holds the key.
        model: Registered class -> the model that has its fields.
    """

    registry: Callable[[], Registry[Any]]
    key: str = "name"
    default: str = ""
    by_name: bool = True
    keeps_key: bool = False
    is_nested: bool = False
    model: Callable[[Any], type[BaseModel]] = lambda found: found

    def __get_pydantic_core_schema__(self, source: Any, _: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema that validates values."""
        return core_schema.no_info_plain_validator_function(
            lambda given: given if isinstance(given, source) else self._read(given),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: (
                    ({self.key: value.name} if self.is_nested else {})
                    | value.model_dump(mode="json")
                )
            ),
        )

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the JSON Schema of all classes: a name, or a name with its class's keys."""
        registry = self.registry()
        choices: list[dict[str, Any]] = [{"enum": registry.names()}] if self.by_name else []
        if self.is_nested:
            return {"anyOf": [*choices, {"type": "object"}]}
        for name in registry.names():
            keys = handler(self.model(registry.get(name)).__pydantic_core_schema__)
            handler.resolve_ref_schema(keys)["properties"][self.key] = {"const": name}
            choice = {"allOf": [keys], "properties": {self.key: {"const": name}}}
            choices.append(choice if name == self.default else choice | {"required": [self.key]})
        return {"anyOf": choices}

    def find(self, values: Mapping[str, Any]) -> type[BaseModel]:
        """Return the class that values name.

        Raises:
            ConfigError: They name none, or an unknown one.
        """
        if name := str(values.get(self.key, self.default)):
            return self.model(self.registry().get(name))
        raise ConfigError(f"this key is required. Known: {', '.join(self.registry().names())}.")

    def _read(self, given: object) -> BaseModel:
        given = {self.key: given} if self.by_name and isinstance(given, str) else given
        if not isinstance(given, Mapping):
            raise PydanticKnownError("dict_type")
        values = dict(cast("Mapping[str, Any]", given))
        try:
            model = self.find(values)
        except ConfigError as error:
            raise _at((self.key,), error) from error
        if not self.keeps_key:
            values.pop(self.key, None)
        # A misspelt key leaves another one missing: report the misspelling.
        for key in map(str, values):
            if key not in model.model_fields:
                raise _at((key,), unknown_key(key, model))
        try:
            return model.model_validate(values)
        except OF_COMPILERS as error:
            raise _at((), uncompilable(error)) from error


def unknown_key(key: str, model: type[BaseModel]) -> ConfigError:
    """Return the error for a key that a model does not have."""
    known = list(model.model_fields)
    return ConfigError(
        f"unknown key. Known keys here: {', '.join(known) or 'none'}.", hint=suggest(key, known)
    )


def uncompilable(error: BaseException) -> ConfigError:
    """Return the error for a section whose template or pattern cannot be compiled."""
    return ConfigError(f"a template or pattern here cannot be compiled: {error}")


def _at(place: tuple[str, ...], error: ConfigError) -> ValidationError:
    """Return an error in the form that pydantic expects, at a place of a section."""
    wrong = PydanticCustomError(CONFIG_ERROR, "{error}", {"error": error})
    line = InitErrorDetails(type=wrong, loc=place, input=None)
    return ValidationError.from_exception_data("section", [line])
