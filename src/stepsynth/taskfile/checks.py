"""Checks that the parts of a task file fit together, before anything is read or paid for."""

from collections.abc import Callable, Collection, Mapping

from stepsynth.curation import Curation
from stepsynth.data import DataSection
from stepsynth.errors import ConfigError, suggest
from stepsynth.methods import Method, SynthesisMethod
from stepsynth.students import Student, students
from stepsynth.taskfile.yaml_lines import NESTED, LocatedYaml
from stepsynth.tasks import Task, task_kinds

PASSAGE_COLUMNS = {"passage": "text", "passage_id": "id"}
"""Field of a passage -> its column in the files of a corpus."""


def check_student(student: Student, method: Method, task: Task, where: str) -> None:
    """Make sure that a student can learn this kind of task, and from what the method gives it."""
    kind = _kind(task)
    known = {name: students().get(name) for name in students().names()}
    if kind in student.kinds:
        if method.needs_meaning and not student.knows_meaning:
            encoders = [name for name, each in known.items() if each.knows_meaning]
            raise ConfigError(
                f"{where}: the method {method.name!r} needs a student with a sentence encoder "
                f"({', '.join(encoders)}): {student.name!r} does not know that texts are alike "
                "which share no word",
                hint=f"student: {encoders[0]}",
            )
        return
    able = [name for name, each in known.items() if kind in each.kinds]
    raise ConfigError(
        f"{where}: the student {student.name!r} cannot learn {kind}. "
        f"Those that can: {', '.join(able)}.",
        hint=f"student: {{name: {able[0]}}}" if able else "",
    )


def check_method(method: Method, task: Task, located: LocatedYaml, stated: Collection[str]) -> None:
    """Make sure that a method is defined for this kind of task, and that its keys do something.

    Args:
        method: The method.
        task: The task.
        located: Knows the line of each key.
        stated: Keys that the user has set, not a recipe.

    Raises:
        ConfigError: It is not, or they do not; the message has the place of the key.
    """
    for part in method.parts:
        if _kind(task) not in part.kinds:
            raise ConfigError(
                f"{located.where(('method',))}: the method {part.name!r} is not defined for "
                f"{_kind(task)}, only for {', '.join(part.kinds)}"
            )
    by_command = {path[1] for path in located.origins if path[0] == "method" and len(path) > 1}
    if by_command and ("method",) not in located.origins:
        # Keys of the file may well be idle beside those of the command line.
        stated = by_command
    for part in method.parts:
        own = stated if part is method else part.model_fields_set
        place = ("method",) if part is method else NESTED
        for key, (value, why) in find_idle(part, task, own).items():
            raise ConfigError(
                f"{located.where((*place, key))}: {value!r} has no effect on the method "
                f"{part.name!r}: {why}",
                hint=f"leave {key} out",
            )


def find_idle(method: Method, task: Task, stated: Collection[str]) -> dict[str, tuple[object, str]]:
    """Return the keys that were set but have no effect: key -> its value, and why."""
    fields = type(method).model_fields
    if fields.keys() <= set(stated):
        return {}  # the resolved configuration of a run states every key
    return {
        key: (getattr(method, key), why)
        for key, why in method.idle_keys(task).items()
        if key in stated and getattr(method, key) != fields[key].default
    }


def check_curation(
    curation: Curation, method: Method, task: Task, warn: Callable[[str], None]
) -> None:
    """Make sure that the curation suits rows of this kind; warn of what has no effect.

    Raises:
        ConfigError: A filter is about labels, and the rows have answers or sets of labels; or a key
            does nothing.
    """
    asked = {"check": curation.check != "none", "balance": curation.balance}
    has_one_label = task.label_names and not task.has_label_sets
    if not has_one_label and any(asked.values()):
        keys = " and ".join(f"curation.{key}" for key, is_set in asked.items() if is_set)
        theirs = "sets of labels" if task.has_label_sets else "answers"
        raise ConfigError(
            f"{keys}: these filters are about labels, and {_kind(task)} rows have {theirs}",
            hint="leave it out; curation.duplicates, min_words and max_words work for every row",
        )
    default = Curation.model_fields["similarity"].default
    if curation.duplicates != "near" and curation.similarity != default:
        raise ConfigError(
            f"curation.similarity: {curation.similarity} has no effect: texts are likened with "
            "duplicates: near alone",
            hint="curation.duplicates: near, or leave similarity out",
        )
    if curation.check == "llm" and not method.needs_llm and isinstance(method, SynthesisMethod):
        warn(
            f"curation.check: the method {method.name!r} asks no LLM, so labels are not checked; "
            "student or confident would check them"
        )


def check_data(method: Method, data: DataSection, where: str) -> None:
    """Make sure that the data that a method needs is there."""
    if method.uses_gold and data.gold is None:
        raise ConfigError(
            f"{where}: there are no gold rows, but the method {method.name!r} uses them "
            f"({method.seen})",
            hint="data: {gold: gold.jsonl}",
        )
    if method.uses_corpus and not data.corpus:
        raise ConfigError(
            f"{where}: there is no corpus, but the method {method.name!r} retrieves passages",
            hint="data: {corpus: passages.jsonl}",
        )
    if method.needs_unlabelled and data.unlabelled is None:
        raise ConfigError(
            f"{where}: there are no unlabelled texts, but the method {method.name!r} labels some",
            hint="data: {unlabelled: texts.jsonl}",
        )


def check_columns(data: DataSection, task: Task, located: LocatedYaml) -> None:
    """Make sure that the `data` section is about rows as the task has them."""
    if data.decisions is not None and task.has_label_sets:
        raise ConfigError(
            f"{located.where(('data', 'decisions'))}: decisions are about one label a row, and a "
            f"{task.name} row has a set of them",
            hint="correct the labels in the gold file",
        )
    known: Mapping[str, str] = {**task.columns, **task.optional_columns, **PASSAGE_COLUMNS}
    for field in data.columns:
        if field not in known:
            raise ConfigError(
                f"{located.where(('data', 'columns', field))}: a {task.name} row has no field "
                f"{field!r}. Fields: {', '.join(known)}.",
                hint=suggest(field, known),
            )


def _kind(task: Task) -> str:
    """Return the registered kind that a task is, or that its class extends."""
    names = task_kinds().names()
    found = (vars(kind).get("name") for kind in type(task).__mro__)
    return next((name for name in found if name in names), task.name)
