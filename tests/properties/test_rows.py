"""What the csv module writes is read back, or it is said that there was a doubt."""

import csv
import io

from hypothesis import assume, given
from hypothesis import strategies as st

from stepsynth.experiment.bad_rows import BadRow
from stepsynth.experiment.delimited import rows_of_delimited

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
def test_any_text_is_rows_or_says_why_not(text, kind):
    lines = text.count("\n") + text.count("\r") + 1
    told: list[str] = []
    try:
        found = list(rows_of_delimited(io.StringIO(text, newline=""), "x", kind, told.append))
    except ValueError as error:  # pragma: no cover
        raise AssertionError(error) from error
    except Exception as error:
        assert "two columns have the same name" in str(error)  # noqa: PT017
        return
    places = [int(place.removeprefix("line ")) for place, _ in found]
    assert places == sorted(set(places))
    assert all(place <= lines for place in places)
