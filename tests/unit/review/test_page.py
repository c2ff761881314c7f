"""Rows and errors as a reviewer looks at them: filters, search, states, what is safe to show."""

import json

import pytest

from stepsynth.review.deciding import decide
from stepsynth.review.decisions import History
from stepsynth.review.page import CUT, Query, find_errors, find_rows, to_dict
from stepsynth.review.table import Table
from tests.unit.review.subject import HOSTILE, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def table(run):
    return Table.read(run)


def history_of(table, *asked):
    history = History()
    for number, (row, more) in enumerate(asked):
        given = {"id": f"decision-{number}", "data": "synthetic", "row": row, **more}
        for each in decide(given, table, history):
            history.add(each)
    return history


def ids(found):
    return [each.id for each in found]


def test_all_rows_and_errors_are_there_in_order(run, table):
    rows = [row for done in run.rounds for row in done.rows]
    assert ids(table.rows.values()) == list(dict.fromkeys(row.example.id for row in rows))
    assert [row.place for row in table.rows.values()] == list(range(len(table.rows)))
    missed = [(done.index, row.example.id) for done in run.rounds for row in done.missed]
    assert [(error.round, error.id) for error in table.errors] == missed
    assert table.labels == ("apple", "pear")
    assert table.rounds() == [0, 1]
    for error, traced in zip(table.errors, run.lineage[0].errors, strict=False):
        assert ids(error.rows) == [row.example.id for row in traced.rows]
        assert [each.text for each in error.unused] == [u.completion for u in traced.unused]
        assert error.is_fixed == traced.is_fixed
    assert any(error.rows for error in table.errors)
    assert any(error.unused for error in table.errors)


def test_the_rows_of_an_error_are_siblings(table):
    error = next(each for each in table.errors if len(each.rows) > 1)
    assert set(ids(error.rows)) <= set(ids(table.siblings(error.rows[0].id)))
    seed = next(row for row in table.rows.values() if row.round == 0)
    assert table.siblings(seed.id) == []


def test_filters_and_search_find_what_they_say(table):
    first, second, third = list(table.rows)[:3]
    history = history_of(
        table,
        (first, {"what": "reject"}),
        (second, {"what": "edit", "text": "A Better Text"}),
        (third, {"what": "relabel", "label": "pear"}),
    )

    def found(**asked):
        return ids(find_rows(table, Query(**asked), history))

    assert found(state="rejected") == [first]
    assert found(state="edited") == found(text="better t") == [second]
    assert len(found(state="undecided")) == len(table.rows) - 3
    assert third in found(label="pear")
    assert third not in found(label="apple")
    assert found(round=0) + found(round=1) == found() == list(table.rows)
    error = next(each for each in table.errors if each.rows)
    assert found(error=error.id) == ids(table.written[error.id])
    assert found(error="nobody") == []
    counts = table.count(history)
    assert (counts["rejected"], counts["edited"], counts["gold"]) == (1, 1, 0)
    assert sum(counts.values()) == len(table.rows)


def test_errors_are_found_by_their_own_text_or_that_of_their_rows(table):
    error = next(each for each in table.errors if each.rows)
    for words in (error.missed.example.text, error.rows[-1].example.text.upper()):
        assert error.id in ids(find_errors(table, Query(text=words), History()))
    history = history_of(table, (error.rows[0].id, {"what": "reject"}))
    assert error.id in ids(find_errors(table, Query(state="rejected"), history))
    assert all(e.round == 1 for e in find_errors(table, Query(round=1), History()))
    label = str(error.missed.example.label)
    assert error.id in ids(find_errors(table, Query(label=label, error=error.id), History()))


def test_a_changed_row_says_what_it_was_and_why(table):
    row = next(iter(table.rows.values()))
    asked = {"what": "edit", "text": "better", "why": "too short"}
    shown = to_dict(row, table, history_of(table, (row.id, asked)))
    assert (shown["state"], shown["text"], shown["why"]) == ("edited", "better", "too short")
    assert shown["was"] == {"label": row.example.label, "text": row.example.text}
    assert "was" not in to_dict(row, table, History())


def test_hostile_texts_are_cut_and_their_commands_made_visible(tmp_path):
    table = Table.read(make_run(tmp_path / "run", hostile=True))
    shown = [to_dict(row, table, History()) for row in table.rows.values()]
    texts = {row.example.text for row in table.rows.values()}
    assert texts >= set(HOSTILE)
    long = next(each for each in shown if "more" in each)
    assert len(long["text"]) == CUT
    assert long["more"] > 1_000_000
    assert "<U+202E>" in json.dumps(shown)
    assert "\\u202e" not in json.dumps(shown)
    assert "\\u0007" not in json.dumps(shown)
