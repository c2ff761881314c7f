"""Parts of big files: together they are all rows, once and in order."""

import gzip
import json
import os
from codecs import BOM_UTF8

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsynth.data import Columns, find_parts, gather, parts, states
from stepsynth.errors import DataError

TEXTS = ['{"text": "a"}', '{"text": "zwei \\u2028 drei", "n": 1}', '{"text": "三"}']
NO_TEXTS = ["", "  ", '{"text": null}', '{"other": 1, "text": " "}']
LINES = st.lists(st.sampled_from([*TEXTS, *NO_TEXTS]), min_size=1, max_size=30)


def texts_of(found):
    return [row for part in found for row in part.texts()]


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(1, 40), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines_are_read_and_filtered_once_whatever_the_parts(
    tmp_path_factory, lines, size, end, has_last_end
):
    folder = tmp_path_factory.mktemp("lines")
    lines = ['{"text": "first"}', *lines]
    path = folder / "in.jsonl"
    path.write_bytes((end.join(lines) + (end if has_last_end else "")).encode())
    rows = [json.loads(line) for line in lines if line.strip()]
    expected = [("", t) if (t := row["text"]) and t.strip() else None for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", size)
        kind, found = find_parts([str(path)], Columns())
    assert kind == ".jsonl"
    assert texts_of(found) == expected
    files = []
    for number, part in enumerate(found):
        files.append(folder / str(number))
        kept = sum(row is not None for row in part.texts())
        part.write(np.arange(kept) % 2 == 0, files[-1])
    gather(files, folder / "out.jsonl", kind)
    written = (folder / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert set(written) <= {line.strip() for line in lines}
    assert len(written) == sum(-(-sum(r is not None for r in p.texts()) // 2) for p in found)


def test_gzipped_lines_are_one_part(tmp_path):
    with gzip.open(tmp_path / "in.jsonl.gz", "wt") as file:
        file.write('{"text": "a", "c": "one"}\n{"text": "b", "c": null}\n')
    kind, found = find_parts([str(tmp_path / "in.jsonl.gz")], Columns("text", "c"))
    assert (kind, texts_of(found)) == (".jsonl", [("one", "a"), ("", "b")])


def test_marks_of_files_are_not_within_the_one_that_is_made_of_them(tmp_path):
    files = []
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_bytes(BOM_UTF8 + b'{"text": "%s"}\n' % name.encode())
        _, (part,) = find_parts([str(tmp_path / f"{name}.jsonl")], Columns())
        files.append(tmp_path / name)
        part.write(np.array([True]), files[-1])
    gather(files, tmp_path / "out.jsonl", ".jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == b'{"text": "a"}\n{"text": "b"}\n'


def test_a_file_without_rows_has_a_part_with_its_columns(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    schema = pa.schema([("text", pa.string()), ("n", pa.int64())])
    parquet.ParquetWriter(tmp_path / "in.parquet", schema).close()
    kind, (part,) = find_parts([str(tmp_path / "in.parquet")], Columns())
    assert list(part.texts()) == []
    part.write(np.zeros(0, dtype=bool), tmp_path / "0")
    gather([tmp_path / "0"], tmp_path / "out.parquet", kind)
    assert parquet.read_table(tmp_path / "out.parquet").schema == schema


@pytest.mark.parametrize("place", ["file", "address"])
def test_a_file_that_has_changed_is_another_one(tmp_path, place):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    system = pytest.importorskip("fsspec").filesystem("memory")
    path = "memory://changed/in.parquet" if place == "address" else str(tmp_path / "in.parquet")

    def state(text):
        parquet.write_table(pa.table({"text": [text]}), tmp_path / "in.parquet")
        os.utime(tmp_path / "in.parquet", ns=(0, len(text)))  # clocks of files are coarse
        system.pipe("/changed/in.parquet", (tmp_path / "in.parquet").read_bytes())
        return json.loads(json.dumps(states(find_parts([path], Columns())[1])))

    before = state("one")
    assert states(find_parts([path], Columns())[1]) == before, "nothing has changed"
    assert state("three") != before


def test_row_groups_are_parts_and_all_columns_are_kept(tmp_path, monkeypatch):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {"n": range(10), "text": [*"abcdefgh", None, " "], "l": [[i] for i in range(10)]}
    )
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    monkeypatch.setattr(parts, "PART_ROWS", 4)
    kind, found = find_parts([str(tmp_path / "in.parquet")], Columns())
    assert (kind, [part.groups for part in found]) == (".parquet", [(0, 1), (2, 3)])
    assert texts_of(found) == [*(("", letter) for letter in "abcdefgh"), None, None]
    files = [tmp_path / "0", tmp_path / "1"]
    found[0].write(np.array([True, False] * 3), files[0])
    found[1].write(np.array([False, True]), files[1])
    gather(files, tmp_path / "out.parquet", kind)
    kept = parquet.read_table(tmp_path / "out.parquet")
    assert kept.schema.equals(table.schema)
    assert kept["n"].to_pylist() == [0, 2, 4, 7]
    gather(files, tmp_path / "out", kind)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["rows"] == 4
    assert manifest["shards"][1] == {"file": "part-00001.parquet", "rows": 1}


def test_files_of_other_columns_become_no_one_file(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "0")
    parquet.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "1")
    with pytest.raises(DataError, match="different columns") as caught:
        gather([tmp_path / "0", tmp_path / "1"], tmp_path / "out.parquet", ".parquet")
    assert "a folder" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"txt": "a"}\n', "there is no column 'text'"),
        ("[1]\n", "the line at byte 0: expected an object"),
        ('{"text": "a"}\n{"text": 3}\n', "the line at byte 14: text is 3, not a text"),
        ('{"text": "a"}\nnonsense\n', "the line at byte 14: this is no JSON"),
        (b'{"text": "\xff"}\n', "this is no JSON that can be read: 'utf-8' codec can't decode"),
        ('{"text": "a", "text": "b"}\n', "at byte 0: this is no JSON that can be read: 'text' is"),
        ("[" * 100_000 + "\n", "this is no JSON"),
    ],
)
def test_a_line_that_is_no_row_is_named_with_its_place(tmp_path, content, said):
    path = tmp_path / "in.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        texts_of(find_parts([str(path)], Columns())[1])
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_files_of_two_kinds_or_of_none_are_refused(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="of two kinds"):
        find_parts([str(tmp_path)], Columns())
    with pytest.raises(DataError, match=r"c.csv: there is no .jsonl or"):
        find_parts([str(tmp_path / "c.csv")], Columns())
    with pytest.raises(DataError, match="there is no column 'body'"):
        find_parts([str(tmp_path / "b.parquet")], Columns("body"))


def test_damage_within_a_file_names_it(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "in.parquet"
    parquet.write_table(pa.table({"text": [str(i) * 50 for i in range(2000)]}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:50] + bytes(len(whole) - 50 - 600) + whole[-600:])
    with pytest.raises(DataError, match=r"in.parquet: this is no Parquet, or it is damaged"):
        texts_of(find_parts([str(path)], Columns())[1])
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 9999)[:-20])
    with pytest.raises(DataError, match=r"in.jsonl.gz: cannot be read"):
        texts_of(find_parts([str(tmp_path / "in.jsonl.gz")], Columns())[1])


def test_a_file_that_has_changed_meanwhile_is_named(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n')
    _, (part,) = find_parts([str(path)], Columns())
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    part = parts.JsonLines(part.path, 0, None, part.columns)
    with pytest.raises(DataError, match=r"in.jsonl: it has changed"):
        part.write(np.array([True]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
