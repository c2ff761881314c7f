"""Whatever a task file holds, loading it ends soon, with a configuration or with our own error."""

import gc
import time
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsynth.errors import StepsynthError
from stepsynth.llm.core.presets import preset_names
from stepsynth.methods import methods
from stepsynth.runfolder.folder import dump_yaml
from stepsynth.students import students
from stepsynth.taskfile.config import load_config, recipe_names
from stepsynth.taskfile.yaml_lines import parse_yaml

MOST_S = 5

REVIEWS = """\
# Reviews, with what most task files say.
task:
  kind: classification
  instruction: Decide whether a review is positive.
  text_name: review
  language: French
  labels: {neg: negative, "1": "very positive", other: anything else}
  prompts:
    seed: |
      Write a {{ text_name }} that is {{ label_word }}.
      {% if rationales %}Reasons: {{ rationales | join("; ") }}{% endif %}
data:
  gold: gold.csv
  test: test.jsonl
  columns: {text: body, label: stars}
  split: {mine: 0.6, select: 200}
llm:
  backend: openai_compatible
  base_url: http://127.0.0.1:8000/v1
  model: small
  api_key_env: SOME_KEY
  headers: {X-Team: data}
  extra_body: {top_k: 40, stop: ["###"]}
  temperature: 0.9
  price: {prompt: 0.15, completion: 0.6}
  phases:
    extrapolate: {model: large}
    seed: [{model: a}, {model: b}]
student: {name: linear, search: {trials: 30, space: {C: {low: 0.01, high: 100, log: true}}}}
method: {name: s3, seed_size: 600, rounds: 2, keep: best, train_on: both}
curation: {duplicates: near, check: llm, min_words: 3}
limits: {tokens: 2.0e+6, requests: 5000, minutes: 90}
random_seed: 7
"""
PAIRS = """\
task:
  <<: &names {text_name: hypothesis, context_name: premise}
  kind: sentence_pair
  labels: [entailment, neutral, 3]
data: {gold: pairs.tsv, select: s.csv, contexts: llm, columns: {context: a, text: b}}
llm: {backend: scripted, rules: [{pattern: "", answers: ["x", "y"]}]}
student: transformer
method: zerogen
"""
QUESTIONS = """\
task: {recipe: squad, extrapolate: new_answer}
data: {gold: "hf:squad", contexts: passages.jsonl}
llm: {preset: ollama, model: m}
student: {name: transformer, epochs: 2}
limits: {tokens: 100000}
"""
RETRIEVED = """\
task: {kind: classification, labels: [a, b], prompts: {refine: "{{ passage }} {{ label_word }}"}}
data: {gold: g.jsonl, corpus: [one.jsonl, two], columns: {passage: body}}
llm: {backend: replay, recordings: r.jsonl, fallback: none}
student: {name: ensemble, members: 3}
method: synthesizrr
retrieval: {name: bm25}
"""
RECIPES = [
    f"task: {{recipe: {name}}}\ndata: {{gold: g.jsonl, corpus: c.jsonl}}\n"
    "llm: {preset: vllm, model: m}\n"
    for name in recipe_names()
]
FILES = [REVIEWS, PAIRS, QUESTIONS, RETRIEVED, *RECIPES]

PLACE = st.integers(0, 5_000)
ODD_VALUES = [
    *(None, True, False, 0, 1, -1, 2**31, 2**62, 0.0, -0.5, 0.5, 1.0, 1e-300, 1e300),
    *("", " ", "0", "null", "~", "nan", "a\tb", "a\nb", "{{ x }}", "{% if %}", "[", "$", "$HOME"),
    *("~", "~nobody/x", "..", "/", "hf:", "hf::", "http://", "http://[", "sk-1234567890", "雨"),
    *("a\u202eb", "x" * 5_000, "\\", "%s", "{}", "(", "*", "2001-01-01", "gold", "llm"),
    *([], [[]], [None], [1, "a"], ["a"] * 300, {}, {"a": None}, {"name": None}, {"name": []}),
    *({"name": "s3", "rounds": 0}, {"": 1}, {1: 2}, {"a[b": 1}, {"a.b": {"c": [{}]}}),
]
NAMES = [*methods().names(), *students().names(), *preset_names(), *recipe_names()]
VALUES = st.one_of(
    st.sampled_from(ODD_VALUES),
    st.sampled_from(NAMES),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
)
PIECES = """\
&a|*a|<<: *a|<<: {a: 1}|&a [*a, *a]|!!binary x|!x|!!python/object:os.system|? |- |: |# |'|"|[|]|{|}
,|>|%YAML 1.1\n---\n|---\n|...\n|\t|\0|\r|\u2028|\x85|\x1b[2J|.nan|.inf|1e999|0x|1_|-|=|~
\n  gold: x\n|\nmethod: gold\n|\nllm:\n|{{ 9 }}|{{ x.y }}|{% for %}"""
SNIPPETS = st.one_of(st.sampled_from(PIECES.split("|")), st.text(max_size=6))


