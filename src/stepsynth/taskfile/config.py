"""The task file: YAML, checked and resolved into the objects of a run."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from stepsynth._util.text import find_control
from stepsynth.curation import Curation
from stepsynth.data import DataSection
from stepsynth.errors import ConfigError, PromptError, UnknownNameError
from stepsynth.executors import ExecutorSettings, executor_kinds, name_sections
from stepsynth.llm import NAMED_LLM, Limits, LLMSettings
from stepsynth.methods import Method, WritingMethod, methods
from stepsynth.registry import Named
from stepsynth.retrieval import Retriever, retrievers
from stepsynth.students import PRESETS, Student, students
from stepsynth.taskfile.checks import (
    check_columns,
    check_data,
    check_method,
    check_student,
)
from stepsynth.taskfile.llm_section import check_llm, make_room, spread
from stepsynth.taskfile.yaml_lines import (
    NESTED,
    KeyPath,
    LocatedYaml,
    build,
    parse_value,
    read_yaml,
)
from stepsynth.tasks import Task, task_kinds

METHOD = "s3"
"""The method where a task file names none."""

RECIPES = Path(__file__).parent.parent / "tasks" / "recipes"


class TaskFile(BaseModel):
    """The sections of a task file; its JSON Schema is what `stepsynth schema` prints."""

    model_config = ConfigDict(
        extra="forbid",
        validate_default=True,
        # An error must not repeat the value: it may be an API key in the wrong place.
        hide_input_in_errors=True,
        title="stepsynth task file",
    )

    task: Annotated[Task, Named(task_kinds, key="kind", default="classification", by_name=False)]
    data: DataSection
    llm: Annotated[LLMSettings | None, NAMED_LLM] = None
    student: Annotated[Student, Named(students, default="linear")] = cast("Any", "linear")
    method: Annotated[Method, Named(methods, default=METHOD)] = cast("Any", METHOD)
    curation: Curation = Field(default_factory=Curation)
    retrieval: Annotated[Retriever, Named(retrievers, default="dense")] = cast("Any", "dense")
    limits: Limits = Field(default_factory=Limits)
    executors: Annotated[
        dict[str, Annotated[ExecutorSettings, Named(executor_kinds, by_name=False)]],
        BeforeValidator(name_sections),
    ] = Field(default_factory=dict)
    random_seed: int = Field(
        default=0, ge=0, description="Decides the split and every draw; another one is another run."
    )


@dataclass(frozen=True)
class Config:
    """The configuration of a run, as objects.

    Attributes:
        name: Name of the task: that of the task file.
        llm: None where the method asks no LLM.
        retriever: None where the method retrieves nothing.
        own_keys: Keys of the method that the file itself states, not its recipe.
        executors: Name of an executor -> its settings.
    """

    name: str
    task: Task
    data: DataSection
    llm: LLMSettings | None
    student: Student
    method: Method
    limits: Limits
    random_seed: int
    curation: Curation = field(default_factory=Curation)
    retriever: Retriever | None = None
    own_keys: frozenset[str] = frozenset()
    executors: Mapping[str, ExecutorSettings] = field(default_factory=dict)

    def executor(self, name: str) -> ExecutorSettings:
        """Return the settings of an executor: those of the file, else its defaults.

        Raises:
            UnknownNameError: There is no such executor.
        """
        return self.executors.get(name) or executor_kinds().get(name)()

    def to_dict(self) -> dict[str, Any]:
        """Return every value with every default filled in, as `config.yaml` shows it."""
        return {
            "task": {"kind": self.task.name, **self.task.model_dump(mode="json")},
            "data": self.data.model_dump(mode="json"),
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
    """Return a method's fields, those that it shares with other methods last."""
    fields = method.model_dump(mode="json")
    shared = {key: fields.pop(key) for key in WritingMethod.model_fields if key in fields}
    return fields | shared


