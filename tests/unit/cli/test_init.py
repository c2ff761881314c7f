"""The task file that `init` writes for one's own rows."""

import json

import pyarrow as pa
import pytest

from stepsynth.cli._task_template import write_task_file
from stepsynth.errors import ConfigError, DataError, UnknownNameError
from stepsynth.taskfile.config import load_config


def write(folder, gold, *, columns=None, text_name="text", labels=(), **more):
    return write_task_file(
        folder / "task.yaml",
        gold=gold,
        test=None,
        labels=labels,
        columns=columns or {"text": "text", "label": "label"},
        text_name=text_name,
        instruction="",
        force=False,
        **more,
    )


def test_labels_that_differ_by_case_are_the_files_fault(tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text("text,label\n" + "a,Bill\nb,bill\nc,Bill\nd,bill\n" * 3)
    with pytest.raises(DataError, match=r"gold\.csv: .*'Bill' and 'bill' cannot be told apart"):
        write(tmp_path, gold)


@pytest.mark.parametrize(
    ("columns", "kind", "names"),
    [
        (
            {"text": "the_claim", "label": "label", "context": "source"},
            "sentence_pair",
            {"text_name": "the claim", "context_name": "source"},
        ),
        (
            {"text": "question", "answers": "answers", "context": "source"},
            "extractive_qa",
            {"text_name": "question"},
        ),
    ],
)
def test_pairs_and_questions_get_a_task_file_of_their_kind(tmp_path, columns, kind, names):
    gold = tmp_path / "gold.jsonl"
    rows = [
        {
            "source": f"Ann built mill {i}.",
            columns["text"]: f"Who built mill {i}?",
            "label": "ab"[i % 2],
            "answers": {"text": ["Ann"], "answer_start": [0]},
        }
        for i in range(12)
    ]
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write(tmp_path, gold, columns=columns, text_name="")
    task = load_config(tmp_path / "task.yaml", ["llm.model=m"]).task
    assert task.name == kind
    assert {name: getattr(task, name) for name in names} == names


def test_labels_that_are_given_may_be_many_and_those_found_are_doubted(tmp_path):
    names = [f"intent {i}" for i in range(40)]
    gold = tmp_path / "gold.csv"
    gold.write_text("text,label\n" + "".join(f"text {i},{names[i % 40]}\n" for i in range(60)))
    with pytest.raises(DataError, match="40 different values in 60 rows, such as 'int") as caught:
        write(tmp_path, gold)
    assert "--labels" in caught.value.hint
    assert write(tmp_path, gold, labels=names).total() == 60
    assert len(load_config(tmp_path / "task.yaml", ["llm.model=m"]).task.label_names) == 40


def test_what_was_found_out_about_a_file_is_told_once(tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text("text;label\n" + "".join(f"text {i};{'ab'[i % 2]}\n" for i in range(20)))
    told = []
    write(tmp_path, gold, warn=told.append)
    assert told == [f"{gold}: its fields are divided by semicolons, not by commas"]


def test_empty_labels_and_those_that_cannot_be_shown_are_told_with_their_lines(tmp_path):
    gold = tmp_path / "gold.jsonl"
    labels = ["a", "b", "", None, "c\0d"] * 3
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="9 rows cannot be used") as caught:
        write(tmp_path, gold)
    assert "line 3: the label of 'text 2' is empty" in caught.value.message
    assert "line 5: the label 'c\\x00d' holds the character U+0000 (NUL)" in caught.value.message


@pytest.mark.parametrize("place", ["task.yaml", "link/task.yaml", "link/below/task.yaml"])
def test_the_file_names_its_rows_also_from_a_folder_that_is_a_link(tmp_path, place):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    gold = tmp_path / "gold.csv"
    gold.write_text("text,label\n" + "a,x\nb,y\n" * 5)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    write((tmp_path / place).parent, gold)
    assert gold.samefile(load_config(tmp_path / place, ["llm.model=m"]).data.gold)


def test_addresses_and_names_of_columns_are_written_as_they_are(tmp_path):
    from pyarrow import parquet

    gold = tmp_path / "gold.parquet"
    table = {"text ": list("abcdef"), "the label": list("xyxyxy")}
    parquet.write_table(pa.table(table), gold)
    columns = {"text": "text ", "label": "the label"}
    write(tmp_path, gold.as_uri(), columns=columns)
    data = load_config(tmp_path / "task.yaml", ["llm.model=m"]).data
    assert (data.gold, data.columns) == (gold.as_uri(), columns)


def test_a_preset_is_written_and_one_that_does_not_exist_is_refused(tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text("text,label\n" + "a,x\nb,y\n" * 5)
    with pytest.raises(UnknownNameError, match="--llm: no LLM preset is named 'olama'"):
        write(tmp_path, gold, llm="olama")
    assert not (tmp_path / "task.yaml").exists()
    write(tmp_path, gold, llm="embedded")
    assert load_config(tmp_path / "task.yaml").llm.backend == "llama_cpp"
    (tmp_path / "task.yaml").unlink()
    write(tmp_path, gold, llm="ollama")
    with pytest.raises(ConfigError, match="YOUR_MODEL"):
        load_config(tmp_path / "task.yaml")


def test_columns_that_say_whether_a_label_applies_are_taken_for_no_lists(tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text("text,noise,waste\n" + "a,TRUE,FALSE\nb,FALSE,TRUE\nc,FALSE,FALSE\n" * 3)
    for label in ("noise", "label"):
        with pytest.raises(DataError) as caught:
            write(tmp_path, gold, columns={"text": "text", "label": label}, has_sets=True)
        assert "where each label has a column of its own" in caught.value.hint
        assert not (tmp_path / "task.yaml").exists()
