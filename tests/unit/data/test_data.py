"""Every wrong file gives one message: the file, the line, what was expected."""

import gzip
import json
import re
import sys

import datasets
import pandas
import pyarrow as pa
import pytest
from datasets import ClassLabel, Features, Value
from pyarrow import parquet

from stepsynth.data.bad_rows import Reading
from stepsynth.data.rows import read_contexts, read_file, read_records
from stepsynth.data.section import DataSection
from stepsynth.errors import DataError
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
        (
            "x.jsonl",
            '{"text": "one", "label": "a", "label": "p"}\n',
            r"x\.jsonl, line 1: .*'label' is there twice",
        ),
        ("x.json", '[{"text": "one", "text": "two", "label": "a"}]', r"x\.json: .*'text' is there"),
        ("x.jsonl", "[1]\n", r"line 1: expected an object with text, label"),
        ("x.jsonl", '{"txt": "one", "label": "a"}\n', r"line 1: .*no column 'text'.*txt, label"),
        ("x.jsonl", '{"text": "one", "label": "b"}\n', r"line 1: the label 'b'.*'a', 'p'"),
        ("x.jsonl", '{"text": " ", "label": "a"}\n', r"line 1: the text must be .*not empty"),
        ("x.jsonl", '{"text": null, "label": "a"}\n', r"line 1: the text must be"),
        ("x.jsonl", "", r"there is no row in it"),
        ("x.csv", "text,label\none\n", r"line 2: this row has 1 field, and the header 2"),
        ("x.csv", "text,label\none,a,b\n", r"line 2: this row has 3 fields, and the header 2"),
        (
            "x.csv",
            'text,label\n"one\n',
            r"line 2: a quotation mark opens here and is closed nowhere",
        ),
        ("x.docx", "", r"a file of this kind cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, task, name, text, message):
    with pytest.raises(DataError, match=message):
        read_file(write(tmp_path / name, text), task, {})


def test_a_missing_file_and_one_in_another_encoding(tmp_path, task, monkeypatch):
    with pytest.raises(DataError, match="there is no such file") as caught:
        read_file(tmp_path / "none.csv", task, {})
    assert "in a task file" in caught.value.hint
    monkeypatch.chdir(tmp_path)
    for name in ("none.csv", "none/*.parquet"):  # as a command is given it
        with pytest.raises(DataError, match="there is no") as caught:
            read_file(name, task, {})
        assert caught.value.hint.endswith(f"relative to {tmp_path}")
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
    given = [{"text": "one", "label": "a"}, {"text": "two", "label": "p"}]
    assert read_records(given, task, {}, name="gold").texts == ["one", "two"]
    frame = pandas.DataFrame(given)
    assert read_records(frame, task, {}, name="gold").texts == ["one", "two"]
    twice = pandas.concat([frame, frame["label"]], axis=1)
    with pytest.raises(DataError, match="gold: two columns have the same name: text, label, label"):
        read_records(twice, task, {}, name="gold")
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
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


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
        ("[]\n", r"line 1: expected an object with context\nhint: correct the row"),
    ],
)
def test_what_is_wrong_with_contexts_is_said(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_contexts(write(tmp_path / "c.jsonl", text), PAIR, {})


def test_contexts_are_for_tasks_that_have_them(tmp_path, task):
    with pytest.raises(DataError, match="a classification task has no contexts"):
        read_contexts(write(tmp_path / "c.jsonl", '{"context": "x"}\n'), task, {})


ENCODED = "text,label\n“un café”,a\nzwölf Öre,p\n"


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (ENCODED.encode("utf-8-sig"), None),
        (ENCODED.encode("utf-16"), None),
        ("\ufeff".encode("utf-16-be") + ENCODED.encode("utf-16-be"), None),
        (ENCODED.encode("utf-32"), None),
        (ENCODED.encode("cp1252"), "cp1252"),
        (ENCODED.encode("utf-16-le"), "utf-16-le"),
        (ENCODED.encode("utf-8-sig"), "cp1252"),  # a mark is sure, a key may be for another file
        (ENCODED.encode(), "cp1252"),  # such as the data set of a run, which `train` reads
    ],
)
@pytest.mark.parametrize("gz", [False, True])
def test_text_is_read_in_the_encoding_that_it_is_in(tmp_path, task, raw, encoding, gz):
    path = tmp_path / ("x.csv.gz" if gz else "x.csv")
    path.write_bytes(gzip.compress(raw) if gz else raw)
    data = read_file(path, task, {}, reading=Reading(encoding))
    assert data.texts == ["“un café”", "zwölf Öre"]


