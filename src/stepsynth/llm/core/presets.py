"""Presets: `llm: {preset: ollama, model: qwen3}` in place of a URL, a key's name and the like."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stepsynth.errors import ConfigError, UnknownNameError

PRESETS = Path(__file__).with_name("presets.yaml")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return sorted(_read_presets())


def apply_preset(values: Mapping[str, Any], *, where: str = "llm.preset") -> dict[str, Any]:
    """Return the keys of an `llm` section, with those of its preset as defaults.

    Args:
        values: The section; without the key `preset` it is returned as it is.
        where: The place of the key `preset`, for messages.

    Raises:
        UnknownNameError: No preset has that name.
        ConfigError: The preset needs a key that is not given, or is for another backend.
    """
    own = dict(values)
    if "preset" not in own:
        return own
    name = str(own.pop("preset"))
    presets = _read_presets()
    if name not in presets:
        raise UnknownNameError("LLM preset", name, presets).at(where)
    preset = dict(presets[name])
    for key, example in preset.pop("needs", {}).items():
        if key not in own:
            raise ConfigError(
                f"{where}: the preset {name!r} needs `{key}` beside it", hint=f"{key}: {example}"
            )
    if own.get("backend", preset["backend"]) != preset["backend"]:
        raise ConfigError(
            f"{where}: the preset {name!r} is for the backend {preset['backend']!r}, "
            f"not {own['backend']!r}",
            hint="leave `backend` out",
        )
    return {**preset, **own}


def find_provider(base_url: str) -> str:
    """Return the provider of a URL, by its host: a preset's name, "local", or ""."""
    host = urlsplit(base_url).hostname or ""
    if host in _LOOPBACK:
        return "local"
    for name, preset in _read_presets().items():
        if urlsplit(preset.get("base_url", "")).hostname == host:
            return name
    return ""


@cache
def _read_presets() -> dict[str, dict[str, Any]]:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(PRESETS)
