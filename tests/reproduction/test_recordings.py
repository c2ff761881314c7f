"""Recordings hold what an LLM wrote, and no text of the data it was asked with."""

import gzip
import json
import re
from pathlib import Path

import pytest

import reproduction.live

FILES = sorted((Path(reproduction.live.__file__).parent / "recordings").glob("*.jsonl.gz"))


def test_all_of_them_are_small_enough_to_ship():
    assert FILES
    assert sum(path.stat().st_size for path in FILES) < 3_000_000


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_recording_tells_no_prompt_and_no_source(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) > 500
    assert any("source" in row for row in rows), "errors were extrapolated"
    for row in rows:
        assert not row.keys() & {"prompt", "turns"}
        assert re.fullmatch("[0-9a-f]{16}", row["request"])
        told = [row[key] for key in ("source", "context") if key in row]
        assert all(re.fullmatch("sha256:[0-9a-f]{24}", text) for text in told)