@pytest.mark.parametrize(
    ("raw", "encoding", "message", "hint"),
    [
        (
            "text,label\none,a\nun café,p\n".encode("cp1252"),
            None,
            r"x\.csv, line 3: the byte 0xE9 is no UTF-8; read as cp1252 the line is 'un café,p'",
            r"data: \{encoding: cp1252\}",
        ),
        (
            b"text,label\none\x81\x8d\xff,a\n",
            None,
            r"line 2: the byte 0x81 is no UTF-8$",
            "encoding",
        ),
        ("text,label\none,a\n".encode("utf-16-le"), None, "zero, as in UTF-16", "utf-16-le"),
        ("text,label\none,a\n".encode("utf-16-be"), None, "zero, as in UTF-16", "utf-16-be"),
        (
            "text,label\né,a\n".encode("latin-1"),
            "ascii",
            "line 2: the byte 0xE9 is no ascii",
            "ano",
        ),
        (b"text,label\none,a\n", "utf-16", "this is no utf-16 text", "UTF-8"),
    ],
)
def test_an_encoding_that_it_is_not_in_is_told_with_line_and_byte(
    tmp_path, task, raw, encoding, message, hint
):
    (tmp_path / "x.csv").write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read_file(tmp_path / "x.csv", task, {}, reading=Reading(encoding))
    assert re.search(message, caught.value.message)
    assert re.search(hint, caught.value.hint)


@pytest.mark.parametrize("name", ["rot13", "no-such-one", "undefined", "utf\0"])
def test_an_encoding_that_is_none_is_refused_by_name(name):
    with pytest.raises(ValueError, match="no encoding of texts is named"):
        DataSection(gold="x.csv", encoding=name)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        (json.dumps(GIVEN), ["one", "two"]),
        (json.dumps({"version": 1, "data": GIVEN}), ["one", "two"]),
        ("".join(json.dumps(row) + "\n" for row in GIVEN), ["one", "two"]),
        (json.dumps(GIVEN[0]) + "\n\n" + json.dumps(GIVEN[1]), ["one", "two"]),
    ],
)
@pytest.mark.parametrize("gz", [False, True])
def test_json_may_be_an_array_or_hold_one_or_be_lines(tmp_path, task, text, texts, gz):
    path = write(tmp_path / ("x.json.gz" if gz else "x.json"), text, gz=gz)
    assert read_file(path, task, {}).texts == texts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"text": "one",\n}]', r"x\.json, line [12]: this is no JSON: (Expecting|Illegal)"),
        ('{"rows": []}', r"x\.json: expected an array of objects, or .* under `data`"),
        ('{"data": {"text": ["one"]}}', r"x\.json: expected an array of objects"),
        ("[" * 100_000, r"x\.json: this is no JSON that can be read"),
        ("[3]", r"x\.json, row 0: expected an object with text, label"),
        ("[]", r"x\.json: there is no row in it"),
    ],
)
def test_what_is_wrong_with_json_is_said(tmp_path, task, text, message):
    with pytest.raises(DataError, match=message):
        read_file(write(tmp_path / "x.json", text), task, {})


def test_class_labels_of_a_parquet_file_are_names(tmp_path, task):
    rows = [{"text": "one", "label": 1}, {"text": "two", "label": 0}]
    path = tmp_path / "x.parquet"
    datasets.Dataset.from_list(rows, features=FRUIT).to_parquet(path)
    assert read_file(path, task, {}).labels == ["a", "p"]
    packed = tmp_path / "x.parquet.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_file(packed, task, {}).labels == ["a", "p"]
    features = Features({"text": Value("string"), "label": datasets.List(FRUIT["label"])})
    several = [{"text": "one", "label": [1]}, {"text": "two", "label": [0, 0]}]
    given = datasets.Dataset.from_list(several, features=features)
    given.to_parquet(path)
    assert read_file(path, task, {}).labels == ["a", "p"]
    assert read_records(given, task, {}, name="gold").labels == ["a", "p"]
    unlabelled = datasets.Dataset.from_list([{"text": "one", "label": -1}], features=FRUIT)
    unlabelled.to_parquet(path)
    with pytest.raises(DataError, match=r"row 0 \(label is -1: unlabelled\): the label .* empty"):
        read_file(path, task, {})


