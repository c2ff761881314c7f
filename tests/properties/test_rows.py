"""Rows are read as they were written, or it is said what was in doubt, whatever a file holds."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyarrow import parquet

from stepsynth.data.bad_rows import BadRow, Reading
from stepsynth.data.delimited import rows_of_delimited
from stepsynth.data.rows import read_file, read_records
from stepsynth.errors import DataError
from stepsynth.tasks.classification import Classification

PIECES = ['"', '""', ",", ", ", ";", "\t", "|", "\n", "\r\n", "\\", '\\"', " ", "sep=;", "a", "1"]
TEXT = st.one_of(st.text(max_size=12), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
FORMS = st.tuples(
    st.sampled_from([(".csv", ","), (".csv", ";"), (".tsv", "\t")]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)


@given(
    st.lists(st.tuples(TEXT, st.sampled_from(["good", "bad"])), min_size=1), FORMS, st.booleans()
)
def test_what_is_written_is_read_back_or_a_doubt_is_told(rows, form, is_text_last):
    (kind, divider), quoting = form
    assume(all("\0" not in text for text, _ in rows))
    order = slice(None, None, -1 if is_text_last else 1)
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=divider, quoting=quoting)
    writer.writerows([("text", "label")[order], *(row[order] for row in rows)])
    file.seek(0)
    told: list[str] = []
    found = [row for _, row in rows_of_delimited(file, "x", kind, told.append)]
    texts = [
        row if isinstance(row, BadRow) else (row.get("text"), row.get("label")) for row in found
    ]
    assert texts == rows or told or any(isinstance(row, BadRow) for row in found)


@given(st.text(), st.sampled_from([".csv", ".tsv"]))
def test_any_text_is_rows_in_their_lines(text, kind):
    lines = text.count("\n") + text.count("\r") + 1
    rows = rows_of_delimited(io.StringIO(text, newline=""), "x", kind, None)
    try:
        places = [int(place.removeprefix("line ")) for place, _ in rows]
    except DataError as error:
        places = []
        assume("two columns have the same name" in error.message)
    assert places == sorted(set(places))
    assert all(place <= lines for place in places)


TASK = Classification.model_validate({"labels": ["a", "b"]})
ROWS = [{"id": i, "text": f"text {i}", "label": "ab"[i % 2]} for i in range(8)]


def make_files():
    """Return ending -> the bytes of a valid file."""
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    table = "id,text,label\n" + "".join(f'{r["id"]},"{r["text"]}",{r["label"]}\n' for r in ROWS)
    columns = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(ROWS), columns)
    files = {
        ".jsonl": lines.encode(),
        ".json": json.dumps({"data": ROWS}).encode(),
        ".csv": table.encode(),
        ".tsv": table.replace(",", "\t").encode("utf-16"),
        ".parquet": columns.getvalue(),
    }
    return files | {f"{ending}.gz": gzip.compress(raw, mtime=0) for ending, raw in files.items()}


FILES = make_files()
SPOTS = st.lists(st.tuples(st.integers(0, 3_000), st.binary(max_size=4)), max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@given(
    st.sampled_from(sorted(FILES)),
    SPOTS,
    st.integers(0, 3_000),
    st.sampled_from(["error", "skip"]),
    st.sampled_from([None, None, "cp1252", "utf-16", "ascii", "idna", "shift_jis"]),
)
def test_a_damaged_file_is_read_or_is_our_own_error(folder, ending, spots, end, on_bad_row, name):
    raw = bytearray(FILES[ending])
    for place, new in spots:
        start = place % len(raw)
        raw[start : start + len(new)] = new
    path = folder / f"x{ending}"
    path.write_bytes(raw[: end or None])
    try:
        found = read_file(path, TASK, {}, reading=Reading(name, on_bad_row))
    except DataError as error:
        assert error.message.startswith(str(path))  # noqa: PT017
    else:
        assert set(found.labels) <= {"a", "b"}


WORDS = """id data annotations fields responses suggestions label label.responses result value type
label.responses.status choices from_name was_cancelled ground_truth status"""
NAMES = st.sampled_from(WORDS.split())
ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


@given(st.lists(st.dictionaries(NAMES, ANY), min_size=1, max_size=3))
def test_any_objects_are_rows_or_are_told(rows):
    try:
        read_records(rows, TASK, {"text": "id"}, name="gold")
    except DataError as error:
        assert error.message.startswith("gold")  # noqa: PT017
