"""What the table of prices says, what it leaves unknown, and whose endpoint a preset names."""

from datetime import date

import pytest

from stepsynth.errors import ConfigError, UnknownNameError
from stepsynth.llm.backends.anthropic import Anthropic
from stepsynth.llm.backends.llama_cpp import LlamaCpp
from stepsynth.llm.backends.openai_compatible import OpenAICompatible
from stepsynth.llm.backends.transformers import Transformers
from stepsynth.llm.core.presets import _read_presets, apply_preset, find_provider, preset_names
from stepsynth.llm.core.prices import Price, _read_table, find_price

SETTINGS = {
    "openai_compatible": OpenAICompatible,
    "anthropic": Anthropic,
    "llama_cpp": LlamaCpp,
}


@pytest.mark.parametrize(
    ("model", "provider", "listed"),
    [
        ("gpt-4o-mini", "openai", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "openai", "gpt-4o-mini"),
        ("gpt-5-mini-latest", "openai", "gpt-5-mini"),
        ("claude-sonnet-4-5-20250929", "anthropic", "claude-sonnet-4-5"),
    ],
)
def test_a_dated_version_costs_what_its_model_costs(model, provider, listed):
    assert find_price(model, provider) == find_price(listed, provider) != None  # noqa: E711


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o-mini-audio", "openai"),
        ("gpt-4o-audio-preview-2024-12-17", "openai"),
        ("gpt-4o-mini-2024", "openai"),
        ("gpt-4o-2024-07-18-mini", "openai"),
        ("gpt-5.4-pro", "openai"),
        ("claude-sonnet-4", "anthropic"),
        ("claude-opus-5-5-fast", "anthropic"),
        ("gpt-4o-mini", "anthropic"),
        ("gpt-4o-mini", "local"),
        ("gpt-4o-mini", ""),
        ("", "openai"),
    ],
)
def test_another_model_or_provider_has_no_price(model, provider):
    assert find_price(model, provider) is None


def test_a_version_with_a_price_of_its_own_keeps_it():
    assert find_price("gpt-4o-2024-05-13", "openai") == Price(prompt=5, completion=15)
    assert find_price("gpt-4o-2024-11-20", "openai") == find_price("gpt-4o", "openai")


def test_a_batch_costs_the_share_that_the_provider_says():
    assert find_price("gpt-4o-mini", "openai", batch=True) == Price(prompt=0.075, completion=0.3)
    assert find_price("claude-haiku-4-5", "anthropic", batch=True) == Price(
        prompt=0.5, completion=2.5, cached=0.05
    )


def test_every_entry_is_a_price_with_a_date_and_a_source():
    for provider, listed in _read_table().items():
        assert isinstance(listed["as_of"], date)
        assert listed["source"].startswith("https://")
        assert provider in preset_names()
        for model in listed["models"]:
            price = find_price(model, provider)
            assert price is not None
            assert 0 < price.prompt < price.completion
            assert price.cached is None or price.cached < price.prompt


def test_settings_know_their_price_by_their_endpoint():
    own = {"model": "gpt-4o-mini"}
    assert OpenAICompatible(**own).known_price() == find_price("gpt-4o-mini", "openai")
    for url in ("https://openrouter.ai/api/v1", "http://localhost:8000/v1", "https://a.b/v1"):
        assert OpenAICompatible(**own, base_url=url).known_price() is None
    # Another tier, and writing to the cache, cost sums that the table does not hold.
    assert OpenAICompatible(**own, extra_body={"service_tier": "flex"}).known_price() is None
    cached = {"cache_control": {"type": "ephemeral"}}
    assert Anthropic(model="claude-haiku-4-5").known_price() is not None
    assert Anthropic(model="claude-haiku-4-5", extra_body=cached).known_price() is None


@pytest.mark.parametrize("settings", [LlamaCpp, Transformers])
def test_an_llm_in_this_process_costs_what_you_say_else_nothing(settings):
    assert settings(model="m").known_price() == Price(prompt=0, completion=0)
    power = Price(prompt=0.1, completion=0.2)
    assert settings(model="m", price=power).known_price() == power


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_makes_valid_settings(name):
    preset = _read_presets()[name]
    values = apply_preset({"preset": name, "model": "m", **preset.get("needs", {})})
    assert "preset" not in values
    assert "needs" not in values
    settings = SETTINGS[values["backend"]].model_validate(values)
    assert getattr(settings, "base_url", None) == values.get("base_url")
    if "base_url" in preset:
        host = settings.base_url.split("/")[2]
        assert find_provider(settings.base_url) == ("local" if "127.0.0.1" in host else name)


def test_a_preset_that_is_wrong_says_what_to_do():
    with pytest.raises(UnknownNameError, match=r"x.yaml, line 3.*'olama'") as caught:
        apply_preset({"preset": "olama"}, where="x.yaml, line 3")
    assert "ollama" in caught.value.hint
    with pytest.raises(ConfigError, match="needs `base_url`") as missing:
        apply_preset({"preset": "azure", "model": "m"})
    assert "openai.azure.com/openai/v1" in missing.value.hint
    with pytest.raises(ConfigError, match="for the backend 'anthropic'"):
        apply_preset({"preset": "anthropic", "backend": "openai_compatible"})
    with pytest.raises(UnknownNameError):
        apply_preset({"preset": ["ollama"]})