def test_a_class_that_has_no_name_is_told_in_its_row(tmp_path, task):
    about = {"info": {"features": {"label": {"names": ["p", "a"], "_type": "ClassLabel"}}}}
    table = pa.table({"text": ["one", "two"], "label": [1, 7]})
    told = {"huggingface": json.dumps(about)}
    parquet.write_table(table.replace_schema_metadata(told), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"row 1: label is 7, and has names for 0 to 1"):
        read_file(tmp_path / "x.parquet", task, {})
    for features in ("[1]", '{"label": 1}', '{"label": []}', '{"label": {"_type": "ClassLabel"}}'):
        odd = {"huggingface": f'{{"info": {{"features": {features}}}}}'}
        parquet.write_table(table.replace_schema_metadata(odd), tmp_path / "x.parquet")
        with pytest.raises(DataError, match="row 0: the label '1'"):
            read_file(tmp_path / "x.parquet", task, {})


def test_a_folder_of_save_to_disk_is_read(tmp_path, task):
    rows = [{"text": "one", "label": 1}, {"text": "two", "label": 0}]
    given = datasets.Dataset.from_list(rows, features=FRUIT)
    given.save_to_disk(tmp_path / "one")
    both = datasets.DatasetDict(train=given, dev=given.select([1]))
    both.save_to_disk(tmp_path / "both")
    for address in ("one", "both", "both/train"):
        assert read_file(tmp_path / address, task, {}).labels == ["a", "p"]
        assert read_file(f"hf:{tmp_path / address}", task, {}).labels == ["a", "p"]
    assert read_file(f"hf:{tmp_path / 'both'}::dev", task, {}).labels == ["p"]
    with pytest.raises(
        DataError, match=r"no split 'test' in it, but train, dev\nhint: hf:.*::train"
    ):
        read_file(f"hf:{tmp_path / 'both'}::test", task, {})
    with pytest.raises(
        DataError, match=r"a folder, and none with .parquet files or of save_to_disk"
    ):
        read_file(tmp_path, task, {})
    (tmp_path / "one" / "state.json").write_text("{}")
    with pytest.raises(DataError, match="one: cannot be loaded"):
        read_file(tmp_path / "one", task, {})


@pytest.mark.parametrize(
    ("label", "read"),
    [(["a"], "a"), (("p",), "p"), (["a", "a"], "a"), (pa.array(["p"]).to_numpy(False), "p")],
)
def test_a_label_may_stand_in_a_list_of_its_own(task, label, read):
    data = read_records([{"text": "one", "label": label}], task, {}, name="gold")
    assert data.labels == [read]


@pytest.mark.parametrize(
    ("label", "message"),
    [(["a", "p"], "and this one has several: 'a', 'p'"), ([], "the label .* is empty")],
)
def test_several_labels_or_none_are_no_label(task, label, message):
    with pytest.raises(DataError, match=f"row 0: .*{message}"):
        read_records([{"text": "one", "label": label}], task, {}, name="gold")


@pytest.mark.parametrize("empty", ["", " ", None, float("nan"), pandas.NA, pandas.NaT])
def test_no_label_is_empty_and_the_text_nan_is_a_label(tmp_path, empty):
    names = Classification.model_validate({"labels": ["nan", "NaN?", "null", "None"]})
    path = write(tmp_path / "x.csv", "text,label\none,nan\ntwo,NaN?\nthree,null\nfour,None\n")
    assert read_file(path, names, {}).labels == ["nan", "NaN?", "null", "None"]
    with pytest.raises(DataError, match="the label of 'one' is empty"):
        read_records([{"text": "one", "label": empty}], names, {}, name="gold")


BAD = "text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(60))


def test_all_that_is_wrong_with_a_file_is_told_at_once(tmp_path, task):
    path = write(tmp_path / "x.csv", BAD)
    with pytest.raises(DataError) as caught:
        read_file(path, task, {})
    first, *lines = caught.value.message.split("\n  ")
    assert first == f"{path}: 30 rows cannot be used:"
    assert [line.split(":")[0] for line in lines[:-1]] == [f"line {n}" for n in range(3, 43, 2)]
    assert "the label 'b' (of 'text 1') is none of the task's" in lines[0]
    assert lines[-1] == "and 10 more"
    assert "on_bad_row: skip" in caught.value.hint