def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, asks_llm: bool = True
) -> Config:
    """Read a task file.

    Args:
        path: The YAML file; paths in it are relative to it, and may hold ~ and $VARIABLES.
        overrides: `a.b=value` each, as after `--set`; relative paths in them are relative to the
            task file too.
        asks_llm: False: the section `llm` is not read, and may be unfinished or missing.

    Raises:
        ConfigError: A key is wrong; the message has its file and line, and what was expected.
    """
    path = Path(path)
    located = read_yaml(path)
    given = [_read_override(override) for override in overrides]
    # A section comes before its keys, in whatever order they are given: it would drop them.
    for keys, value in sorted(given, key=lambda each: len(each[0]) - (each[0] in _NAMES)):
        if keys not in _NAMES:
            located.set(keys, value, origin="--set")
        elif _name_of(located.values.get(keys[0])) != value:
            # The whole section is replaced: keys of the class before would be errors.
            located.set(keys[:1], value, origin="--set")
    return build_config(located, name=path.stem, folder=path.parent, asks_llm=asks_llm)


_NAMES = (("method", "name"), ("student", "name"))


def _read_override(override: str) -> tuple[KeyPath, Any]:
    """Return the key and the value of `a.b=value`."""
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError("--set: expected KEY=VALUE", hint="--set method.rounds=3")
    # The value stays out of messages: it may be an API key in the wrong place.
    keys, parsed = tuple(key.strip().split(".")), parse_value(value)
    # A name in place of a section is the section's name: keys of the same class stay.
    is_name = isinstance(parsed, str) and (*keys, "name") in _NAMES
    return (*keys, "name") if is_name else keys, parsed


def _name_of(section: object) -> object:
    return section.get("name") if isinstance(section, dict) else section


def build_config(
    located: LocatedYaml,
    *,
    name: str,
    folder: Path,
    asks_llm: bool = True,
) -> Config:
    """Return the configuration of a task file's values.

    Args:
        located: The values; task, llm, student and method may be objects, too.
        name: Name of the task.
        folder: Paths are relative to it.
        asks_llm: False: the section `llm` is not read.

    Raises:
        ConfigError: A key is wrong; the message has its place, and what was expected.
        PromptError: A template is broken.
    """
    if control := find_control(name):
        raise ConfigError(
            f"{located.name}: the task's name {name!r} holds {control}",
            hint="a task is named after its file: give that another name",
        )
    # `student:` with nothing after it counts as not written.
    located.values = {k: v for k, v in located.values.items() if v is not None}
    if isinstance(preset := located.values.get("llm"), str):
        located.values["llm"] = {"preset": preset}
    own_keys = _stated_keys(located.values.get("method"))
    _add_recipe(located)
    _resolve_paths(located, folder)
    asks_llm = asks_llm and _needs_llm(located.values.get("method", METHOD))
    if not asks_llm:
        # A recipe may hold a part of the section, such as its temperature.
        located.values.pop("llm", None)
    elif "llm" in located.values:
        located.values["llm"] = spread(located)
    try:
        top = build(TaskFile, located.values, located, ())
    except PromptError as error:
        raise error.at(located.name) from error
    _check(top, located, own_keys, asks_llm=asks_llm)
    return Config(
        name=name,
        task=top.task,
        data=top.data,
        llm=top.llm and make_room(top.llm, top.task.template_sources()),
        student=top.student,
        method=top.method,
        limits=top.limits,
        random_seed=top.random_seed,
        curation=top.curation,
        retriever=top.retrieval if top.method.uses_corpus else None,
        own_keys=own_keys,
        executors=top.executors,
    )


def _needs_llm(method: object) -> bool:
    """Say whether the named method asks an LLM; an unknown name counts as one that does."""
    if isinstance(method, Method):
        return method.needs_llm
    name = method.get("name", METHOD) if isinstance(method, dict) else method
    return name not in methods().names() or methods().get(str(name)).needs_llm


def _stated_keys(method: object) -> frozenset[str]:
    """Return the keys that a method section or object states."""
    if isinstance(method, Method):
        return frozenset(method.model_fields_set)
    return frozenset(method) - {"name"} if isinstance(method, dict) else frozenset()


