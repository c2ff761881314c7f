"""The task file that `init` writes for one's own rows."""

import json

import pytest

from stepsynth.errors import DataError
from stepsynth.experiment.config import load_config
from stepsynth.experiment.template import write_task_file


def write(folder, gold, *, columns=None, text_name="text"):
    write_task_file(
        folder / "task.yaml",
        gold=gold,
        test=None,
        labels=[],
        columns=columns or {"text": "text", "label": "label"},
        text_name=text_name,
        instruction="",
        force=False,
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
