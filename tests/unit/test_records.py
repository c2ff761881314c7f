import json
import sys

import pytest

from stepsynth import records
from stepsynth._util.files import read_jsonl
from stepsynth.data.rows import read_file, read_records
from stepsynth.errors import RunFolderError, StepsynthError
from stepsynth.records import Answers, Dataset, Example, LabelSet, Provenance, union
from stepsynth.tasks.classification import Classification
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.multi_label import MultiLabel
from stepsynth.tasks.sentence_pair import SentencePair


def example(text="x", label="a"):
    return Example(text, label)


def test_an_id_is_a_function_of_the_content():
    assert example().id == Example("x", "a", provenance=Provenance("s3", 1)).id
    assert (
        len({example().id, example("y").id, Example("x", "b").id, Example("x", "a", "c").id}) == 4
    )


def test_union_keeps_order_and_duplicates():
    both = union([example("x"), example("y")], [example("x")])
    assert both.texts == ["x", "y", "x"]
    assert both.without_duplicates().texts == ["x", "y"]


def test_rows_go_to_json_lines_without_times_or_paths(tmp_path):
    data = Dataset([example("a line\u2028 break"), Example("y", "b", "ctx")])
    data.to_jsonl(tmp_path / "d.jsonl")
    lines = (tmp_path / "d.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == data.to_dicts()
    assert set(json.loads(lines[0])) == {"text", "label", "provenance"}
    assert set(json.loads(lines[1])) == {"text", "label", "context", "provenance"}


MADE = Provenance("s3", 2, "extrapolate", ("p1", "p2"), 3, "r1", "small")
LABELS = {"labels": ["a", "b"]}
WRITTEN = {
    "classification": (
        Classification.model_validate(LABELS),
        Dataset([Example("one\u2028line", "a"), Example("two", "b", provenance=MADE)]),
    ),
    "multi_label": (
        MultiLabel.model_validate(LABELS),
        Dataset([Example("one", LabelSet(())), Example("two", LabelSet(("a", "b")), None, MADE)]),
    ),
    "sentence_pair": (
        SentencePair.model_validate(LABELS),
        Dataset([Example("one", "a", "left"), Example("two", "b", "right", MADE)]),
    ),
    "extractive_qa": (
        ExtractiveQA(),
        Dataset([Example("who?", Answers(("b", "a"), (2, 0)), "a b", MADE)]),
    ),
}


def fields(data):
    return [(row.text, row.label, row.context) for row in data]


@pytest.mark.parametrize("kind", WRITTEN)
def test_rows_are_the_same_after_parquet_and_datasets(tmp_path, kind):
    task, data = WRITTEN[kind]
    columns = {"text": "text"} | ({"answers": "label"} if kind == "extractive_qa" else {})
    data.to_parquet(tmp_path / "new" / "d.parquet")
    assert fields(read_file(tmp_path / "new" / "d.parquet", task, columns)) == fields(data)
    assert fields(read_records(data.to_datasets(), task, columns, name="d")) == fields(data)
    data.to_jsonl(tmp_path / "d.jsonl")
    assert fields(read_file(tmp_path / "d.jsonl", task, columns)) == fields(data)


def test_provenance_is_spread_over_the_columns_of_every_table(tmp_path):
    data = Dataset([Example("x", "a"), Example("y", "b", "left", MADE)])
    rows = data.to_datasets().to_list()
    assert rows[0]["context"] is None
    assert rows[1] == {"text": "y", "label": "b", "context": "left", **MADE.to_dict()}
    frame = data.to_pandas()
    assert list(frame["context"].isna()) == [True, False]
    assert frame.to_dict(orient="records")[1] == rows[1]
    assert "context" not in data[:1].to_datasets().column_names


@pytest.mark.parametrize("rows", [[], [example()]])
def test_the_columns_have_types_whatever_the_rows(tmp_path, rows):
    from pyarrow import parquet

    Dataset(rows).to_parquet(tmp_path / "d.parquet")
    types = {f.name: str(f.type) for f in parquet.read_schema(tmp_path / "d.parquet")}
    assert types["label"] == "string"
    assert types["round"] == "int64"
    assert types["parents"] == "list<element: string>"


def test_tables_made_in_batches_are_those_made_at_once(monkeypatch):
    rows = Dataset(Example(f"text {i}", "a", provenance=Provenance("own", i)) for i in range(11))
    whole = list(rows.to_tables(5))
    monkeypatch.setattr(records, "BATCH", 2)
    by_two = list(rows.to_tables(5))
    assert [len(table) for table in by_two] == [5, 5, 1]
    assert all(map(lambda one, other: one.equals(other), by_two, whole))
    assert {column.num_chunks for table in by_two for column in table.columns} == {1}


def test_rows_that_are_read_share_the_texts_that_they_have_in_common(tmp_path):
    origin = Provenance("own", 1, "extrapolate", ("a gold row",), model="a model")
    Dataset([Example(f"text {i}", "a label", provenance=origin) for i in range(2)]).to_jsonl(
        tmp_path / "rows.jsonl"
    )
    one, other = map(Example.from_dict, read_jsonl(tmp_path / "rows.jsonl"))
    assert one.label is other.label
    for name in ("method", "kind", "model"):
        assert getattr(one.provenance, name) is getattr(other.provenance, name)
    assert one.provenance.parents[0] is other.provenance.parents[0]


def test_parquet_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    from pyarrow import parquet

    def fail(table, file):
        file.write(b"half")
        raise OSError("the disk is full")

    path = tmp_path / "d.parquet"
    path.write_bytes(b"old")
    monkeypatch.setattr(parquet, "write_table", fail)
    with pytest.raises(OSError, match="the disk is full"):
        Dataset([example()]).to_parquet(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RunFolderError, match="this is a folder"):
        Dataset([example()]).to_parquet(tmp_path)


@pytest.mark.parametrize(
    ("library", "write", "hint"),
    [
        ("pyarrow", lambda data: data.to_parquet("d.parquet"), r"stepsynth\[parquet\]"),
        ("datasets", lambda data: data.to_datasets(), r"stepsynth\[transformers\]"),
    ],
)
def test_without_a_library_its_extra_is_named(tmp_path, monkeypatch, library, write, hint):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(StepsynthError, match=hint):
        write(Dataset([example()]))
    assert not list(tmp_path.iterdir())


def test_a_slice_is_a_data_set():
    assert Dataset([example("x"), example("y")])[1:].texts == ["y"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Great film!", "great   film", True),
        ("ｆｕｌｌ width", "full width", True),
        ("I love it :)", "I love it :(", False),
        ("great 😍", "great 😡", False),
        ("C++", "C", False),
        ("5 €", "5 $", False),
        ("वह अच्छा है", "वह अच्छी है", False),
    ],
)
def test_texts_are_equal_as_people_read_them(one, other, same):
    from stepsynth._util.text import normalise

    assert (normalise(one) == normalise(other)) == same
