"""The lineage of errors: fixed, still wrong or newly wrong, with what was written for each."""

import json
import re
from pathlib import Path

import pytest

import stepsynth
from stepsynth.records import Example, Provenance
from stepsynth.report import write_report
from stepsynth.runfolder.lineage import trace_errors
from stepsynth.runfolder.rows import AddedRow, MissedRow, Origin, UnusedRow

DEMO = Path(stepsynth.__file__).parent / "demo" / "support.yaml"


def missed(text):
    return MissedRow(Example(text, "a"), "b")


def written(*errors, text="written", prompt="Write."):
    origin = Provenance("s3", 1, "extrapolate", tuple(each.example.id for each in errors))
    return AddedRow(Example(text, "a", provenance=origin), Origin(prompt=prompt))


def rejected(error, prompt="Write."):
    origin = Provenance("s3", 1, "extrapolate", (error.example.id,))
    return UnusedRow("refusal", "a", "I cannot.", provenance=origin, origin=Origin(prompt=prompt))


PARCEL, LOGIN, COFFEE = map(missed, ("my parcel never came", "no login today", "bitter coffee"))


def test_an_error_is_fixed_or_still_wrong_and_a_row_newly_wrong():
    new = missed("something else")
    found = trace_errors(3, [PARCEL, LOGIN, COFFEE], [LOGIN, new])
    assert found.index == 3
    assert [each.missed for each in found.errors] == [PARCEL, LOGIN, COFFEE]
    assert [each.missed for each in found.fixed] == [PARCEL, COFFEE]
    assert [each.missed for each in found.still_wrong] == [LOGIN]
    assert found.newly_wrong == (new,)


def test_of_the_last_round_nothing_is_known():
    found = trace_errors(0, [PARCEL], None)
    assert found.newly_wrong is None
    assert (found.fixed, found.still_wrong, found.errors[0].is_fixed) == ([], [], None)


def test_an_error_has_what_was_asked_written_and_rejected_in_order():
    rows = [
        written(LOGIN, text="1", prompt="A"),
        written(PARCEL, text="2", prompt="B"),
        written(PARCEL, LOGIN, text="3", prompt="C"),
    ]
    unused = [rejected(LOGIN, "A"), UnusedRow("stopped", ""), rejected(LOGIN, "D")]
    found = trace_errors(0, [PARCEL, LOGIN, COFFEE], [], added=rows, unused=unused)
    parcel, login, coffee = found.errors
    assert [row.text for row in parcel.rows] == ["2", "3"]
    assert [row.text for row in login.rows] == ["1", "3"]
    assert login.unused == (unused[0], unused[2])
    assert login.prompts == ["A", "C", "D"]
    assert (coffee.rows, coffee.unused, coffee.prompts) == ((), (), [])


def test_a_newly_wrong_row_stands_under_the_error_that_it_is_nearest_to():
    new = [
        missed(text)
        for text in ("My parcel is so late now!", "his parcel never came", "about cats")
    ]
    found = trace_errors(0, [LOGIN, PARCEL], [*new, PARCEL])
    login, parcel = found.errors
    assert login.near == ()
    assert [each.missed for each in parcel.near] == [new[1], new[0]]
    assert 1 > parcel.near[0].cosine > parcel.near[1].cosine >= 0.2
    assert found.newly_wrong == tuple(new)


def test_texts_without_words_are_near_to_nothing():
    found = trace_errors(0, [missed("!!!")], [missed("???")])
    assert found.errors[0].near == ()


@pytest.mark.slow
def test_a_run_has_the_lineage_of_its_rounds_and_the_report_its_totals(tmp_path):
    done = stepsynth.run(DEMO, out=tmp_path / "run")
    lineage = stepsynth.open_run(done.folder).lineage
    for traced, made in zip(lineage, done.rounds, strict=True):
        assert [each.missed.example for each in traced.errors] == list(made.misclassified)
    for traced, after in zip(lineage, done.rounds[1:], strict=False):
        ids = {row.id for row in after.misclassified}
        assert {each.missed.example.id for each in traced.still_wrong} < ids
        assert len(traced.still_wrong) + len(traced.newly_wrong) == len(ids)
        assert [row.text for each in traced.errors for row in each.rows] == after.added.texts
        assert sum(len(each.unused) for each in traced.errors) == len(after.unused)
    first = lineage[0]
    page = write_report(done.folder).read_text(encoding="utf-8")
    cells = [0, len(first.errors), len(first.fixed), len(first.still_wrong), len(first.newly_wrong)]
    (data,) = re.findall(r'id="error-rows".*?json">(.*?)</script>', page, re.DOTALL)
    outcomes = [row[3] for row in json.loads(data)["rows"] if row[0] == 0]
    assert outcomes.count("right") == len(first.fixed)
    assert outcomes.count("still wrong") == len(first.still_wrong)
    shown = re.findall(r"<tr>(.*?)</tr>", page[page.index("Did it help?</h2>") :])[1]
    assert re.findall(r"<td[^>]*>(.*?)</td>", shown)[: len(cells)] == [str(each) for each in cells]