def paths_of(value, path=()):
    """Return the place of every value below one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, each in inner:
        found.append((*path, key))
        if isinstance(each, (dict, list)):
            found += paths_of(each, (*path, key))
    return found


def change_value(text, how, place, other, value):
    """Change a value or a key of a file that can still be read; else it stays as it is."""
    try:
        values = parse_yaml(text, "x").values
        places = paths_of(values)
        *above, key = places[place % len(places)]
        *_, other_key = places[other % len(places)]
    except (StepsynthError, ZeroDivisionError):
        return text
    section = values
    for part in above:
        section = section[part]
    if how == "set":
        section[key] = value
    elif how == "delete":
        del section[key]
    elif how == "wrap":
        section[key] = [section[key]] if other % 2 else {"name": section[key]}
    elif how == "root":
        values[key] = deepcopy(section[key])
    elif isinstance(section, dict):
        section[value if how == "rename" and isinstance(value, str) else other_key] = section.pop(
            key
        )
    try:
        return dump_yaml(values)
    except Exception:  # what cannot be written is no file
        return text


def change_text(text, how, place, other, snippet):
    """Change lines or characters."""
    lines = text.split("\n")
    i, j = place % len(lines), other % len(lines)
    at = place % (len(text) + 1)
    if how == "insert":
        return text[:at] + snippet + text[at:]
    if how == "repeat":
        return text[:at] + snippet * (other % 3_000) + text[at:]
    if how == "cut":
        return text[:at] + text[at + other % 9 :]
    if how == "end":
        return text[:at]
    if how == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    elif how == "copy":
        lines.insert(j, lines[i])
    elif how == "indent":
        lines[i] = " " * (other % 5) + lines[i].lstrip(" " * (other % 2))
    else:
        del lines[i]
    return "\n".join(lines)


BY_VALUE = ("set", "set", "set", "delete", "rename", "move", "wrap", "root")
BY_TEXT = ("insert", "insert", "repeat", "cut", "end", "swap", "copy", "indent", "drop")
OF_VALUES = st.lists(
    st.tuples(st.sampled_from(BY_VALUE), PLACE, PLACE, VALUES), min_size=1, max_size=2
)
OF_TEXT = st.lists(
    st.tuples(st.sampled_from(BY_TEXT), PLACE, PLACE, SNIPPETS), min_size=1, max_size=2
)
OF_BYTES = st.lists(st.tuples(PLACE, st.binary(min_size=1, max_size=3)), max_size=1)
PLACES = """\
method|method.name|student|student.name|task.labels|task.labels.x|task.recipe|task.prompts|data
data.gold|data.corpus.0|data.split.mine|llm|llm.phases|llm.phases.seed|llm.extra_body.a.b|limits.usd
random_seed|curation|retrieval|task.prompts.seed|.|a..b|0"""
KEYS = st.one_of(st.sampled_from(PLACES.replace("\n", "|").split("|")), st.text(max_size=5))
NEW = st.one_of(SNIPPETS, st.sampled_from(NAMES), VALUES.map(str))


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Loads a file of these bytes; what is returned can be written, what is raised is ours."""
    place = tmp_path_factory.mktemp("tasks") / "task.yaml"

    def load(raw, overrides=()):
        place.write_bytes(raw)
        gc.disable()  # What hypothesis keeps takes half a second to look through.
        began = time.process_time()
        try:
            said = dump_yaml(load_config(place, overrides).to_dict())
        except StepsynthError as error:
            said = error.message if error.exit_code == 2 else ""
        took = time.process_time() - began
        gc.enable()
        assert took < MOST_S
        assert said
        return said

    return load


@pytest.mark.parametrize("text", FILES)
def test_the_files_that_are_changed_are_valid(text, load):
    assert load(text.encode()).startswith("task:")


@given(st.sampled_from(FILES), OF_VALUES)
def test_a_file_with_other_values_loads_or_says_what_is_wrong_soon(load, text, changes):
    for change in changes:
        text = change_value(text, *change)
    load(text.encode())


@given(st.sampled_from(FILES), OF_TEXT, OF_BYTES)
def test_a_file_with_other_text_loads_or_says_what_is_wrong_soon(load, text, changes, others):
    for change in changes:
        text = change_text(text, *change)
    raw = bytearray(text.encode("utf-8", "replace"))
    for place, new in others:
        start = place % (len(raw) + 1)
        raw[start : start + len(new)] = new
    load(bytes(raw))


@given(st.sampled_from(FILES), st.lists(st.tuples(KEYS, NEW), min_size=1, max_size=3))
def test_any_override_loads_or_says_what_is_wrong_soon(load, text, overrides):
    load(text.encode(), [f"{key}={value}" for key, value in overrides])
