"""What the README shows and says, held against what is there."""

import json
import re
import tomllib
from pathlib import Path
from statistics import fmean

import pytest

import stepsynth
from stepsynth.llm import llm_backends
from stepsynth.llm.core.presets import preset_names
from stepsynth.methods import methods
from stepsynth.retrieval import retrievers
from stepsynth.runner.runner import Runner
from stepsynth.students import students
from stepsynth.taskfile.config import load_config, recipe_names
from stepsynth.taskfile.schema import task_file_schema
from stepsynth.tasks import task_kinds
from tests.docs.test_docs import PAGES, ROOT, blocks
from tests.stub_server import completion

README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = Path(stepsynth.__file__).parent / "demo" / "support.yaml"


def section(title):
    return re.search(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README)[1]


# The demo --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """The demo's rounds, by random seed."""
    folder = tmp_path_factory.mktemp("demo")
    configs = [load_config(DEMO, [f"random_seed={seed}"]) for seed in range(8)]
    return [Runner(c, out=folder / str(c.random_seed)).run().rounds for c in configs]


def test_the_demos_table_is_what_it_prints(demos):
    (shown,) = (text for _, _, text in blocks(ROOT / "README.md") if text.startswith("round  "))
    lines = [line.replace("kept", "").split() for line in shown.splitlines()[1:]]
    for line, row in zip(lines, demos[0], strict=True):
        counts = (row.round, row.added, row.train_size, row.misclassified)
        scores = [scores["accuracy"] for scores in (row.select, row.test)]
        assert line == [*map(str, counts), *(f"{score:.3f}" for score in scores)]


def test_the_demo_over_random_seeds_is_as_said(demos, tmp_path):
    said = section("Try it").replace("\n", " ")
    first, last = ([rounds[at].test["accuracy"] for rounds in demos] for at in (0, -1))
    told = r"Over seeds 0 to 7 test accuracy goes from ([\d.]+) % to ([\d.]+) % on average"
    means = [float(number) / 100 for number in re.search(told, said).groups()]
    assert means == pytest.approx([fmean(first), fmean(last)], abs=0.000501)
    assert "and falls in two of the eight" in said
    assert sum(b < a for a, b in zip(first, last, strict=True)) == 2
    gold = stepsynth.run(DEMO, overrides=["method=gold"], out=tmp_path / "gold").summary.test
    told = f"The 80 mined messages alone, without an LLM, give {100 * gold['accuracy']:.1f} %"
    assert told in said


@pytest.mark.timeout(600)  # fifteen runs with their reports
def test_the_demos_comparison_ends_as_said(tmp_path):
    (line,) = (x for x in README.splitlines() if "compare src/stepsynth/demo/support.yaml" in x)
    names, seeds = re.search(r"--methods (\S+) --seeds (\d)", line).groups()
    compared = stepsynth.compare(DEMO, names.split(","), seeds=int(seeds), out=tmp_path / "out")
    assert "there no method beats ZeroGen beyond noise" in README
    assert compared.verdict[0] == "No method beats zerogen beyond noise (macro-F1)."
    assert set(compared["s3"].against) == {"accuracy", "macro_f1"}
    assert compared["s3"].against["accuracy"].low < compared["s3"].against["accuracy"].high


# Python ----------------------------------------------------------------------------------------

LABELS = ("billing", "delivery", "other")


def answer(number, body):
    said = body["messages"][-1]["content"]
    label = next((label for label in LABELS if label in said), "other")
    if "different reasons" in said or "List" in said:
        return completion("\n".join(f"{i}. reason {i} of {label}" for i in range(1, 21)))
    return completion(f"a {label} matter, case {number}")