def test_defects_of_several_kinds_are_told_together(tmp_path, task):
    lines = ["{oops", "[1]", '{"text": "x"}', '{"text": "", "label": "a"}', json.dumps(GIVEN[0])]
    with pytest.raises(DataError) as caught:
        read_file(write(tmp_path / "x.jsonl", "\n".join(lines)), task, {})
    said = caught.value.message.split("\n  ")[1:]
    expected = ["no JSON", "expected an object", "no column 'label'", "not empty"]
    for number, (line, part) in enumerate(zip(said, expected, strict=True), start=1):
        assert line.startswith(f"line {number}: ")
        assert part in line


def test_bad_rows_are_left_out_and_counted_where_that_is_asked_for(tmp_path, task):
    told = []
    skip = Reading(on_bad_row="skip")
    data = read_file(write(tmp_path / "x.csv", BAD), task, {}, reading=skip, warn=told.append)
    assert data.texts == [f"text {i}" for i in range(0, 60, 2)]
    assert len(told) == 1
    assert "30 rows were left out" in told[0]
    assert "line 3: the label 'b'" in told[0]
    assert told[0].endswith("and 27 more")
    one = write(tmp_path / "y.csv", "text,label\none,a\ntwo\n")
    read_file(one, task, {}, reading=skip, warn=told.append)
    assert "1 row was left out" in told[1]
    none = write(tmp_path / "z.csv", "text,label\none,b\ntwo,c\n")
    with pytest.raises(DataError, match="2 rows cannot be used"):
        read_file(none, task, {}, reading=skip)
    with pytest.raises(DataError, match=r"line 2: there is no column 'label'\. Columns: text, tag"):
        read_file(write(tmp_path / "z.csv", "text,tag\none,a\ntwo,p\n"), task, {}, reading=skip)


def test_contexts_may_leave_bad_rows_out_too(tmp_path):
    told = []
    path = write(tmp_path / "c.csv", "context,label\nHe ran.,no\n,yes\nHe sat.,maybe\n")
    skip = Reading(on_bad_row="skip")
    found = read_contexts(path, PAIR, {}, reading=skip, warn=told.append)
    assert found == [Context("He ran.", "no")]
    assert "2 rows were left out" in told[0]


LABEL_STUDIO = {
    "id": 7,
    "data": {"text": "one", "source": "web"},
    "annotations": [
        {
            "result": [
                {
                    "from_name": "label",
                    "to_name": "text",
                    "type": "choices",
                    "value": {"choices": ["a"]},
                },
                {"from_name": "why", "type": "textarea", "value": {"text": ["It is one."]}},
                {"from_name": "spans", "type": "labels", "value": {"start": 0, "labels": ["X"]}},
            ],
            "was_cancelled": False,
        }
    ],
    "predictions": [{"result": [{"from_name": "label", "value": {"choices": ["p"]}}]}],
}
ARGILLA = {
    "id": "r7",
    "fields": {"text": "one"},
    "metadata": {},
    "suggestions": {"label": {"value": "p", "score": 0.9, "agent": "m"}},
    "responses": {
        "label": [{"value": "a", "user_id": "u"}, {"value": None, "user_id": "v"}],
        "comment": [{"value": "fine", "user_id": "u"}],
    },
    "vectors": {},
    "_server_id": "s",
}
ARGILLA_FLAT = {
    "id": "r7",
    "text": "one",
    "label.suggestion": "p",
    "label.responses": ["p", "a"],
    "label.responses.users": ["u", "v"],
    "label.responses.status": ["discarded", "submitted"],
}


def annotated(*choices, **more):
    """Return a task of Label Studio with one annotation for each choice."""
    return {
        **LABEL_STUDIO,
        "annotations": [
            {"result": [{"from_name": "label", "type": "choices", "value": {"choices": [each]}}]}
            | more.get(each, {})
            for each in choices
        ],
    }


