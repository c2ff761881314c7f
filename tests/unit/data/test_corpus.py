"""A corpus comes from files of every kind alike; what is no passage is counted, never silent."""

import csv
import gzip
import json

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from stepsynth.data.bad_rows import PLAIN, Reading
from stepsynth.data.corpus import read_corpus
from stepsynth.errors import DataError
from stepsynth.retrieval import Passage

ROWS = [
    {"id": "a", "text": "Rain fell on Leeds."},
    {"id": "b", "text": 'He said "no", twice\nand left.'},
    {"id": "c", "text": "Ünïcode: 雨が降る."},
]


def write_jsonl(path, rows):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


def write_delimited(path, rows, delimiter):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture
def told():
    return []


def read(path, told, reading=PLAIN, **columns):
    return read_corpus(path, columns=columns, reading=reading, warn=told.append)


def test_every_kind_of_file_gives_the_same_passages(tmp_path, told):
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "c.parquet")
    hub = tmp_path / "hub"
    hub.mkdir()
    write_jsonl(hub / "train.jsonl", ROWS)
    files = [
        write_jsonl(tmp_path / "c.jsonl", ROWS),
        write_jsonl(tmp_path / "c.jsonl.gz", ROWS),
        write_delimited(tmp_path / "c.csv", ROWS, ","),
        write_delimited(tmp_path / "c.tsv", ROWS, "\t"),
        str(tmp_path / "c.parquet"),
        f"hf:{hub}",
    ]
    expected = [Passage(row["id"], row["text"]) for row in ROWS]
    for file in files:
        assert read(file, told) == expected, file
    assert told == []


def test_a_folder_of_texts_is_a_passage_a_file_by_name(tmp_path, told):
    folder = tmp_path / "news"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "2.txt").write_text("Second.", encoding="utf-8")
    (folder / "a.txt").write_text("\ufeffFirst,\nwith a mark.", encoding="utf-8")
    (folder / "notes.md").write_text("No passage.", encoding="utf-8")
    expected = [Passage("news/a.txt", "First,\nwith a mark."), Passage("news/b/2.txt", "Second.")]
    assert read(str(folder), told) == expected
    assert read(str(folder), told, text="body", id="key") == expected  # a file has no columns


def test_several_files_are_one_corpus_and_ids_may_be_missing(tmp_path, told):
    one = write_jsonl(tmp_path / "1.jsonl", [{"text": "One."}, {"text": "Two.", "id": 7}])
    two = write_jsonl(tmp_path / "2.jsonl", [{"text": "Three.", "id": ""}])
    passages = read([one, two], told)
    assert [p.text for p in passages] == ["One.", "Two.", "Three."]
    assert passages[1].id == "7"
    # The digest is the text's alone: the same in another file, another order, another process.
    assert passages[0] == read([two, one], told)[1] == Passage.of("One.")
    assert len({p.id for p in passages}) == 3


def test_empty_and_duplicate_passages_are_left_out_and_counted(tmp_path, told):
    texts = ["Rain fell.", "", None, " \n", "rain  FELL", "Snow fell.", "Rain fell!"]
    rows = [{"text": text, "id": i} for i, text in enumerate(texts)]
    file = write_jsonl(tmp_path / "c.jsonl", rows)
    assert [p.id for p in read([file, file], told)] == ["0", "5"]
    assert "6 passages are empty" in told[0]
    # Two near copies in the file, and all that is in it once more.
    assert "6 passages are duplicates" in told[1]
    assert len(told) == 2


def test_columns_are_named_and_their_absence_is_told(tmp_path, told):
    file = write_jsonl(tmp_path / "c.jsonl", [{"body": "Rain fell.", "key": "k"}])
    assert read(file, told, text="body", id="key") == [Passage("k", "Rain fell.")]
    with pytest.raises(DataError, match=r"line 1: there is no column 'text'. Columns: body, key"):
        read(file, told)
    with pytest.raises(DataError, match="no column 'keys'") as caught:
        read(file, told, text="body", id="keys")
    assert "'key'" in caught.value.hint


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": ""}], "there is no passage"),
        ([], "there is no passage"),
        ([{"text": 3}], "line 1: text is 3, not a text"),
        (["Rain fell."], "line 1: expected an object with text"),
        ([{"text": "A.", "id": 1}, {"text": "B.", "id": "1"}], r"line 2: the id '1' .*line 1"),
    ],
)
def test_what_cannot_be_a_corpus_is_told_with_its_place(tmp_path, told, rows, said):
    file = write_jsonl(tmp_path / "c.jsonl", rows)
    with pytest.raises(DataError, match=said) as caught:
        read(file, told)
    assert caught.value.hint


def test_a_folder_without_texts_or_with_other_bytes_is_told(tmp_path, told):
    with pytest.raises(DataError, match=r"no \.txt file"):
        read(str(tmp_path), told)
    (tmp_path / "x.txt").write_bytes("Rain fell.\nUn café.".encode("cp1252"))
    with pytest.raises(DataError, match=r"x\.txt, line 2: the byte 0xE9 is no UTF-8"):
        read(str(tmp_path), told)
    with pytest.raises(DataError, match="no such file"):
        read(str(tmp_path / "missing.jsonl"), told)


def test_half_characters_are_put_right(tmp_path, told):
    file = tmp_path / "c.jsonl"
    file.write_text('{"text": "cut \\ud83d off"}\n', encoding="utf-8")
    assert read(str(file), told)[0].text == "cut \ufffd off"


BAD = [{"text": "Rain fell."}, {"text": 3}, "Snow fell.", {"text": ""}, {"body": "Hail fell."}]


def test_all_bad_rows_of_a_corpus_are_told_at_once_or_left_out(tmp_path, told):
    file = write_jsonl(tmp_path / "c.jsonl", BAD)
    with pytest.raises(DataError) as caught:
        read(file, told)
    lines = caught.value.message.split("\n  ")
    assert "3 rows cannot be used" in lines[0]
    assert [line.split(":")[0] for line in lines[1:]] == ["line 2", "line 3", "line 5"]
    skip = Reading(on_bad_row="skip")
    assert [p.text for p in read(file, told, skip)] == ["Rain fell."]
    assert "3 rows were left out" in told[0]
    copy = write_jsonl(tmp_path / "d.jsonl", BAD)
    assert len(read([file, copy], told, skip)) == 1  # a file of known passages is no bad one
    with pytest.raises(DataError, match="line 1: text is 3"):
        read(write_jsonl(tmp_path / "c.jsonl", BAD[1:2]), told, skip)


def test_a_corpus_may_be_in_another_encoding(tmp_path, told):
    (tmp_path / "c.csv").write_bytes("text\nUn café.\n".encode("cp1252"))
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_bytes("Zwölf.".encode("cp1252"))
    (folder / "b.txt").write_bytes("Öre.".encode("utf-16"))
    files = [str(tmp_path / "c.csv"), str(folder)]
    found = read(files, told, Reading("cp1252"))
    assert [p.text for p in found] == ["Un café.", "Zwölf.", "Öre."]


def test_a_folder_of_save_to_disk_is_no_folder_of_texts(tmp_path, told):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    assert len(read(str(tmp_path / "saved"), told)) == len(ROWS)
