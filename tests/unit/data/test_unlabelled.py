"""Texts without labels: which columns are read, what is left out, and what is an error."""

import json

import pytest

import stepsynth
from stepsynth.data import read_unlabelled
from stepsynth.errors import ConfigError, DataError
from stepsynth.tasks.classification import Classification
from stepsynth.tasks.sentence_pair import SentencePair

FRUIT = Classification(labels={"a": "apple", "p": "pear"})
PAIRS = SentencePair(labels={"y": "yes", "n": "no"})
GOLD = [{"text": f"so {how}, no {i}", "label": label}
        for i in range(12) for label, how in (("a", "crisp"), ("p", "soft"))]  # fmt: skip


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_texts_are_read_from_their_column_and_labels_are_not(tmp_path):
    file = write(tmp_path / "t.jsonl", [{"body": "one", "label": "no such"}, {"body": "two"}])
    found = read_unlabelled(file, FRUIT, {"text": "body"})
    assert [(row.text, row.label, row.context) for row in found] == [
        ("one", "", None),
        ("two", "", None),
    ]


def test_pairs_have_contexts(tmp_path):
    file = write(tmp_path / "t.jsonl", [{"text": "one", "premise": "A dog ran."}])
    (row,) = read_unlabelled(file, PAIRS, {"context": "premise"})
    assert (row.text, row.context, row.label) == ("one", "A dog ran.", "")


def test_a_text_is_taken_once_and_that_is_said(tmp_path):
    warnings = []
    rows = [{"text": text} for text in ("one", "two", "One ", "one")]
    found = read_unlabelled(write(tmp_path / "t.jsonl", rows), FRUIT, {}, warn=warnings.append)
    assert found.texts == ["one", "two"]
    assert warnings == [f"{tmp_path / 't.jsonl'}: 2 texts were there already and were left out"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "one"}, {"text": " "}], "the text must be a text that is not empty"),
        ([{"txt": "one"}], "'text'"),
        ([], "there is no row"),
    ],
)
def test_bad_rows_are_errors_with_their_place(tmp_path, rows, said):
    file = write(tmp_path / "t.jsonl", rows)
    with pytest.raises(DataError, match=said) as caught:
        read_unlabelled(file, FRUIT, {})
    assert "t.jsonl" in caught.value.message


def run(tmp_path, texts, **more):
    file = write(tmp_path / "t.jsonl", texts)
    return stepsynth.synthesize(
        FRUIT, GOLD, method={"name": "selftrain", "rounds": 1, "keep": "last"}, unlabelled=file,
        split={"mine": 12, "select": 6, "test": 6}, out=tmp_path / "run", **more,
    )  # fmt: skip


def test_texts_that_are_all_gold_are_an_error(tmp_path):
    with pytest.raises(DataError, match="is a gold row"):
        run(tmp_path, [{"text": row["text"]} for row in GOLD])


def test_a_method_that_labels_texts_needs_some():
    with pytest.raises(ConfigError, match="there are no unlabelled texts") as caught:
        stepsynth.synthesize(FRUIT, GOLD, method="selftrain")
    assert "data: {unlabelled: texts.jsonl}" in caught.value.hint
