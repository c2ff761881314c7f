"""The data card for machines is what Croissant's own library takes, and loads the rows."""

import json

import pytest

import stepsynth
from stepsynth.data import write_shards
from stepsynth.deploy.cards import card_facts
from stepsynth.deploy.croissant import croissant, write_croissant
from stepsynth.records import Answers, Dataset, Example, Provenance

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's own

GOLD = [
    {"text": f"the {fruit} of row {i} tastes {word} today", "label": fruit}
    for fruit, word in (("apple", "crisp"), ("pear", "soft"))
    for i in range(20)
]
LLM = {
    "backend": "scripted",
    "model": "/home/me/llms/tiny",
    "rules": [
        {"pattern": r"an? apple", "answers": ["pear soft </script>", "soft", "pear"]},
        {"pattern": r"", "answers": ["apple crisp", "crisp", "apple"]},
    ],
}


def make(folder, **method):
    stepsynth.synthesize(
        {"labels": {"apple": "an apple", "pear": "a pear"}, "instruction": "Apple or pear?"},
        GOLD,
        llm=LLM,
        method={"seed_size": 10, "rounds": 1, "rationales": False, **method},
        out=folder,
    )
    return stepsynth.open_run(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make(tmp_path_factory.mktemp("croissant") / "run", name="s3")


@pytest.fixture(scope="module")
def card(run):
    return json.loads(run.folder.croissant.read_text(encoding="utf-8"))


def load(folder):
    """Return the rows as Croissant's library finds them, once it has found no error."""
    mlcroissant = pytest.importorskip("mlcroissant")
    found = mlcroissant.Dataset(str(folder / "croissant.json"))
    assert not found.metadata.ctx.issues.errors
    assert {w.split("Property ")[1] for w in found.metadata.ctx.issues.warnings} == {
        '"http://mlcommons.org/croissant/citeAs" is recommended, but does not exist.'
    }
    return found.metadata, [
        {key.removeprefix("rows/"): value for key, value in row.items()}
        for row in found.records("rows")
    ]


def test_a_run_writes_it_and_it_loads_its_rows(run):
    about, rows = load(run.folder.path)
    assert [row["text"].decode() for row in rows] == run.dataset.texts
    assert [row["label"].decode() for row in rows] == run.dataset.labels
    for row, own in zip(rows, run.dataset, strict=True):
        origin = own.provenance
        assert (row["round"], row["kind"].decode()) == (origin.round, origin.kind)
        assert [parent.decode() for parent in row["parents"]] == list(origin.parents)
    assert about.data_collection_type == ["Synthetic data: texts written by an LLM"]
    assert about.personal_sensitive_information
    assert about.data_biases
    assert about.data_limitations


def test_it_says_what_was_written_by_what_and_what_the_llm_was_shown(run, card):
    shown = run.summary.llm.gold_texts
    asked = [row for done in run.rounds for row in (*done.rows, *done.rejected, *done.failed)]
    parents = {parent for row in asked for parent in row.provenance.parents}
    assert shown == {"/home/me/llms/tiny": len(parents)}
    assert parents
    assert card["keywords"] == ["stepsynth", "synthetic"]
    assert card["license"] == "not stated"
    assert f"text written by an LLM (tiny): {len(run.dataset)}" in card["description"]
    said = card["rai:personalSensitiveInformation"]
    assert (
        f"{len(parents)} texts of gold rows of `mine` stood in prompts to the LLM `tiny`." in said
    )
    assert card["prov:wasAttributedTo"]["prov:label"] == "tiny"
    assert run.manifest.data["mine"] in card["prov:wasDerivedFrom"]["prov:label"]
    assert "/home/me" not in json.dumps(card)


def test_words_send_no_gold_text(tmp_path):
    run = make(tmp_path / "run", name="s3_plus", extrapolate_from="words")
    assert run.summary.llm.gold_texts == {"/home/me/llms/tiny": 0}
    said = json.loads(run.folder.croissant.read_text())["rai:personalSensitiveInformation"]
    assert "No text and no context of a gold row stood in a prompt." in said
    assert any("`extrapolate_from: words`" in each for each in said)


def test_gold_is_not_synthetic(tmp_path):
    stepsynth.synthesize({"labels": ["apple", "pear"]}, GOLD, method="gold", out=tmp_path / "run")
    card = json.loads((tmp_path / "run/croissant.json").read_text())
    assert card["keywords"] == ["stepsynth"]
    assert "prov:wasAttributedTo" not in card
    assert card["rai:dataCollectionType"] == ["Secondary Data Analysis: rows that were given"]


def test_shards_load_too(run, tmp_path):
    pytest.importorskip("pyarrow")
    write_shards(tmp_path / "dataset", run.dataset.to_tables(5))
    facts = card_facts(run, run.dataset, name="fruit")
    found = croissant(facts, run.manifest, tmp_path / "dataset", tmp_path, is_flat=True)
    (tmp_path / "croissant.json").write_text(json.dumps(found))
    _, rows = load(tmp_path)
    assert [row["text"].decode() for row in rows] == run.dataset.texts
    assert [row["round"] for row in rows] == [row.provenance.round for row in run.dataset]


def test_answers_and_contexts_load_too(run, tmp_path):
    origin = Provenance("s3", kind="seed", request="r")
    rows = Dataset(
        Example(f"what is {i}?", Answers((f"number {i}",), (3,)), f"it number {i}", origin)
        for i in range(3)
    )
    rows.to_jsonl(tmp_path / "dataset.jsonl")
    facts = card_facts(run, rows, name="questions")
    facts["task"]["kind"] = "extractive_qa"
    found = croissant(facts, run.manifest, tmp_path / "dataset.jsonl", tmp_path, is_flat=False)
    (tmp_path / "croissant.json").write_text(json.dumps(found))
    _, loaded = load(tmp_path)
    assert [row["label/text"] for row in loaded] == [[f"number {i}".encode()] for i in range(3)]
    assert [row["label/answer_start"] for row in loaded] == [[3]] * 3
    assert loaded[0]["context"] == b"it number 0"


def test_a_run_without_rows_has_none(tmp_path):
    made = stepsynth.synthesize(
        {"labels": ["apple", "pear"]}, GOLD, llm=LLM, method="llm", out=tmp_path / "run"
    )
    assert not (made.folder / "croissant.json").exists()
    assert write_croissant(made.folder) is None
