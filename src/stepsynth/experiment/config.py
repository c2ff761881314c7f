"""The task file: YAML, checked and resolved into the objects of a run."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stepsynth.errors import ConfigError, PromptError, UnknownNameError, suggest
from stepsynth.experiment.locate import KeyPath, Located, build, parse_value, read_yaml
from stepsynth.llm import LLMSettings, llm_backends
from stepsynth.llm.limits import Limits
from stepsynth.methods import Method, methods
from stepsynth.students import Student, students
from stepsynth.tasks import Task, task_kinds

T = TypeVar("T", bound=BaseModel)
RECIPES = Path(__file__).parent.parent / "tasks" / "recipes"


class Split(BaseModel):
    """How gold is divided: a whole number is rows, a decimal a share of gold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mine: int | float | None = Field(
        default=None, gt=0, description="Rows that errors are mined from."
    )
    select: int | float | None = Field(
        default=None, gt=0, description="Rows that choose between rounds."
    )
    test: int | float | None = Field(
        default=None, gt=0, description="Rows to test on, if no file is."
    )

    @field_validator("mine", "select", "test")
    @classmethod
    def _check_share(cls, value: float | None) -> float | None:
        if isinstance(value, float) and value > 1:
            raise ValueError(f"a share of gold is at most 1.0, got {value}; rows have no point")
        return value


class DataSection(BaseModel):
    """Where the labelled rows are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gold: str = Field(
        description="Labelled rows: JSONL, CSV, TSV (gzipped or not), Parquet, or "
        "hf:NAME[:config[:split]]."
    )
    test: str | None = Field(
        default=None, description="Test rows; without it they are split from gold."
    )
    select: str | None = Field(default=None, description="Rows to select on; else split from gold.")
    contexts: str = Field(
        default="gold",
        description="What seed data is written for, where rows have a context: a file, `gold` "
        "(the contexts of the mined rows), or `llm` (the LLM writes them).",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Field (text, label, context, answers) -> column of your files.",
    )
    split: Split = Field(default_factory=Split)
    paper_splits: bool = Field(
        default=False, description="As in the paper: select on the mined rows."
    )


class TaskFile(BaseModel):
    """The sections of a task file; its JSON Schema is what `stepsynth schema` prints."""

    model_config = ConfigDict(extra="forbid", title="stepsynth task file")

    task: dict[str, Any]
    data: DataSection
    llm: dict[str, Any] | None = None
    student: dict[str, Any] | str = "linear"
    method: dict[str, Any] | str = "s3"
    limits: Limits = Field(default_factory=Limits)
    random_seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Config:
    """All that decides a run, as objects.

    Attributes:
        name: The task's name: the task file's.
        llm: None where the method asks no LLM.
    """

    name: str
    task: Task
    data: DataSection | None
    llm: LLMSettings | None
    student: Student
    method: Method
    limits: Limits
    random_seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return every value with every default filled in, as `config.yaml` shows it."""
        return {
            "task": {"kind": self.task.name, **self.task.model_dump(mode="json")},
            "data": self.data.model_dump(mode="json") if self.data else None,
            "llm": self.llm.model_dump(mode="json") if self.llm else None,
            "student": {"name": self.student.name, **self.student.model_dump(mode="json")},
            "method": {"name": self.method.name, **self.method.model_dump(mode="json")},
            "limits": self.limits.model_dump(mode="json"),
            "random_seed": self.random_seed,
        }


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
    located: Located, *, name: str, folder: Path, given: Mapping[str, Any] = MappingProxyType({})
) -> Config:
    """Return the configuration of a task file's values.

    Args:
        located: The values.
        name: What to call the task.
        folder: Paths are relative to it.
        given: Section (task, llm, student, method) -> an object that takes its place as it is.
    """
    # `student:` with nothing after it is as good as not written.
    located.values = {k: v for k, v in located.values.items() if v is not None}
    _add_recipe(located)
    _resolve_paths(located, folder)
    # The flexible sections are validated below, by the class that their name selects.
    top = build(TaskFile, located.values, located, ())
    method: Method = given.get("method") or build_named(
        methods().get, located, "method", default="s3"
    )
    task: Task = given.get("task") or _build_task(top.task, located)
    _check_columns(top.data, task, located)
    llm: LLMSettings | None = given.get("llm")
    if not method.needs_llm:
        llm = None
    elif llm is None and top.llm is not None:
        llm = _build_llm(top.llm, located)
    elif llm is None:
        raise ConfigError(
            f"{located.name}: there is no `llm` section, but the method {method.name!r} asks one",
            hint="llm: {backend: openai_compatible, model: ..., base_url: ...}",
        )
    student: Student = given.get("student") or build_named(
        students().get, located, "student", default="linear"
    )
    _check_student(student, task, located)
    if top.limits.usd is not None and llm is not None and llm.stores_completions and not llm.price:
        raise ConfigError(
            f"{located.where(('limits', 'usd'))}: the price of the LLM is not known",
            hint="set llm.price: {prompt: ..., completion: ...} in USD for a million tokens",
        )
    return Config(
        name=name,
        task=task,
        data=top.data,
        llm=llm,
        student=student,
        method=method,
        limits=top.limits,
        random_seed=top.random_seed,
    )


