"""The JSON Schema of a task file, made from the registries."""

from typing import Any

from stepsynth.llm import llm_backends, preset_names
from stepsynth.taskfile.config import TaskFile, recipe_names


def task_file_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a task file."""
    schema = TaskFile.model_json_schema()
    recipe = {"recipe": {"enum": recipe_names()}}
    schema["properties"]["task"]["anyOf"].append(
        {"type": "object", "properties": recipe, "required": ["recipe"]}
    )
    # A preset stands for a backend, whose keys may stand beside it.
    found = (llm_backends().get(name).settings_class for name in llm_backends().names())
    keys = {key: True for settings in found for key in settings.model_fields}
    schema["properties"]["llm"]["anyOf"].append(
        {
            "type": "object",
            "properties": keys | {"preset": {"enum": preset_names()}},
            "required": ["preset"],
            "additionalProperties": False,
        }
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
