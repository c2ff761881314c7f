"""Every wrong file gives one message: the file, the line, what was expected."""

import gzip
import json
import re
import sys

import datasets
import huggingface_hub.constants
import pyarrow as pa
import pytest
from datasets import ClassLabel, Features, Value
from pyarrow import parquet

from stepsynth.errors import DataError
from stepsynth.experiment.data import read_contexts, read_file, read_records
from stepsynth.records import Answers, Context, Dataset, Example
from stepsynth.tasks.classification import Classification
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair


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


GIVEN = [{"text": "one", "label": "a"}, {"text": "two", "label": "p"}]
FRUIT = Features({"text": Value("string"), "label": ClassLabel(names=["p", "a"])})
QA = ExtractiveQA()
PASSAGE = "Ada wrote to Bob. Bob wrote to Ada."
PAIR = SentencePair.model_validate({"labels": ["yes", "no"]})


@pytest.fixture(autouse=True)
def _offline(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def write_rows(path, rows):
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def question(text="Who wrote?", answers=("Ada",), starts=(0,), **fields):
    answers = {"text": list(answers), "answer_start": list(starts)}
    return {"context": PASSAGE, "question": text, "answers": answers, **fields}


def test_parquet_gives_the_same_rows(tmp_path, task):
    parquet.write_table(pa.Table.from_pylist(GIVEN), tmp_path / "x.parquet")
    data = read_file(tmp_path / "x.parquet", task, {})
    assert (data.texts, data.labels) == (["one", "two"], ["a", "p"])


def test_rows_of_parquet_are_counted_over_its_groups(tmp_path, task):
    table = pa.Table.from_pylist([*GIVEN, {"text": "three", "label": "x"}])
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=1)
    with pytest.raises(DataError, match=r"x\.parquet, row 2: the label 'x'"):
        read_file(tmp_path / "x.parquet", task, {})


def test_what_is_wrong_with_parquet_is_said(tmp_path, task, monkeypatch):
    with pytest.raises(DataError, match=r"x\.parquet: there is no such file"):
        read_file(tmp_path / "x.parquet", task, {})
    with pytest.raises(DataError, match=r"x\.parquet: this is no Parquet"):
        read_file(write(tmp_path / "x.parquet", CSV), task, {})
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    parquet.write_table(twice, tmp_path / "x.parquet")
    with pytest.raises(DataError, match="two columns have the same name: text, text"):
        read_file(tmp_path / "x.parquet", task, {})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"stepsynth\[parquet\]"):
        read_file(tmp_path / "x.parquet", task, {})


def test_a_split_of_a_hugging_face_data_set_is_read(tmp_path, task):
    write_rows(tmp_path / "train.jsonl", GIVEN)
    write_rows(tmp_path / "test.jsonl", [{"text": "three", "label": "a"}])
    assert read_file(f"hf:{tmp_path}", task, {}).texts == ["one", "two"]
    assert read_file(f"hf:{tmp_path}:default:test", task, {}).texts == ["three"]
    assert read_file(f"hf:{tmp_path}::train[1:]", task, {}).texts == ["two"]


def test_class_labels_of_a_hugging_face_data_set_are_names(tmp_path, task):
    rows = [{"text": "one", "label": 1}, {"text": "two", "label": 0}]
    datasets.Dataset.from_list(rows, features=FRUIT).to_parquet(tmp_path / "train.parquet")
    assert read_file(f"hf:{tmp_path}", task, {}).labels == ["a", "p"]


