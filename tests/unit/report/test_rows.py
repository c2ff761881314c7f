"""Tables of rows: as many as fit, cut and safe to show; the choices of their columns."""

import json

from stepsynth.report.rows import (
    MOST_CHARACTERS,
    MOST_PARTS,
    MOST_TEXT,
    PAGE,
    Column,
    cut,
    make_rows,
    texts,
)

COLUMNS = (Column("round", "number", is_choice=True), Column("label", is_choice=True))


def test_a_text_is_cut_and_says_how_much_is_missing():
    assert cut("a" * MOST_TEXT) == "a" * MOST_TEXT
    assert cut("a" * (MOST_TEXT + 1_234)) == "a" * MOST_TEXT + "… (1,234 more characters)"


def test_marks_of_direction_are_made_visible():
    assert cut("a\u202eb\u2066c\x1b") == "a<U+202E>b<U+2066>c<U+001B>"
    assert cut("שלום\u200f") == "שלום\u200f"


def test_texts_that_are_empty_are_left_out():
    assert texts(("", "one"), ("note\x00", " \n"), ("why\x00", "two", "folded")) == [
        ["", "one"],
        ["why<U+0000>", "two", "folded"],
    ]


def test_a_cell_has_few_texts_and_says_how_many_there_are():
    cell = texts(*(("", f"text {i}") for i in range(MOST_PARTS + 1_500)))
    assert cell[-2:] == [["", f"text {MOST_PARTS - 1}"], ["", "… (1,500 more)"]]


def test_rows_are_taken_as_long_as_they_fit():
    rows = [[0, "x" * 95] for _ in range(10)]
    size = len(json.dumps(rows[0]))
    table = make_rows("rows", COLUMNS, rows, most=4 * size)
    assert (len(table.rows), table.total) == (4, 10)
    assert len(make_rows("rows", COLUMNS, rows).rows) == 10


def test_a_row_that_does_not_fit_ends_the_rows():
    table = make_rows("rows", COLUMNS, [[0, "x"], [1, "x" * 100], [2, "x"]], most=60)
    assert table.rows == [[0, "x"]]


def test_fifty_thousand_rows_of_a_paragraph_fit():
    columns = (*COLUMNS, Column("text", "texts"))
    row = [0, "label", texts(("", "word " * 50))]
    assert 50_000 * len(json.dumps(row)) < MOST_CHARACTERS
    table = make_rows("rows", columns, [row] * 50_000)
    assert (len(table.rows), len(table.first)) == (50_000, PAGE)


def test_every_cell_is_safe_to_show():
    assert make_rows("rows", COLUMNS, [[1, "a\u202eb"]]).rows == [[1, "a<U+202E>b"]]


def test_the_choices_of_a_column_are_its_values_in_order():
    rows = [[10, "b"], [9, "a"], [9, "b"]]
    assert make_rows("rows", COLUMNS, rows).choices == {0: ["9", "10"], 1: ["a", "b"]}
    assert make_rows("rows", COLUMNS, rows[1:]).choices == {1: ["a", "b"]}
