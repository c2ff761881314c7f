"""Rows of tokens in arrays: what goes in comes out."""

import numpy as np
import pytest

from stepsynth.students import _tokens
from stepsynth.students._tokens import TokenRows, blocks

ROWS = [
    {"input_ids": [101, 70_000, 102], "attention_mask": [1, 1, 1], "labels": 1, "weight": 0.5},
    {"input_ids": [], "attention_mask": [], "labels": 0, "weight": 2.0},
    {"input_ids": [101], "attention_mask": [1], "labels": 0, "weight": 1.0},
]


def test_rows_come_out_as_they_went_in():
    kept = TokenRows(iter(ROWS), ("input_ids", "attention_mask", "token_type_ids"))
    assert list(kept) == ROWS
    assert kept[-1] == ROWS[-1]
    assert kept[1:] == ROWS[1:]
    assert kept.lengths.tolist() == [3, 0, 1]
    with pytest.raises(IndexError):
        kept[3]


def test_many_tokens_are_kept_in_a_file(monkeypatch):
    monkeypatch.setattr(_tokens, "IN_MEMORY", 2)
    kept = TokenRows(iter(ROWS), ("input_ids", "attention_mask", "token_type_ids"))
    assert list(kept) == ROWS
    assert isinstance(kept._columns["input_ids"]._held, np.memmap)
    assert kept.lengths.tolist() == [3, 0, 1]


def test_columns_are_added_to_a_copy():
    bare = TokenRows([{"input_ids": [1, 2]}, {"input_ids": [3]}], ("input_ids",))
    assert list(bare.extended(labels=np.array([[0.0, 1.0], [1.0, 1.0]]))) == [
        {"input_ids": [1, 2], "labels": [0.0, 1.0]},
        {"input_ids": [3], "labels": [1.0, 1.0]},
    ]
    assert bare[0] == {"input_ids": [1, 2]}


def test_blocks_hold_all_items_in_their_order():
    found = list(blocks(range(2001)))
    assert list(map(len, found)) == [1000, 1000, 1]
    assert [item for block in found for item in block] == list(range(2001))
