"""The `llm` section: presets, other LLMs for some kinds of prompt, what is inherited."""

import pytest

from stepsynth.errors import ConfigError, StepsynthError
from stepsynth.taskfile.config import load_config

TASK = """
task: {kind: classification, text_name: review, labels: [good, bad]}
data: {gold: gold.jsonl}
llm: {llm}
"""


@pytest.fixture
def load(tmp_path):
    def load_(llm: str, *overrides: str):
        path = tmp_path / "task.yaml"
        path.write_text(TASK.replace("{llm}", llm))
        return load_config(path, overrides).llm

    return load_


def test_a_preset_is_beneath_the_keys_of_the_section(load):
    llm = load("{preset: ollama, model: small, concurrency: 3}")
    assert (llm.backend, llm.model, llm.concurrency) == ("openai_compatible", "small", 3)
    assert llm.base_url == "http://127.0.0.1:11434/v1"


def test_a_preset_alone_may_stand_for_the_section(load):
    assert load("embedded") == load("{preset: embedded}")
    assert load("embedded").model == "smollm2-135m-instruct"  # a name, and no path
    with pytest.raises(ConfigError, match=r"line 4: llm.preset: no LLM preset is named 'olama'"):
        load("olama")
    llm = load("{backend: replay, recordings: x}", "llm=ollama", "llm.model=small")
    assert (llm.backend, llm.model) == ("openai_compatible", "small")


def test_a_phase_has_the_keys_of_the_section_but_for_its_own(load):
    llm = load(
        "{preset: openai, model: gpt-4o-mini, temperature: 0.7,"
        " phases: {extrapolate: {model: gpt-4o}}}"
    )
    (strong,) = llm.phases["extrapolate"]
    assert (strong.model, strong.temperature, strong.base_url) == ("gpt-4o", 0.7, llm.base_url)


def test_the_price_of_one_llm_is_not_that_of_another(load):
    llm = load(
        "{backend: openai_compatible, model: a, price: {prompt: 1, completion: 2},"
        " phases: {seed: {model: b}}}"
    )
    assert llm.known_price().prompt == 1
    assert llm.phases["seed"][0].known_price() is None
    with pytest.raises(ConfigError, match=r"limits.usd: the price of the LLM is not known \(b\)"):
        load(
            "{backend: openai_compatible, model: a, price: {prompt: 1, completion: 2},"
            " phases: {seed: {model: b}}}",
            "limits.usd=1",
        )


def test_several_teachers_take_turns_and_may_be_of_another_backend(load):
    llm = load(
        "{preset: openai, model: gpt-4o-mini, send_seed: false, concurrency: 9,"
        " phases: {seed: [{model: gpt-4o}, {preset: anthropic, model: claude}]}}"
    )
    first, second = llm.phases["seed"]
    assert (first.backend, second.backend) == ("openai_compatible", "anthropic")
    assert (first.concurrency, second.concurrency) == (9, 9)
    assert second.api_key_env == "ANTHROPIC_API_KEY"


def test_a_phase_that_is_no_kind_of_prompt_is_an_error(load):
    with pytest.raises(StepsynthError, match=r"llm\.phases\.sed: no kind of prompt is named 'sed'"):
        load("{preset: openai, model: a, phases: {sed: {model: b}}}")
    # No request is of that kind: its text is added to other prompts.
    with pytest.raises(StepsynthError, match="no kind of prompt is named 'several'"):
        load("{preset: openai, model: a, phases: {several: {model: b}}}")
    assert load("{preset: openai, model: a, phases: {correct: {model: b}}}").phases["correct"]
    with pytest.raises(ConfigError, match="expected the keys that differ"):
        load("{preset: openai, model: a, phases: {seed: b}}")
    with pytest.raises(ConfigError, match="unknown key"):
        load("{preset: openai, model: a, phases: {seed: {modle: b}}}")


def test_phases_are_part_of_the_identity_and_their_absence_is_not(load):
    plain = load("{preset: openai, model: a}")
    assert "phases" not in plain.identity()
    other = load("{preset: openai, model: a, phases: {seed: {model: b}}}")
    assert other.identity()["phases"]["seed"][0]["model"] == "b"