def test_the_python_example_runs_as_it_stands(server, tmp_path, monkeypatch):
    server.answer = answer
    monkeypatch.chdir(tmp_path)
    texts = [
        (f"a {LABELS[i % 3]} matter no {i}", LABELS[(i + (i % 10 == 0)) % 3]) for i in range(90)
    ]
    gold = [{"text": text, "label": label} for text, label in texts]
    Path("gold.jsonl").write_text("\n".join(map(json.dumps, gold)), encoding="utf-8")
    Path("task.yaml").write_text(
        f"task: {{labels: {list(LABELS)}}}\ndata: {{gold: gold.jsonl}}\n"
        f"llm: {{backend: openai_compatible, base_url: '{server.url}', model: m}}\n"
        "method: {name: s3, seed_size: 12, rounds: 1}\n",
        encoding="utf-8",
    )
    (code,) = (text for _, language, text in blocks(ROOT / "README.md") if language == "python")
    code = code.replace("http://127.0.0.1:8000/v1", f"{server.url}").replace("=600", "=30")
    names = {"gold": gold}
    exec(compile(code, "README.md", "exec"), names)
    assert names["result"].model.predict(["where is my parcel?"])[0] in LABELS
    assert Path("runs/mails/manifest.json").exists()
    assert Path("data.jsonl").exists()
    assert Path("report.html").exists()
    assert names["compared"].random_seeds == [0, 1, 2, 3, 4]


# Names and numbers -----------------------------------------------------------------------------


def test_every_method_is_named():
    opening = README[: README.index("## Try it")]
    said = set(re.findall(r"`(\w+)`", opening)) | {"s3", "llm"}
    assert said == set(methods().names())
    assert "and the LLM itself for reference" in opening


def test_the_presets_and_recipes_are_there():
    (line,) = (line for line in README.splitlines() if "preset: ollama" in line)
    named = ["ollama", *re.findall(r"[\w.]+", line.split("#")[1].split("...")[0])]
    assert set(named) <= set(preset_names())
    assert f"recipes for {len(recipe_names())} data sets" in README


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = README[README.index("Extras, as in") : README.index("`--json` prints")]
    named = set(re.findall(r"`(\w+)`", said))
    assert named == project["optional-dependencies"].keys()


def registered():
    """Return every registered class that has keys, by section and name."""
    registries = {
        **{"task": task_kinds(), "student": students(), "method": methods()},
        "retrieval": retrievers(),
    }
    found = {(s, name): r.get(name) for s, r in registries.items() for name in r.names()}
    backends = llm_backends()
    return found | {("llm", n): backends.get(n).settings_class for n in backends.names()}


def test_the_schema_lists_all_keys():
    schema = task_file_schema()
    selectors = {"task": "kind", "llm": "backend"}
    for (section, name), model in registered().items():
        said = {selectors.get(section, "name"): {"const": name}}
        choices = schema["properties"][section]["anyOf"]
        (keys,) = next(each["allOf"] for each in choices if each.get("properties") == said)
        if "$ref" in keys:
            keys = schema["$defs"][keys["$ref"].rsplit("/", 1)[-1]]
        listed = keys["properties"]
        assert model.model_fields.keys() <= listed.keys(), (section, name)
        assert all("description" in listed[key] for key in model.model_fields if section != "llm")


def test_every_key_can_be_set_on_the_command_line(tmp_path):
    task = tmp_path / "task.yaml"
    task.write_text(
        "task: {labels: [a, b]}\n"
        "data: {gold: gold.jsonl, corpus: passages.jsonl, unlabelled: texts.jsonl}\n"
        "llm: {backend: scripted, rules: [{pattern: x, answers: [y]}]}\n"
    )
    for (section, name), model in registered().items():
        if section not in ("student", "method", "retrieval"):
            continue
        defaults = json.loads(model().model_dump_json())
        given = [f"{section}.{key}={json.dumps(value)}" for key, value in defaults.items()]
        base = ["method=regen"] if section == "retrieval" else []
        base += ["student=embedding"] if name == "zeroshot" else []
        found = load_config(task, [*base, f"{section}={name}", *given]).to_dict()[section]
        assert found == {"name": name, **defaults}


def test_every_number_of_results_is_on_the_page_that_has_their_tables():
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    said = re.findall(r"\d+\.\d+", section("Does it work?"))
    assert len(said) > 10
    assert [number for number in said if number not in results] == []


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target
