"""The task file: YAML, checked and resolved into the objects of a run."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from stepsynth._util.text import find_control
from stepsynth.curation import Curation
from stepsynth.data import DataSection
from stepsynth.errors import ConfigError, PromptError, UnknownNameError
from stepsynth.llm import Limits, LLMSettings
from stepsynth.methods import Method, methods
from stepsynth.retrieval import Retriever, retrievers
from stepsynth.students import Student, students
from stepsynth.taskfile.checks import (
    check_columns,
    check_data,
    check_method,
    check_student,
)
from stepsynth.taskfile.llm_section import build_llm, check_llm, make_room
from stepsynth.taskfile.yaml_lines import KeyPath, LocatedYaml, build, parse_value, read_yaml
from stepsynth.tasks import Task, task_kinds

T = TypeVar("T", bound=BaseModel)
RECIPES = Path(__file__).parent.parent / "tasks" / "recipes"


class TaskFile(BaseModel):
    """The sections of a task file; its JSON Schema is what `stepsynth schema` prints."""

    model_config = ConfigDict(extra="forbid", title="stepsynth task file")

    task: dict[str, Any]
    data: DataSection
    llm: dict[str, Any] | None = None
    student: dict[str, Any] | str = "linear"
    method: dict[str, Any] | str = "s3"
    curation: Curation = Field(default_factory=Curation)
    retrieval: dict[str, Any] | str = "dense"
    limits: Limits = Field(default_factory=Limits)
    random_seed: int = Field(
        default=0, ge=0, description="Decides the split and every draw; another one is another run."
    )


@dataclass(frozen=True)
class Config:
    """All that decides a run, as objects.

    Attributes:
        name: The task's name: the task file's.
        llm: None where the method asks no LLM.
        retriever: None where the method retrieves nothing.
        own_keys: Keys of the method that the file itself states, and not its recipe.
    """

    name: str
    task: Task
    data: DataSection | None
    llm: LLMSettings | None
    student: Student
    method: Method
    limits: Limits
    random_seed: int
    curation: Curation = field(default_factory=Curation)
    retriever: Retriever | None = None
    own_keys: frozenset[str] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Return every value with every default filled in, as `config.yaml` shows it."""
        return {
            "task": {"kind": self.task.name, **self.task.model_dump(mode="json")},
            "data": self.data.model_dump(mode="json") if self.data else None,
            "llm": self.llm.model_dump(mode="json") if self.llm else None,
            "student": {"name": self.student.name, **self.student.model_dump(mode="json")},
            "method": {"name": self.method.name, **_own_first(self.method)},
            "curation": self.curation.model_dump(mode="json"),
            "retrieval": self.retriever
            and {"name": self.retriever.name, **self.retriever.model_dump(mode="json")},
            "limits": self.limits.model_dump(mode="json"),
            "random_seed": self.random_seed,
        }