@pytest.mark.parametrize(
    ("address", "message", "hint"),
    [
        ("hf:{0}::dev", r"Unknown split .*\['train'\]", "hf:NAME"),
        ("hf:{0}:small", r"'small' not found. Available: \['default'\]", "hf:NAME"),
        ("hf:{0}/none", r"cannot be loaded: Couldn't find any data file", "HF_TOKEN.*HF_HOME"),
        ("hf:nobody/nothing", r"Couldn't reach 'nobody/nothing'", "HF_TOKEN.*HF_HOME"),
        ("hf:", "the data set has no name", "hf:NAME"),
    ],
)
def test_what_is_wrong_with_a_hugging_face_data_set_is_said(tmp_path, task, address, message, hint):
    write_rows(tmp_path / "train.jsonl", GIVEN)
    address = address.format(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        read_file(address, task, {})
    assert caught.value.message.startswith(f"{address}: ")
    assert "\n" not in caught.value.message
    assert re.search(hint, caught.value.hint)


def test_a_broken_file_of_a_hugging_face_data_set_is_one_message(tmp_path, task):
    write(tmp_path / "train.jsonl", "{oops\n")
    with pytest.raises(DataError, match=r"cannot be loaded: .*JSON parse error"):
        read_file(f"hf:{tmp_path}", task, {})


def test_without_datasets_the_extra_is_named(task, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"stepsynth\[transformers\]"):
        read_file("hf:imdb", task, {})


def test_objects_of_datasets_are_read(task):
    rows = [{"text": "one", "label": 1}, {"text": "two", "label": 0}]
    given = datasets.Dataset.from_list(rows, features=FRUIT)
    assert read_records(given, task, {}, name="gold").labels == ["a", "p"]
    given.set_format("numpy", columns=["text"])
    assert read_records(given, task, {}, name="gold").texts == ["one", "two"]
    with pytest.raises(DataError, match=r"gold: .*fruit, more\nhint: pick a split.*'fruit'"):
        read_records(datasets.DatasetDict(fruit=given, more=given), task, {}, name="gold")


def test_an_unlabelled_row_of_datasets_is_refused(task):
    rows = [{"text": "one", "label": 1}, {"text": "two", "label": -1}]
    given = datasets.Dataset.from_list(rows, features=FRUIT)
    with pytest.raises(DataError, match=r"row 1 \(label is -1: unlabelled\): the label .*empty"):
        read_records(given, task, {}, name="gold")


def test_a_class_label_that_is_not_read_may_be_missing(task):
    features = Features({**FRUIT, "grower": ClassLabel(names=["x"])})
    given = datasets.Dataset.from_list([{"text": "one", "label": 1, "grower": -1}], features)
    assert read_records(given, task, {}, name="gold").labels == ["a"]


def test_frames_of_polars_are_read(task):
    class Frame:
        columns = ("text", "label")

        def to_dict(self):
            raise AssertionError("this one is of columns")

        def to_dicts(self):
            return GIVEN

    assert read_records(Frame(), task, {}, name="gold").texts == ["one", "two"]


@pytest.mark.parametrize(
    ("task_kind", "row"),
    [
        (PAIR, Example("He slept.", "no", "He ran.")),
        (QA, Example("Who wrote?", Answers(("Ada", "Bob"), (31, 13)), PASSAGE)),
    ],
)
def test_a_data_set_of_ours_keeps_contexts_and_answers(task_kind, row):
    columns = dict.fromkeys(task_kind.columns, "elsewhere")
    assert read_records(Dataset([row]), task_kind, columns, name="gold") == Dataset([row])


def test_questions_are_read_in_every_format(tmp_path):
    rows = [question(id="q1"), question("Whom?", ("Bob", "Ada"), (13, 31), id="q2")]
    write_rows(tmp_path / "train.jsonl", rows)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    expected = Dataset(
        [
            Example("Who wrote?", Answers(("Ada",), (0,)), PASSAGE),
            Example("Whom?", Answers(("Bob", "Ada"), (13, 31)), PASSAGE),
        ]
    )
    assert read_file(tmp_path / "train.jsonl", QA, {}) == expected
    assert read_file(tmp_path / "x.parquet", QA, {}) == expected
    (tmp_path / "x.parquet").unlink()
    assert read_file(f"hf:{tmp_path}", QA, {}) == expected
    pandas = pytest.importorskip("pandas")
    assert read_records(pandas.DataFrame(rows), QA, {}, name="gold") == expected


def test_the_id_of_a_row_is_part_of_its_place(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", [question(id="57a"), question(" ", id="57b")])
    with pytest.raises(DataError, match=r"x\.jsonl, line 2 \(id 57b\): the text must be"):
        read_file(path, QA, {})
    path = write_rows(tmp_path / "x.jsonl", [{"context": PASSAGE, "question": "?", "key": 7}])
    with pytest.raises(DataError, match=r"line 1 \(id 7\): there is no column 'answers'"):
        read_file(path, QA, {"id": "key"})


def test_optional_fields_are_passed_on_where_their_columns_are():
    seen = []

    class Watched(ExtractiveQA):
        def read_example(self, row):
            seen.append(dict(row))
            return super().read_example(row)

    rows = [question(key=5), question()]
    read_records(rows, Watched(), {"id": "key"}, name="gold")
    assert [row.get("id") for row in seen] == [5, None]
    assert set(seen[1]) == {"context", "text", "answers"}


def test_answers_that_were_put_right_are_told():
    told = []
    right, wrong = question(), question(starts=(4,))
    data = read_records([right, wrong], QA, {}, name="gold", warn=told.append)
    assert data[1].label == Answers(("Ada",), (0,))
    read_records([wrong, right, wrong], QA, {}, name="gold", warn=told.append)
    assert len(told) == 2
    assert told[0].startswith("gold: 1 answer stood elsewhere in its passage than its offset")
    assert told[1].startswith("gold: 2 answers stood elsewhere in their passages than")
    read_records([right], QA, {}, name="gold", warn=told.append)
    read_records(data, QA, {}, name="gold", warn=told.append)
    assert len(told) == 2
    assert read_records([wrong], QA, {}, name="gold")


def test_contexts_need_no_other_column(tmp_path):
    told = []
    rows = [
        {"passage": PASSAGE},
        {"passage": PASSAGE, "answer": "Bob"},
        {"passage": PASSAGE, "answers": {"text": ["Ada"], "answer_start": [3]}},
    ]
    path = write_rows(tmp_path / "c.jsonl", rows)
    assert read_contexts(path, QA, {"context": "passage"}, warn=told.append) == [
        Context(PASSAGE),
        Context(PASSAGE, Answers(("Bob",), (13,))),
        Context(PASSAGE, Answers(("Ada",), (0,))),
    ]
    assert [message.startswith(f"{path}: 1 answer stood") for message in told] == [True]


def test_contexts_are_read_in_every_format(tmp_path):
    expected = [Context("He ran.", "no"), Context("It rained.")]
    path = write(tmp_path / "train.csv", "context,label\nHe ran.,no\nIt rained.,\n")
    assert read_contexts(path, PAIR, {}) == expected
    assert read_contexts(f"hf:{tmp_path}", PAIR, {}) == expected
    table = pa.table({"context": ["He ran.", "It rained."], "label": ["no", None]})
    parquet.write_table(table, tmp_path / "c.parquet")
    assert read_contexts(tmp_path / "c.parquet", PAIR, {}) == expected
    assert read_contexts(table.to_pylist(), PAIR, {}) == expected
    with pytest.raises(DataError, match="contexts, row 0: there is no column 'context'"):
        read_contexts([{"text": "x"}], PAIR, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"c\.jsonl: there is no row in it\nhint: rows with context"),
        ('{"premise": "x"}\n', r"c\.jsonl, line 1: there is no column 'context'.*premise"),
        ('{"context": ""}\n', r"line 1: the context must be .*not empty.*\nhint: correct"),
        ('{"context": "x", "label": "?", "id": 3}\n', r"line 1 \(id 3\): the label '\?'"),
        ("[]\n", r"line 1: expected an object with context$"),
    ],
)
def test_what_is_wrong_with_contexts_is_said(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_contexts(write(tmp_path / "c.jsonl", text), PAIR, {})


def test_contexts_are_for_tasks_that_have_them(tmp_path, task):
    with pytest.raises(DataError, match="a classification task has no contexts"):
        read_contexts(write(tmp_path / "c.jsonl", '{"context": "x"}\n'), task, {})
