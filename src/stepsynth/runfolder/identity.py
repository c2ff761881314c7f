"""The identity of a run folder, compared with that of the run that opens it."""

import json
from collections.abc import Mapping
from typing import Any

from stepsynth._util.nested import flatten
from stepsynth._util.words import set_path
from stepsynth.errors import RunFolderError
from stepsynth.runfolder.paths import RunFolder
from stepsynth.taskfile import Config

_DATA = {
    "mine": "the gold rows that are mined",
    "select": "the select rows",
    "test": "the test rows",
    "contexts": "the contexts",
    "corpus": "the passages of the corpus",
    "unlabelled": "the unlabelled texts",
}


def check_identity(
    folder: RunFolder, identity: Mapping[str, Any], config: Config
) -> Mapping[str, Any]:
    """Return the identity in the folder, after a check that it is that of this run.

    A key that it lacks was added by a later version, whose default is the earlier behaviour.
    """
    try:
        known = json.loads(folder.identity.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(f"{folder.identity}: damaged: {error}") from error
    before, now = dict(flatten(known)), dict(flatten(json.loads(json.dumps(identity))))
    for key in [*now, *before]:
        is_new = key not in before and _is_default(key, config)
        if before.get(key) != now.get(key) and not is_new:
            # Another LLM or random seed has other requests, so no completion can be shared.
            is_shared = not key.startswith(("llm.", "random_seed"))
            option = set_path("llm.store", folder.store.absolute())
            store = f"; with {option} the runs share what"
            raise RunFolderError(
                f"{folder.path} belongs to another run: "
                + _describe_change(key, before.get(key), now.get(key)),
                hint=f"give another --out{f'{store} was paid for' if is_shared else ''}",
            )
    return known


def _describe_change(key: str, before: Any, now: Any) -> str:
    """Return in words how an identity differs; of data only the digest is known."""
    section, _, name = key.partition(".")
    if section != "data":
        return f"its {key} is {before!r}, now it is {now!r}"
    what = _DATA.get(name, f"the rows of method.{name}")
    if before is None or now is None:
        return f"{what} were {'not ' if before is None else ''}used in it"
    return f"{what} have changed"


def _is_default(key: str, config: Config) -> bool:
    """Return whether a key of an identity, such as `curation.clean`, has its default."""
    section, name = (*key.split("."), "")[:2]
    model = {
        "method": config.method,
        "student": config.student,
        "task": config.task,
        "curation": config.curation,
    }.get(section)
    field = type(model).model_fields.get(name) if model is not None else None
    return field is not None and getattr(model, name) == field.get_default(
        call_default_factory=True
    )