def _own_first(method: Method) -> dict[str, Any]:
    """Return a method's fields, those that every method has at the end."""
    fields = method.model_dump(mode="json")
    shared = {key: fields.pop(key) for key in Method.model_fields}
    return fields | shared


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a task file.

    Args:
        path: The YAML file; paths in it are relative to it, and may hold ~ and $VARIABLES.
        overrides: `a.b=value` each, as after `--set`; relative paths in them are relative to the
            task file too.

    Raises:
        ConfigError: With the file, line and key that is wrong, and what was expected.
    """
    path = Path(path)
    located = read_yaml(path)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError("--set: expected KEY=VALUE", hint="--set method.rounds=3")
        keys = tuple(key.strip().split("."))
        # The value stays out of messages: it may be a key that was put in the wrong place.
        if keys in (("method", "name"), ("student", "name")):
            # Another method has other keys: those of the one before it would be errors.
            keys = keys[:1]
        located.set(keys, parse_value(value), origin="--set")
    return build_config(located, name=path.stem, folder=path.parent)


def build_config(
    located: LocatedYaml,
    *,
    name: str,
    folder: Path,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """Return the configuration of a task file's values.

    Args:
        located: The values.
        name: What to call the task.
        folder: Paths are relative to it.
        given: Section (task, llm, student, method) -> an object that takes its place as it is.
    """
    if control := find_control(name):
        raise ConfigError(
            f"{located.name}: the task's name {name!r} holds {control}",
            hint="a task is named after its file: give that another name",
        )
    # `student:` with nothing after it is as good as not written.
    located.values = {k: v for k, v in located.values.items() if v is not None}
    stated = located.values.get("method")
    own_keys = frozenset(stated) - {"name"} if isinstance(stated, dict) else frozenset[str]()
    _add_recipe(located)
    _resolve_paths(located, folder)
    # The flexible sections are validated below, by the class that their name selects.
    top = build(TaskFile, located.values, located, ())
    method: Method = given.get("method") or build_named(
        methods().get, located, "method", default="s3"
    )
    task: Task = given.get("task") or _build_task(top.task, located)
    check_columns(top.data, task, located)
    llm: LLMSettings | None = given.get("llm")
    if not method.needs_llm:
        llm = None
    elif llm is None and top.llm is not None:
        llm = build_llm(top.llm, located)
    elif llm is None:
        raise ConfigError(
            f"{located.name}: there is no `llm` section, but the method {method.name!r} asks one",
            hint="llm: {backend: openai_compatible, model: ..., base_url: ...}",
        )
    student: Student = given.get("student") or build_named(
        students().get, located, "student", default="linear"
    )
    check_student(student, task, located.where(("student",)))
    check_method(method, task, located, method.model_fields_set if "method" in given else own_keys)
    check_data(method, top.data, located.where(("data",)))
    # Its keys are checked also where the method has no use for it.
    retriever = build_named(retrievers().get, located, "retrieval", default="dense")
    check_llm(llm, task, top.limits, located)
    return Config(
        name=name,
        task=task,
        data=top.data,
        llm=llm and make_room(llm, task.template_sources()),
        student=student,
        method=method,
        limits=top.limits,
        random_seed=top.random_seed,
        curation=top.curation,
        retriever=retriever if method.needs_corpus else None,
        own_keys=own_keys,
    )


def _build_task(values: Mapping[str, Any], located: LocatedYaml) -> Task:
    kind = str(values.get("kind", "classification"))
    task_class = task_kinds().get(kind, where=located.where(("task", "kind")))
    try:
        return build(task_class, _without(values, "kind"), located, ("task",))
    except PromptError as error:
        raise PromptError(f"{located.name}: {error.message}", hint=error.hint) from error


def build_named(
    get: Callable[..., type[T]], located: LocatedYaml, section: str, *, default: str
) -> T:
    """Return the object of a section whose `name` selects a class and whose other keys are its."""
    values = located.values.get(section, default)
    values = {"name": values} if isinstance(values, str) else dict(values)
    name = str(values.get("name", default))
    found = get(name, where=located.where((section, "name")))
    return build(found, _without(values, "name"), located, (section,))


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship in the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _add_recipe(located: LocatedYaml) -> None:
    """Put a recipe's values under the file's own, which win."""
    task = located.values.get("task")
    if not isinstance(task, dict) or "recipe" not in task:
        return
    name = str(task.pop("recipe"))
    if name not in recipe_names():
        raise UnknownNameError(
            "recipe", name, recipe_names(), where=located.where(("task", "recipe"))
        )
    recipe = read_yaml(RECIPES / f"{name}.yaml").values
    hyper_parameters = recipe.pop("students", {})
    located.values = _merge(recipe, located.values)
    student = located.values.get("student", "linear")
    fields = {"name": student} if isinstance(student, str) else student
    if isinstance(fields, dict) and (found := hyper_parameters.get(str(fields.get("name")))):
        located.values["student"] = {**found, **fields}


def _merge(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, `own` first; a section that names another class replaces the whole section."""
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            named = [(value.get(k), below.get(k)) for k in ("name", "backend", "kind")]
            differs = any(a is not None and b is not None and a != b for a, b in named)
            merged[key] = dict(value) if differs or key == "labels" else _merge(below, value)
        elif isinstance(below, dict) and isinstance(value, str) and below.get("name") == value:
            continue
        else:
            merged[key] = value
    return merged


