"""Writer of docs/task-file.md, with every key of a task file: `python scripts/task_file.py`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stepsynth.curation import Curation
from stepsynth.data import Split
from stepsynth.executors import executor_kinds
from stepsynth.llm import Limits, LiveSettings, LLMSettings, llm_backends, preset_names
from stepsynth.methods import SynthesisMethod, WritingMethod, methods
from stepsynth.retrieval import retrievers
from stepsynth.students import students
from stepsynth.taskfile.config import DataSection, TaskFile, recipe_names
from stepsynth.tasks import task_kinds

PAGE = Path(__file__).parents[1] / "docs" / "task-file.md"
HEAD = """# Every key of a task file

A task file is YAML. `stepsynth schema` prints the same as a JSON Schema, which editors check
against; `stepsynth init` writes a commented file. Any key can be set on the command line:
`--set method.rounds=3`. What is set for another class than the one that is named is refused, with
its line.

<!-- Written by scripts/task_file.py from the classes; do not edit. -->
"""


def page() -> str:
    """Return the page."""
    shared_llm = frozenset(LiveSettings.model_fields)
    shared_method = frozenset(WritingMethod.model_fields)
    sections = frozenset(TaskFile.model_fields) - {"random_seed"}
    parts = [
        HEAD,
        _section("Beside the sections", [_keys(TaskFile, without=sections)]),
        _section(
            "task",
            [
                f"`recipe`: one of {_names(recipe_names())}; else:",
                *_each("kind", task_kinds()),
            ],
        ),
        _section("data", [_keys(DataSection), "### `data.split`", _keys(Split)]),
        _section(
            "llm",
            [
                f"`preset`: one of {_names(preset_names())}; or `backend`, one of those below.",
                "### All backends",
                _keys(LLMSettings),
                "### All backends but `replay`",
                _keys(LiveSettings, without=frozenset(LLMSettings.model_fields)),
                *_each("backend", llm_backends(), settings=True, without=shared_llm),
            ],
        ),
        _section("student", list(_each("name", students()))),
        _section(
            "method",
            [
                "### All methods but `gold`, `llm`, `selftrain` and `zeroshot`",
                _keys(SynthesisMethod),
                "### All methods whose rows the LLM writes: those without `regen`",
                _keys(WritingMethod, without=frozenset(SynthesisMethod.model_fields)),
                *_each("name", methods(), without=shared_method),
            ],
        ),
        _section("retrieval", list(_each("name", retrievers()))),
        _section("curation", [_keys(Curation)]),
        _section("limits", [_keys(Limits)]),
        _section(
            "executors",
            [
                "Where `compare --executor NAME` has its runs done, and `run --executor NAME` its "
                "shards: a name, and its keys below it.",
                *(
                    part.replace("executors: ", "executors.")
                    for part in _each("executors", executor_kinds())
                ),
            ],
        ),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _section(title: str, parts: list[str]) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])


def _each(
    selector: str, registry: Any, *, settings: bool = False, without: frozenset[str] = frozenset()
) -> Iterator[str]:
    for name in registry.names():
        found = registry.get(name)
        model = found.settings_class if settings else found
        yield f"### `{selector}: {name}`"
        yield _keys(model, without=without) or "No further key."


def _keys(model: type[BaseModel], *, without: frozenset[str] = frozenset()) -> str:
    """Return a table of the keys of a class; "": it has no keys of its own."""
    rows = [
        f"| `{name}` | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in model.model_fields.items()
        if name not in {*without, "name", "backend", "kind"}
    ]
    if not rows:
        return ""
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows])


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    return f"`{_cell(json.dumps(value, default=str))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
