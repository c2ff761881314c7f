"""The `llm` section of a task file: presets, and other LLMs for some kinds of prompt."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from stepsynth.errors import ConfigError, UnknownNameError
from stepsynth.llm import (
    Limits,
    LiveSettings,
    LLMSettings,
    apply_preset,
    llm_backends,
    preset_names,
)
from stepsynth.taskfile.yaml_lines import KeyPath, LocatedYaml
from stepsynth.tasks import Task

LISTS = frozenset(
    {
        *("rationale", "answers", "dimensions", "values", "similar", "condition"),
        *("domains", "instance_seeds"),
    }
)
"""Prompts whose answer is a list."""
LIST_TOKENS = 400
"""Tokens of twenty short reasons: lists get them even where `max_tokens` for texts is lower."""

_NOT_INHERITED = ("phases", "store", "price", "shards")
"""Keys that another LLM does not inherit from the main one: a price would be a guess."""


def spread(located: LocatedYaml) -> Any:
    """Return the `llm` section with presets spelt out, and inherited keys added to phases.

    Raises:
        ConfigError: A key is wrong; the message has its file and line.
    """
    given = located.values["llm"]
    if not isinstance(given, dict):
        return given
    main = _spell_out(cast("dict[str, Any]", given), located, ("llm",))
    if not (phases := main.pop("phases", None)):
        return main
    if not isinstance(phases, dict):
        raise ConfigError(
            f"{located.where(('llm', 'phases'))}: expected kinds of prompt, got {phases!r}",
            hint="phases: {extrapolate: {model: ...}}",
        )
    spelt: dict[str, Any] = {}
    for kind, given in cast("dict[str, Any]", phases).items():
        path = ("llm", "phases", kind)
        if isinstance(given, list):
            several = cast("list[object]", given)
            spelt[kind] = [_inherit(main, own, located, path) for own in several]
        else:
            spelt[kind] = _inherit(main, given, located, path)
    return main | {"phases": spelt}


def check_llm(llm: LLMSettings | None, task: Task, limits: Limits, located: LocatedYaml) -> None:
    """Make sure that phases are kinds of prompt, and that a cap on USD can be enforced.

    Raises:
        ConfigError: They are not, or it cannot; the message has the place of the key.
    """
    if llm is None:
        return
    kinds = task.template_sources().keys() - {"several"}  # which is added to prompts of any kind
    for kind in llm.phases:
        if kind not in kinds:
            where = located.where(("llm", "phases", kind))
            raise UnknownNameError("kind of prompt", kind, kinds).at(where)
        if any(each.num_shards > 1 for each in llm.phases[kind]):
            where = located.where(("llm", "phases", kind))
            raise ConfigError(f"{where}: shards are of the whole run", hint="set llm.shards")
    if llm.num_shards > 1 and not all(each.stores_completions for each in llm.endpoints()):
        raise ConfigError(
            f"{located.where(('llm', 'shards'))}: recordings and rules cannot be shared out",
            hint="leave llm.shards out, or the phases that are replayed",
        )
    paid = [each for each in llm.endpoints() if each.stores_completions]
    unknown = [each.model for each in paid if each.known_price() is None]
    if limits.usd is not None and unknown:
        raise ConfigError(
            f"{located.where(('limits', 'usd'))}: the price of the LLM is not known "
            f"({', '.join(unknown)})",
            hint="set llm.price: {prompt: ..., completion: ...} in USD for a million tokens, or "
            "limits.tokens",
        )


def _spell_out(values: Mapping[str, Any], located: LocatedYaml, path: KeyPath) -> dict[str, Any]:
    spelt = apply_preset(values, where=located.where((*path, "preset")))
    if "backend" not in spelt:
        raise ConfigError(
            f"{located.where(path)}: `backend` is required. "
            f"Known: {', '.join(llm_backends().names())}; or a `preset`: "
            f"{', '.join(preset_names())}."
        )
    return spelt


def _inherit(
    main: Mapping[str, Any], own: Any, located: LocatedYaml, path: KeyPath
) -> dict[str, Any]:
    """Return the keys of another LLM: its own, and those inherited from the main one."""
    if not isinstance(own, dict):
        raise ConfigError(
            f"{located.where(path)}: expected the keys that differ, got {own!r}",
            hint="{model: ...}, or a list of such",
        )
    inherited = {key: value for key, value in main.items() if key not in _NOT_INHERITED}
    own = apply_preset(cast("dict[str, Any]", own), where=located.where((*path, "preset")))
    if {"backend", "base_url"} & own.keys():
        # Another endpoint must not get the headers, API keys and rates of the main one.
        shared = _shared_keys(str(own.get("backend", main["backend"])))
        inherited = {key: value for key, value in inherited.items() if key in shared}
    if path[-1] in LISTS and _is_short(inherited.get("max_tokens")):
        del inherited["max_tokens"]
    return _spell_out({**inherited, **own}, located, path)


def _shared_keys(backend: str) -> set[str]:
    """Return the keys that a backend has in common with the others, without the LLM's name."""
    if backend not in llm_backends().names():
        return set()  # validation of the section reports it
    keys = llm_backends().get(backend).settings_class.model_fields.keys()
    return (keys & LiveSettings.model_fields.keys()) - {"model"}


def make_room(llm: LLMSettings, prompts: Iterable[str]) -> LLMSettings:
    """Return the settings with enough `max_tokens` for lists, if that for texts is lower.

    Args:
        llm: The settings; their phases stay as they are.
        prompts: Names of the task's prompts.
    """
    if not _is_short(llm.live().max_tokens) or not llm.stores_completions:
        return llm
    lists = {name: _roomy(llm) for name in prompts if name in LISTS}
    return llm.model_copy(update={"phases": {**lists, **llm.phases}}) if lists else llm


def chosen_phases(llm: LLMSettings) -> set[str]:
    """Return the kinds of prompt that have an LLM of the user's choice, not of `make_room`."""
    return {kind for kind, several in llm.phases.items() if several != _roomy(llm)}


def _roomy(llm: LLMSettings) -> tuple[LLMSettings, ...]:
    return (llm.model_copy(update={"max_tokens": LIST_TOKENS, "phases": {}}),)


def _is_short(max_tokens: object) -> bool:
    return isinstance(max_tokens, int) and max_tokens < LIST_TOKENS