def _check(
    top: TaskFile, located: LocatedYaml, own_keys: frozenset[str], *, asks_llm: bool
) -> None:
    """Make sure that the sections fit together."""
    method, task = top.method, top.task
    check_columns(top.data, task, located)
    if asks_llm and top.llm is None:
        raise ConfigError(
            f"{located.name}: there is no `llm` section, but the method {method.name!r} asks one",
            hint="llm: {backend: openai_compatible, model: ..., base_url: ...}",
        )
    check_student(top.student, method, task, located.where(("student",)))
    check_method(method, task, located, own_keys)
    check_data(method, top.data, located.where(("data",)))
    check_llm(top.llm, task, top.limits, located)


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship in the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _add_recipe(located: LocatedYaml) -> None:
    """Merge a recipe's values into the file's own, which win."""
    task = located.values.get("task")
    if not isinstance(task, dict) or "recipe" not in task:
        return
    name = str(task.pop("recipe"))
    if name not in recipe_names():
        where = located.where(("task", "recipe"))
        raise UnknownNameError("recipe", name, recipe_names()).at(where)
    recipe = read_yaml(RECIPES / f"{name}.yaml").values
    hyper_parameters = recipe.pop("students", {})
    located.values = _merge(recipe, located.values)
    student = located.values.get("student", "linear")
    fields = {"name": student} if isinstance(student, str) else student
    if not isinstance(fields, dict) or str(fields.get("model")) in PRESETS:
        return  # what suits the recipe's encoder need not suit a preset's
    if found := hyper_parameters.get(str(fields.get("name"))):
        located.values["student"] = {**found, **fields}


def _merge(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, where `own` wins; a section that names another class replaces the section."""
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
    for section, keys in (
        ("data", ("gold", "test", "select", "decisions", "contexts", "corpus", "unlabelled")),
        ("retrieval", ("folder",)),
        ("method", ("seed_from", "added_from")),
    ):
        _resolve_keys(located.values.get(section), keys, folder, located, (section,))
    if isinstance(method := located.values.get("method"), dict):
        inner = method.get(NESTED[1])
        _resolve_keys(inner, ("seed_from", "added_from"), folder, located, NESTED)
    _resolve_models(located, folder)
    _resolve_llm(located.values.get("llm"), folder, located, ("llm",))
    task = located.values.get("task")
    prompts = task.get("prompts") if isinstance(task, dict) else None
    if isinstance(prompts, dict):
        for name, value in prompts.items():
            prompts[name] = _read_prompt(value, folder, located, ("task", "prompts", str(name)))


def _resolve_keys(
    values: Any, keys: Sequence[str], folder: Path, located: LocatedYaml, path: KeyPath
) -> None:
    for key in keys if isinstance(values, dict) else ():
        given, where = values.get(key), (*path, key)
        if isinstance(given, list):
            paths = cast("list[object]", given)
            values[key] = [_resolve(key, str(v), folder, located, where) for v in paths]
        elif isinstance(given, str):
            values[key] = _resolve(key, given, folder, located, where)


def _resolve_models(located: LocatedYaml, folder: Path) -> None:
    """Make the folders of pretrained models absolute; a name on the hub stays as it is."""
    for section, key in (("student", "model"), ("retrieval", "encoder")):
        values = located.values.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str):
            place = _absolute(values[key], folder, located, (section, key))
            if "$" in values[key] or os.path.isdir(place):
                values[key] = place


def _resolve_llm(llm: Any, folder: Path, located: LocatedYaml, path: KeyPath) -> None:
    """Make paths of stores, recordings and model files absolute, in all phases."""
    if isinstance(llm, list):
        for i, each in enumerate(llm):
            _resolve_llm(each, folder, located, (*path, str(i)))
    elif isinstance(llm, dict):
        values = cast("dict[str, Any]", llm)
        if isinstance(values.get("recordings"), str):
            values["recordings"] = [values["recordings"]]
        model = ("model",) if str(values.get("model")).endswith(".gguf") else ()
        _resolve_keys(values, ("store", "recordings", *model), folder, located, path)
        phases = values.get("phases")
        for kind, own in phases.items() if isinstance(phases, dict) else ():
            _resolve_llm(own, folder, located, (*path, "phases", str(kind)))


def _resolve(key: str, value: str, folder: Path, located: LocatedYaml, path: KeyPath) -> str:
    """Return a path as an absolute one, and other values as they are."""
    if (
        value.startswith("hf:")
        or "://" in value
        or (key == "contexts" and value in ("gold", "llm"))
    ):
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
    """Return a template's text: a value with a line break or a field is the text itself."""
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