def _resolve_paths(located: LocatedYaml, folder: Path) -> None:
    """Make every path absolute, and read the prompts that stand in files."""
    data, llm, task = (located.values.get(k) for k in ("data", "llm", "task"))
    if isinstance(llm, dict) and isinstance(llm.get("recordings"), str):
        llm["recordings"] = [llm["recordings"]]
    for section, values, keys in (
        ("data", data, ("gold", "test", "select", "contexts", "corpus")),
        ("llm", llm, ("store", "recordings")),
        ("retrieval", located.values.get("retrieval"), ("folder",)),
        ("method", located.values.get("method"), ("seed_from", "added_from")),
    ):
        if isinstance(values, dict):
            for key in keys:
                given, where = values.get(key), (section, key)
                if isinstance(given, list):
                    paths = cast("list[object]", given)
                    values[key] = [_resolve(key, str(v), folder, located, where) for v in paths]
                elif isinstance(given, str):
                    values[key] = _resolve(key, given, folder, located, where)
    _resolve_models(located, folder)
    prompts = task.get("prompts") if isinstance(task, dict) else None
    if isinstance(prompts, dict):
        for name, value in prompts.items():
            prompts[name] = _read_prompt(value, folder, located, ("task", "prompts", str(name)))


def _resolve_models(located: LocatedYaml, folder: Path) -> None:
    """Make the folders of pretrained models absolute; a name on the hub stays as it is."""
    for section, key in (("student", "model"), ("retrieval", "encoder")):
        values = located.values.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str):
            place = _absolute(values[key], folder, located, (section, key))
            if "$" in values[key] or os.path.isdir(place):
                values[key] = place
    _resolve_gguf(located.values.get("llm"), folder, located, ("llm",))


def _resolve_gguf(llm: Any, folder: Path, located: LocatedYaml, path: KeyPath) -> None:
    """Make the files of models absolute, in all phases."""
    if isinstance(llm, list):
        for i, each in enumerate(llm):
            _resolve_gguf(each, folder, located, (*path, str(i)))
    elif isinstance(llm, dict):
        values = cast("dict[str, Any]", llm)
        if str(values.get("model")).endswith(".gguf"):
            values["model"] = _absolute(values["model"], folder, located, (*path, "model"))
        phases = values.get("phases")
        for kind, own in phases.items() if isinstance(phases, dict) else ():
            _resolve_gguf(own, folder, located, (*path, "phases", str(kind)))


def _resolve(key: str, value: str, folder: Path, located: LocatedYaml, path: KeyPath) -> str:
    """Return an absolute path, or a value that is none as it is."""
    if value.startswith("hf:") or (key == "contexts" and value in ("gold", "llm")):
        return value
    return _absolute(value, folder, located, path)


def _absolute(value: str, folder: Path, located: LocatedYaml, path: KeyPath) -> str:
    expanded = os.path.expanduser(os.path.expandvars(value))
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise ConfigError(
            f"{located.where(path)}: the environment variable {unset[1]} is not set",
            hint=f"set it, as in: {unset[1]}=/data stepsynth run ...",
        )
    return str((folder / expanded).absolute())


def _read_prompt(value: Any, folder: Path, located: LocatedYaml, path: KeyPath) -> str:
    """Return a template's text: what holds a line break or a field is the text itself."""
    if not isinstance(value, str):
        raise ConfigError(f"{located.where(path)}: expected a file or a template, got {value!r}")
    if "\n" in value or "{{" in value:
        return value
    file = Path(_absolute(value, folder, located, path))
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{located.where(path)}: the template {file} cannot be read: {error}",
            hint="paths are relative to the task file",
        ) from error


def _without(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k != key}