def _build_task(values: Mapping[str, Any], located: Located) -> Task:
    kind = str(values.get("kind", "classification"))
    task_class = task_kinds().get(kind, where=located.where(("task", "kind")))
    try:
        return build(task_class, _without(values, "kind"), located, ("task",))
    except PromptError as error:
        raise PromptError(f"{located.name}: {error.message}", hint=error.hint) from error


def _check_student(student: Student, task: Task, located: Located) -> None:
    """Make sure that a student can learn this kind of task (or the kind that it extends)."""
    if any(kind.name in student.kinds for kind in type(task).__mro__ if hasattr(kind, "name")):
        return
    able = [name for name in students().names() if task.name in students().get(name).kinds]
    raise ConfigError(
        f"{located.where(('student',))}: the student {student.name!r} cannot learn "
        f"{task.name}. Those that can: {', '.join(able)}.",
        hint=f"student: {{name: {able[0]}}}" if able else "",
    )


def build_named(get: Callable[..., type[T]], located: Located, section: str, *, default: str) -> T:
    """Return the object of a section whose `name` selects a class and whose other keys are its."""
    values = located.values.get(section, default)
    values = {"name": values} if isinstance(values, str) else dict(values)
    name = str(values.get("name", default))
    found = get(name, where=located.where((section, "name")))
    return build(found, _without(values, "name"), located, (section,))


def _build_llm(values: Mapping[str, Any], located: Located) -> LLMSettings:
    if "backend" not in values:
        raise ConfigError(
            f"{located.where(('llm',))}: `backend` is required. "
            f"Known: {', '.join(llm_backends().names())}."
        )
    backend = llm_backends().get(str(values["backend"]), where=located.where(("llm", "backend")))
    return build(backend.settings_class, values, located, ("llm",))


def _check_columns(data: DataSection, task: Task, located: Located) -> None:
    for field in data.columns:
        known = {**task.columns, **task.optional_columns}
        if field not in known:
            raise ConfigError(
                f"{located.where(('data', 'columns', field))}: a {task.name} row has no field "
                f"{field!r}. Fields: {', '.join(known)}.",
                hint=suggest(field, known),
            )


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship in the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _add_recipe(located: Located) -> None:
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
    if isinstance(fields, dict) and fields.get("name") in hyper_parameters:
        located.values["student"] = {**hyper_parameters[fields["name"]], **fields}


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


def _resolve_paths(located: Located, folder: Path) -> None:
    """Make every path absolute, and read the prompts that stand in files."""
    data, llm, task = (located.values.get(k) for k in ("data", "llm", "task"))
    for section, values, keys in (
        ("data", data, ("gold", "test", "select", "contexts")),
        ("llm", llm, ("store",)),
    ):
        if isinstance(values, dict):
            for key in keys:
                if _is_path(key, values.get(key)):
                    values[key] = _absolute(values[key], folder, located, (section, key))
    if isinstance(llm, dict) and isinstance(llm.get("recordings"), (list, str)):
        given = [llm["recordings"]] if isinstance(llm["recordings"], str) else llm["recordings"]
        where = ("llm", "recordings")
        llm["recordings"] = [_absolute(str(path), folder, located, where) for path in given]
    student = located.values.get("student")
    if isinstance(student, dict) and isinstance(student.get("model"), str):
        # A name on the hub stays one, unless a folder of that name is there.
        place = _absolute(student["model"], folder, located, ("student", "model"))
        if "$" in student["model"] or Path(place).is_dir():
            student["model"] = place
    prompts = task.get("prompts") if isinstance(task, dict) else None
    if isinstance(prompts, dict):
        for name, value in prompts.items():
            prompts[name] = _read_prompt(value, folder, located, ("task", "prompts", name))


def _is_path(key: str, value: object) -> bool:
    if not isinstance(value, str) or value.startswith("hf:"):
        return False
    return key != "contexts" or value not in ("gold", "llm")


def _absolute(value: str, folder: Path, located: Located, path: KeyPath) -> str:
    expanded = os.path.expanduser(os.path.expandvars(value))
    if unset := re.search(r"\$\{?(\w+)", expanded):
        raise ConfigError(
            f"{located.where(path)}: the environment variable {unset[1]} is not set",
            hint=f"set it, as in: {unset[1]}=/data stepsynth run ...",
        )
    return str((folder / expanded).absolute())


def _read_prompt(value: Any, folder: Path, located: Located, path: KeyPath) -> str:
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
