import json

import pytest

from stepsynth.records import Dataset, Example, Provenance, union


def example(text="x", label="a"):
    return Example(text, label)


def test_an_id_is_a_function_of_the_content():
    assert example().id == Example("x", "a", provenance=Provenance("s3", 1)).id
    assert (
        len({example().id, example("y").id, Example("x", "b").id, Example("x", "a", "c").id}) == 4
    )


def test_a_row_in_place_of_another_keeps_label_and_context():
    row = Example("old", "a", "premise").with_text("new", Provenance("s3", 1))
    assert (row.text, row.label, row.context) == ("new", "a", "premise")


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


def test_rows_go_to_pandas():
    pytest.importorskip("pandas")
    frame = Dataset([example()]).to_pandas()
    assert list(frame["text"]) == ["x"]
    assert list(frame["method"]) == ["gold"]


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