@pytest.mark.parametrize(
    "row",
    [
        LABEL_STUDIO,
        ARGILLA,
        ARGILLA_FLAT,
        annotated("a", "a"),
        annotated("p", "a", p={"was_cancelled": True}),
        annotated("p", "a", "p", a={"ground_truth": True}),
    ],
)
def test_exports_of_annotation_tools_are_read(tmp_path, task, row):
    path = write(tmp_path / "x.json", json.dumps([row]))
    assert read_file(path, task, {}) == Dataset([Example("one", "a")])
    assert read_file(write_rows(tmp_path / "x.jsonl", [row]), task, {}).labels == ["a"]
    assert read_records([row], task, {}, name="gold").labels == ["a"]


def test_the_name_of_the_question_is_the_column(task):
    rows = json.loads(json.dumps([LABEL_STUDIO]).replace('"label"', '"sentiment"'))
    assert read_records(rows, task, {"label": "sentiment"}, name="gold").labels == ["a"]
    with pytest.raises(DataError, match=r"no column 'label'.*id, text, source, sent"):
        read_records(rows, task, {}, name="gold")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (annotated("a", "p"), r"row 0 \(id 7\): .*several: 'a', 'p'"),
        (annotated(), r"row 0 \(id 7\): there is no column 'label'"),
        ({**ARGILLA, "status": "pending"}, "the label of 'one' is empty"),
        ({**ARGILLA, "responses": {}}, r"row 0 \(id r7\): the label of 'one' is empty"),
        ({**ARGILLA_FLAT, "label.responses.status": ["draft"] * 2}, "the label of 'one' is empty"),
        ({**LABEL_STUDIO, "annotations": [3, {"result": 4}, {"result": [5]}]}, "no column 'label'"),
        ({**ARGILLA, "responses": {"label": 3}, "suggestions": 4}, "no column 'label'"),
    ],
)
def test_what_was_not_settled_or_not_answered_is_no_label(task, row, message):
    with pytest.raises(DataError, match=message):
        read_records([row], task, {}, name="gold")


def write_sheet(path, *rows, title="Gold", others=()):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    for other in others:
        book.create_sheet(other)
    book.save(path)
    return path


def test_the_first_sheet_of_a_workbook_is_read_as_a_csv_file_would_be(tmp_path):
    task = Classification.model_validate({"labels": ["1", "true", "no"]})
    told = []
    path = write_sheet(
        tmp_path / "x.xlsx",
        [None, None, None],
        [" text ", None, "label"],
        ["one", "x", 1.0],
        ["two\nlines", None, True],
        [None, None, None],
        [3, None, "no"],
        others=["Notes"],
    )
    data = read_file(path, task, {}, warn=told.append)
    assert data.texts == ["one", "two\nlines", "3"]
    assert data.labels == ["1", "true", "no"]
    assert told == [f"{path}: of its 2 sheets the first, 'Gold', was read"]
    packed = tmp_path / "x.xlsx.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_file(packed, task, {}).texts == data.texts


def test_what_is_wrong_with_a_workbook_is_said(tmp_path, task):
    path = write_sheet(tmp_path / "x.xlsx", ["text", "label"], ["one", "a"], ["two", "b"], ["x"])
    with pytest.raises(DataError, match=r"(?s)2 rows cannot be used:.*row 3: the label 'b'.*row 4"):
        read_file(path, task, {})
    write_sheet(path, ["text", "text"], ["one", "a"])
    with pytest.raises(DataError, match=r"x\.xlsx, row 1: two columns have the same name"):
        read_file(path, task, {})
    with pytest.raises(DataError, match=r"x\.xlsx: there is no row in it"):
        read_file(write_sheet(path), task, {})
    with pytest.raises(DataError, match=r"x\.xlsx: this is no \.xlsx, or it is damaged"):
        read_file(write(path, CSV), task, {})
    with pytest.raises(DataError, match=r"y\.xlsx: there is no such file"):
        read_file(tmp_path / "y.xlsx", task, {})


def test_without_openpyxl_the_extra_is_named_and_another_way(tmp_path, task, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"stepsynth\[xlsx\].* save the sheet as CSV"):
        read_file(write(tmp_path / "x.xlsx", ""), task, {})
    with pytest.raises(DataError, match=r"cannot be read\nhint: .*save it as \.xlsx or \.csv"):
        read_file(write(tmp_path / "x.xls", ""), task, {})
