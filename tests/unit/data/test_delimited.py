"""Delimited files as people have them: each row is one row, or it is said what was in doubt."""

import io

import pytest

from stepsynth.data.bad_rows import BadRow
from stepsynth.data.delimited import rows_of_delimited
from stepsynth.errors import DataError


def read(text, kind=".csv"):
    """Return the (line, row) pairs of a file, a bad row as its message, and what was told."""
    told = []
    rows = rows_of_delimited(io.StringIO(text, newline=""), "x", kind, told.append)
    found = [
        (place, r.message if isinstance(r, BadRow) else tuple(r.values())) for place, r in rows
    ]
    return found, told


def values(text, kind=".csv"):
    return [row for _, row in read(text, kind)[0]]


OPEN_AND_CLOSED = (
    'text\tlabel\n"The soup was cold.\tbad\nThe bread was warm.\tgood\n'
    'Nobody came.\tbad\nThe cake was fine."\tgood\n"So so."\tbad\n'
)


@pytest.mark.parametrize(("kind", "divider"), [(".tsv", "\t"), (".csv", ","), (".csv", ";")])
def test_marks_that_open_in_one_line_and_close_in_another_are_text(kind, divider):
    found, told = read(OPEN_AND_CLOSED.replace("\t", divider), kind)
    assert found == [
        ("line 2", ('"The soup was cold.', "bad")),
        ("line 3", ("The bread was warm.", "good")),
        ("line 4", ("Nobody came.", "bad")),
        ("line 5", ('The cake was fine."', "good")),
        ("line 6", ("So so.", "bad")),
    ]
    assert "(line 2)" in told[-1]
    assert "part of the text" in told[-1]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('"Fine" is what he said\tgood', ('"Fine" is what he said', "good")),
        ('It was "fine"\tgood', ('It was "fine"', "good")),
        ('"Not good\tbad', ('"Not good', "bad")),
        ('"a ""b"" c"\tgood', ('a "b" c', "good")),
        ('"a\tb"\tgood', ("a\tb", "good")),
        ('"She said \\"no\\"."\tbad', ('She said "no".', "bad")),
        ("5\" screen, 7' cable\tgood", ("5\" screen, 7' cable", "good")),
        ("C:\\new\\table\tgood", ("C:\\new\\table", "good")),
        ('"C:\\"\tgood', ("C:\\", "good")),
    ],
)
def test_a_quotation_mark_is_what_it_can_be(line, fields):
    assert values(f"text\tlabel\n{line}\nlast\tbad\n", ".tsv") == [fields, ("last", "bad")]


def test_texts_of_several_lines_are_one_row_and_places_are_where_rows_begin():
    text = 'text,label\n"Hello, all.\nBye, all.",good\n\n"one\n\nthree",bad\nlast,good\n'
    found, told = read(text)
    assert found == [
        ("line 2", ("Hello, all.\nBye, all.", "good")),
        ("line 5", ("one\n\nthree", "bad")),
        ("line 8", ("last", "good")),
    ]
    assert told == []
    assert values('label,text\r\ngood,"one\r\ntwo"\r\n') == [("good", "one\r\ntwo")]
    assert values('text\n"one, two\nthree"\nfour\n') == [("one, two\nthree",), ("four",)]


def test_rows_that_marks_have_made_one_are_told():
    text = 'text,label\n"Well, he said,good\nthe soup,bad\nthe end",good\nlast,bad\n'
    found, (said,) = read(text)
    assert found[0] == ("line 2", ("Well, he said,good\nthe soup,bad\nthe end", "good"))
    assert "lines 2 to 4 were each read as one row" in said
    found, (said,) = read('text, label\n"the soup, good\nthe end", bad\n"a, b", good\n')
    assert found[0] == ("line 2", ("the soup, good\nthe end", "bad"))
    assert "lines 2 to 3 were" in said


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('"one\nbad film,neg\nlast,pos\n', ["opens here and is closed nowhere", 2]),
        ('"one\ntwo" three,neg\nlast,pos\n', ["closes before the end of its field", 1]),
        ("one,neg,more\nlast,pos\n", ["this row has 3 fields, and the header 2", 1]),
        ("one\nlast,pos\n", ["this row has 1 field, and the header 2", 1]),
        ('"one,\ntwo",neg,more\nlast,pos\n', ["this row has 3 fields, and the header 2", 1]),
    ],
)
def test_a_bad_row_is_told_in_its_line_and_swallows_no_other(text, rows):
    said, good = rows
    found, _ = read("text,label\n" + text)
    assert found[0][0] == "line 2"
    assert said in found[0][1]
    assert len(found) == 1 + good
    assert found[-1][1] == ("last", "pos")


@pytest.mark.parametrize(
    ("kind", "divider", "name"),
    [
        *((".csv", "\t", "tabs"), (".csv", "|", "bars"), (".csv", ";", "semicolons")),
        *((".tsv", ",", "commas"), (".tsv", ";", "semicolons")),
    ],
)
def test_the_divider_is_found_and_told(kind, divider, name):
    quoted = '"Well, well; so | so"'
    text = f"text{divider}label\n{quoted}{divider}a\nplain{divider}b\n"
    found, told = read(text, kind)
    assert [row for _, row in found] == [("Well, well; so | so", "a"), ("plain", "b")]
    assert len(told) == 1
    assert f"divided by {name}" in told[0]


def test_a_comma_in_a_header_or_in_every_text_divides_nothing_where_semicolons_do():
    text = "text;label, the last one\nwell, yes;a\nwell, no;b\n"
    assert values(text) == [("well, yes", "a"), ("well, no", "b")]
    assert values("text;label\nwell, yes;a\nwell, no;b\n") == [
        ("well, yes", "a"),
        ("well, no", "b"),
    ]
    assert values("text,label;x\na;b,c\n") == [("a;b", "c")]


@pytest.mark.parametrize("first", ["sep=;", "sep=;\r", '"sep=;"', "SEP=;"])
def test_a_first_line_may_say_what_divides(first):
    found, told = read(f"{first}\ntext;label\na, b;c\n")
    assert found == [("line 3", ("a, b", "c"))]
    assert told == []
    assert values("sep=^\ntext^label\na^b\n") == [("a", "b")]


@pytest.mark.parametrize(
    "text",
    [
        "text,label,,\na,b,,\n",
        "text;label;;\na;b;;\n;;;\n",
        "text,label\na,b,\n,\n",
        "text,label\na,b,,,\n",
        " text ,label \na,b\n",
        '"text", "label"\n"a", "b"\n',
        'text,label\n"a", "b"\n',
        "text, label\na, b\n",
        ",text,label\n0,a,b\n",
        ",text,,label\n0,a,x,b\n",
        "\n\ntext,label\n\na,b\n\n",
        "text,label\ra,b\r",
        "text,label\na,b",
    ],
)
def test_spaces_and_empty_columns_are_nobodys(text):
    assert values(text) == [("a", "b")]


def test_spaces_within_a_text_stay():
    assert values("label,text\na,  b\nc, d \n") == [("a", "  b"), ("c", " d ")]


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(DataError, match="x, line 2: two columns have the same name: text, text"):
        values("\ntext, text\na,b\n")


def test_an_empty_file_and_a_header_alone_have_no_rows():
    assert values("") == values("\n\n") == values("text,label\n") == []
