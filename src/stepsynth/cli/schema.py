"""`stepsynth schema`: the JSON Schema of a task file, for editors and scripts."""

import json

from stepsynth.cli._shared import handle_errors


@handle_errors
def schema() -> None:
    """Print the JSON Schema of a task file: every key."""
    from stepsynth.taskfile import task_file_schema

    print(json.dumps(task_file_schema(), indent=2, ensure_ascii=False))
