"""Rows in a mapped file: what is read is what was written, whatever is asked for."""

import pytest

from stepsynth.data import spool
from stepsynth.records import Answers, Dataset, Example, LabelSet

pytest.importorskip("pyarrow")

KINDS = [
    Example("a text\u2028 of two lines", "b"),
    Example("", LabelSet(("a", "b")), "a context"),
    Example("Who?", Answers(("Ann", "Ann Lee"), (0, 0)), "Ann Lee is here."),
]


def test_rows_of_every_kind_come_back(tmp_path):
    rows = spool(iter(KINDS), tmp_path / "rows")
    assert list(rows) == KINDS
    assert (rows, hash(rows)) == (Dataset(KINDS), hash(Dataset(KINDS)))
    assert rows != Dataset(KINDS[:2]) != Dataset(KINDS[1:])
    (tmp_path / "rows").unlink()
    assert rows.labels == ["b", "a|b", "Ann"]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6])
def test_blocks_are_not_seen(tmp_path, monkeypatch, count):
    monkeypatch.setattr("stepsynth.data.mapped.BLOCK", 2)
    held = [Example(f"text {i}", "ab"[i % 2]) for i in range(count)]
    rows = spool(held, tmp_path / "rows")
    assert len(rows) == count
    assert list(rows) == held
    assert list(rows[1:4]) == held[1:4]
    assert list(rows[::-2]) == held[::-2]
    if count:
        assert (rows[-1], rows[0]) == (held[-1], held[0])
    with pytest.raises(IndexError):
        rows[count]


def test_a_block_may_be_larger_than_a_column_of_plain_texts(tmp_path):
    """2 GB are the most of `pa.string()`: what is written does not say so of its columns."""
    import pyarrow as pa

    spool(KINDS, tmp_path / "rows")
    schema = pa.ipc.open_file(pa.memory_map(str(tmp_path / "rows"))).schema
    assert {field.type for field in schema} == {pa.large_string()}
