"""Every wrong file gives one message: the file, the line, what was expected."""

import gzip

import pytest

from stepsynth.errors import DataError
from stepsynth.experiment.data import read_file, read_records


def write(path, text, *, gz=False):
    path.write_bytes(gzip.compress(text.encode()) if gz else text.encode())
    return path


JSONL = '{"text": "one", "label": "a"}\n\n{"text": "two", "label": "p"}\n'
CSV = 'text,label\n"one, with a\nbreak",a\ntwo,p\n'


@pytest.mark.parametrize(
    ("name", "text", "gz"),
    [
        ("x.jsonl", JSONL, False),
        ("x.jsonl.gz", JSONL, True),
        ("x.csv", CSV, False),
        ("x.csv.gz", CSV, True),
        ("x.tsv", "text\tlabel\none\ta\ntwo\tp\n", False),
        ("x.csv", "\ufeff" + CSV, False),
        ("x.CSV", CSV.replace("\n", "\r\n"), False),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path, task, name, text, gz):
    data = read_file(write(tmp_path / name, text, gz=gz), task, {})
    assert data.labels == ["a", "p"]
    assert data.texts[1] == "two"


def test_columns_may_have_other_names(tmp_path, task):
    path = write(tmp_path / "x.csv", "body,team\none,a\ntwo,p\n")
    assert read_file(path, task, {"text": "body", "label": "team"}).texts == ["one", "two"]


def test_a_line_separator_inside_a_text_breaks_no_line(tmp_path, task):
    path = write(tmp_path / "x.jsonl", '{"text": "one\u2028more", "label": "a"}\n')
    assert read_file(path, task, {}).texts == ["one\u2028more"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.jsonl", '{"text": "one", "label": "a"}\n{oops\n', r"x\.jsonl, line 2: .*no JSON"),
        ("x.jsonl", "[1]\n", r"line 1: expected an object with text, label"),
        ("x.jsonl", '{"txt": "one", "label": "a"}\n', r"line 1: .*no column 'text'.*txt, label"),
        ("x.jsonl", '{"text": "one", "label": "b"}\n', r"line 1: the label 'b'.*'a', 'p'"),
        ("x.jsonl", '{"text": " ", "label": "a"}\n', r"line 1: the text must be .*not empty"),
        ("x.jsonl", '{"text": null, "label": "a"}\n', r"line 1: the text must be"),
        ("x.jsonl", "", r"there is no row in it"),
        ("x.csv", "text,label\none\n", r"line 2: this row does not have the 2 fields"),
        ("x.csv", "text,label\none,a,b\n", r"line 2: this row does not have the 2 fields"),
        ("x.csv", 'text,label\n"one,a\n', r"line \d: "),
        ("x.docx", "", r"a file of this kind cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, task, name, text, message):
    with pytest.raises(DataError, match=message):
        read_file(write(tmp_path / name, text), task, {})


def test_a_missing_file_and_one_in_another_encoding(tmp_path, task):
    with pytest.raises(DataError, match="there is no such file"):
        read_file(tmp_path / "none.csv", task, {})
    (tmp_path / "latin.csv").write_bytes("text,label\ncafé,a\n".encode("latin-1"))
    with pytest.raises(DataError, match="no UTF-8"):
        read_file(tmp_path / "latin.csv", task, {})
    (tmp_path / "x.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_file(tmp_path / "x.csv.gz", task, {})


def test_labels_are_text_however_they_are_written(tmp_path):
    from stepsynth.tasks.classification import Classification

    task = Classification.model_validate({"labels": [0, 1]})
    path = write(tmp_path / "x.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": "0"}\n')
    assert read_file(path, task, {}).labels == ["1", "0"]


def test_lists_and_data_frames_are_read(task):
    pandas = pytest.importorskip("pandas")
    given = [{"text": "one", "label": "a"}, {"text": "two", "label": "p"}]
    assert read_records(given, task, {}, name="gold").texts == ["one", "two"]
    frame = pandas.DataFrame(given)
    assert read_records(frame, task, {}, name="gold").texts == ["one", "two"]
    with pytest.raises(DataError, match="gold: expected a list"):
        read_records("gold.csv", task, {}, name="gold")
    with pytest.raises(DataError, match="gold, row 1: the label 'x'"):
        read_records([given[0], {"text": "t", "label": "x"}], task, {}, name="gold")
