"""The JSON Schema of a task file, with what is registered: a new file adds itself."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from stepsynth.llm import llm_backends, preset_names
from stepsynth.methods import methods
from stepsynth.retrieval import retrievers
from stepsynth.students import students
from stepsynth.taskfile.config import TaskFile, recipe_names
from stepsynth.tasks import task_kinds

_REF = "#/$defs/{model}"


def task_file_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a task file."""
    kinds = {name: task_kinds().get(name) for name in task_kinds().names()}
    llms = {name: llm_backends().get(name).settings_class for name in llm_backends().names()}
    trained = {name: students().get(name) for name in students().names()}
    used = {name: methods().get(name) for name in methods().names()}
    searched = {name: retrievers().get(name) for name in retrievers().names()}
    models: list[type[BaseModel]] = [
        TaskFile,
        *kinds.values(),
        *llms.values(),
        *trained.values(),
        *used.values(),
        *searched.values(),
    ]
    refs, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF
    )
    schema = definitions["$defs"].pop(TaskFile.__name__)
    properties = schema["properties"]
    properties["task"] = {
        "anyOf": [
            *_choices(kinds, refs, "kind", is_required=False),
            {
                "type": "object",
                "properties": {"recipe": {"enum": recipe_names()}},
                "required": ["recipe"],
            },
        ]
    }
    properties["llm"] = {"anyOf": [*_choices(llms, refs, "backend"), _preset(llms)]}
    properties["student"] = _named(trained, refs, default="linear")
    properties["method"] = _named(used, refs, default="s3")
    properties["retrieval"] = _named(searched, refs, default="dense")
    named = (trained, used, searched)
    for selector, classes in (("kind", kinds), *(("name", classes) for classes in named)):
        for name, model in classes.items():
            # `name` and `kind` select the class and are not among its fields.
            properties = definitions["$defs"][_name(refs, model)]["properties"]
            properties[selector] = {"const": name}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "$defs": definitions["$defs"],
    }


def _preset(llms: dict[str, Any]) -> dict[str, Any]:
    """Return an `llm` section with a preset in the place of a backend."""
    names = {"preset": {"enum": preset_names()}}
    keys = {key: True for llm in llms.values() for key in llm.model_fields}
    return {
        "type": "object",
        "properties": {**keys, **names},
        "required": ["preset"],
        "additionalProperties": False,
    }


def _named(classes: dict[str, Any], refs: dict[Any, Any], *, default: str) -> dict[str, Any]:
    """Return a section that is a name, or a name with keys, or keys of the default class."""
    keys_only = {"allOf": [{"$ref": _REF.format(model=_name(refs, classes[default]))}]}
    return {"anyOf": [{"enum": list(classes)}, *_choices(classes, refs, "name"), keys_only]}


def _choices(
    classes: dict[str, Any], refs: dict[Any, Any], selector: str, *, is_required: bool = True
) -> list[dict[str, Any]]:
    return [
        {
            "allOf": [{"$ref": _REF.format(model=_name(refs, model))}],
            "properties": {selector: {"const": name}},
            **({"required": [selector]} if is_required else {}),
        }
        for name, model in classes.items()
    ]


def _name(refs: dict[Any, Any], model: type[BaseModel]) -> str:
    return refs[model, "validation"]["$ref"].rsplit("/", 1)[-1]
