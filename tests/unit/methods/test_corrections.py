"""What cannot be read is asked for once more; who answered, and in which form, is kept."""

import json
from dataclasses import replace

import pytest

from stepsynth.curation import Curation, Curator
from stepsynth.llm import Completion
from stepsynth.methods._spending_limit import SpendingLimit
from stepsynth.methods._training import run_method
from stepsynth.methods._writer import Writer
from stepsynth.methods._written import RowRequest
from stepsynth.methods.llm import LLMItself
from stepsynth.methods.targen import TarGEN
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.records import Answers, Dataset, Example, Provenance
from stepsynth.tasks.classification import MOST_CHOICES, Classification
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair
from tests.fakes import FakeBackend, FakeSettings, WrongOn, answer_anything, make_setup, rows

PASSAGE = "Figs grew in Lima in 1983."
GOLD = Example("Where?", Answers(("Lima",), (13,)), PASSAGE)
QA = ExtractiveQA(extrapolate="new_answer", instruction="Answer it.")
GOOD = '{"question": "When?", "answer": "1983"}'
ORIGIN = Provenance("test", 0, "seed", model="fake-1")


def asking(answer, task=QA, gold=GOLD, **curation):
    backend = FakeBackend(answer)
    setup, warnings = make_setup(task, backend, WrongOn(), Dataset([gold]))
    curator = Curator(Curation(**{"correct": True, **curation}))
    return backend, replace(setup, curator=curator, spending=SpendingLimit(requests=100)), warnings


def extrapolate(answer, times=1, **curation):
    backend, setup, _ = asking(answer, **curation)
    writer = Writer(setup, "s3", 1)
    writer.write([writer.extrapolation(GOLD)] * times, phase="test")
    setup.llm.close()
    return backend, writer.written, setup


def second(first, corrected=GOOD):
    """Return what answers requests with the one, and corrections with the other."""
    return lambda request: corrected if request.turns else first


@pytest.mark.parametrize(
    ("bad", "reason", "said"),
    [
        ("no object", "no_object", "not the JSON object"),
        ('{"question": "When?"}', "no_object", "not the JSON object"),
        ('{"question": "When?", "answer": "1999"}', "answer_not_in_passage", "word for word"),
    ],
)
def test_a_correction_mends_and_is_counted(bad, reason, said):
    backend, written, setup = extrapolate(second(bad))
    asked, corrected = backend.requests
    assert corrected.prompt == asked.prompt
    assert corrected.turns[0] == bad
    assert said in corrected.turns[1]
    assert corrected.tags == {**asked.tags, "kind": "correct"}
    assert corrected.schema == asked.schema is not None
    (row,) = written.rows
    assert (row.text, str(row.label)) == ("When?", "1983")
    assert written.unused == []
    assert setup.spending.spent == 2
    (note,) = written.notes["corrected"]
    assert (note["reason"], note["completion"], note["is_mended"]) == (reason, bad, True)
    # The row says which request wrote it, and as whose draw it is to be recorded.
    assert row.provenance.request == note["answered"] != note["request"]
    assert corrected.stream == f"correct/{note['request']}"
    assert written.exchanges[note["answered"]] == (asked.prompt, GOOD)


def test_a_corrected_row_keeps_the_draw_of_what_was_asked():
    def answer(request):
        return GOOD if request.turns or request.draw != 2 else "no object"

    _, written, _ = extrapolate(answer, times=4)
    assert [row.provenance.draw for row in written.rows] == [0, 1, 2, 3]


def test_there_is_one_correction_at_most_and_the_first_reason_stays():
    backend, written, setup = extrapolate(
        second("no object", '{"question": "When?", "answer": "1999"}')
    )
    assert (len(backend.requests), setup.spending.spent) == (2, 2)
    (unused,) = written.unused
    assert (unused.rejected.reason, unused.rejected.completion) == ("no_object", "no object")
    assert written.notes["corrected"][0]["is_mended"] is False


@pytest.mark.parametrize(
    "bad",
    [
        "I'm sorry, but I cannot help with that request.",
        Completion('{"question": "Wh', truncated=True),
        "",
        GOOD,
    ],
)
def test_what_no_correction_can_mend_gets_none(bad):
    backend, _, _ = extrapolate(second(bad))
    assert len(backend.requests) == 1


def test_copies_and_duplicates_get_none():
    copy = '{"question": "Where?", "answer": "Lima"}'
    backend, written, _ = extrapolate(second(copy), times=2, duplicates="exact")
    assert {item.rejected.reason for item in written.unused} == {"copy_of_parent"}
    assert len(backend.requests) == 2


def test_there_is_none_unless_it_is_asked_for_or_for_recordings(monkeypatch):
    backend, _, _ = extrapolate(second("no object"), correct=False)
    assert len(backend.requests) == 1
    monkeypatch.setattr(FakeSettings, "stores_completions", False)
    backend, _, _ = extrapolate(second("no object"))
    assert len(backend.requests) == 1


def test_an_empty_purse_leaves_the_first_answer():
    backend, setup, _ = asking(second("no object"))
    writer = Writer(setup, "s3", 1)
    setup.spending.requests = 4
    writer.write([writer.extrapolation(GOLD)] * 3, phase="test")
    setup.llm.close()
    written = writer.written
    assert (len(backend.requests), setup.spending.spent) == (4, 4)
    assert (len(written.rows), len(written.unused)) == (1, 2)


def test_lists_are_corrected_and_recorded_as_answers_of_what_was_asked():
    backend, setup, _ = asking(second("...", "1. one\n2. two"))
    writer = Writer(setup, "x")
    request = replace(writer.extrapolation(GOLD).request(), schema=None)
    listed = writer.ask_lists([request])
    setup.llm.close()
    assert listed == [("one", "two")]
    assert writer.written.asked == [{**request.tags, "draw": 0, "completion": "1. one\n2. two"}]
    assert "was asked for is not in it" in backend.requests[1].turns[1]


def test_several_texts_without_tags_are_corrected(task):
    def answer(request):
        return "<text>red</text><text>round</text>" if request.turns else "red and round"

    backend, setup, _ = asking(answer, task=task, gold=Example("x", "a"))
    setup = replace(setup, texts_per_prompt=2)
    writer = Writer(setup, "x")
    writer.write([RowRequest("Write one.", Example("", "a"), ORIGIN)] * 2, phase="test")
    setup.llm.close()
    assert [row.text for row in writer.rows] == ["red", "round"]
    assert len(backend.requests) == 2
    assert "between <text> and </text>" in backend.requests[1].turns[1]


def test_the_correction_may_be_worded_by_the_user():
    task = QA.model_validate({**QA.model_dump(), "prompts": {"correct": "Nein: {{ reason }}!"}})
    backend, setup, _ = asking(second("no object"), task=task)
    writer = Writer(setup, "s3", 1)
    writer.write([writer.extrapolation(GOLD)], phase="test")
    setup.llm.close()
    assert backend.requests[1].turns[1] == "Nein: no_object!"


def test_rows_name_the_llm_that_answered(task):
    def answer(request):
        return Completion(f"red {request.draw}", model="teacher" if request.draw % 2 else "")

    _, setup, _ = asking(answer, task=task, gold=Example("x", "a"))
    writer = Writer(setup, "x")
    writer.write([RowRequest("p", Example("", "a"), ORIGIN)] * 4, phase="test")
    setup.llm.close()
    assert [r.provenance.model for r in writer.rows] == ["fake-1", "teacher"] * 2


def test_a_list_that_cannot_be_used_names_the_llm_that_answered(task):
    _, setup, _ = asking(
        lambda _: Completion("...", model="teacher"), task=task, gold=Example("x", "a")
    )
    writer = Writer(setup, "x")
    writer.ask_lists([RowRequest("p", Example("", "a"), ORIGIN).request()])
    setup.llm.close()
    assert [item.provenance.model for item in writer.written.unused] == ["teacher"]


def test_an_answer_that_is_to_be_json_has_a_schema(task):
    strict = {"type": "object", "additionalProperties": False}
    word = {"type": "string"}
    assert task.answer_schema("decide") == {
        **strict,
        "properties": {"label": {**word, "enum": ["apple", "pear"]}},
        "required": ["label"],
    }
    assert task.answer_schema("from_instance_seed")["required"] == ["text"]
    assert QA.answer_schema("extrapolate") == {
        **strict,
        "properties": {"question": word, "answer": word},
        "required": ["question", "answer"],
    }
    assert QA.answer_schema("decide")["required"] == ["answer"]


def test_what_is_to_be_text_or_worded_by_the_user_has_none(task):
    names = ("seed", "extrapolate", "judge", "few_shot", "rationale", "several")
    assert [task.answer_schema(name) for name in names] == [None] * len(names)
    assert ExtractiveQA().answer_schema("extrapolate") is None
    own = {"labels": ["a", "b"], "prompts": {"decide": "Which? {{ text }}"}}
    assert SentencePair.model_validate(own).answer_schema("decide") is None
    many = Classification(labels={str(i): str(i) for i in range(MOST_CHOICES + 1)})
    assert many.answer_schema("decide")["properties"] == {"label": {"type": "string"}}


@pytest.mark.parametrize(("method", "kind"), [(LLMItself(), "decide"), (TarGEN(), None)])
def test_requests_for_json_carry_their_schema(task, method, kind):
    gold = rows(*((f"gold {label} {i}", label) for label in "ap" for i in range(4)))
    backend = FakeBackend(answer_anything)
    setup, _ = make_setup(task, backend, WrongOn(), gold)
    if isinstance(method, TarGEN):
        method, kind = TarGEN(seed_size=12), "from_instance_seed"
    list(run_method(method, setup))
    setup.llm.close()
    asked = backend.of_kind(kind)
    assert asked
    assert all(request.schema == task.answer_schema(kind) for request in asked)
    others = [r for r in backend.requests if r.tags["kind"] != kind]
    assert all(request.schema is None for request in others)


def test_a_judge_looks_at_each_row_of_a_request(task):
    def answer(request):
        if request.tags["kind"] == "judge":
            return json.dumps({"label": "a"})
        return "<text>red</text><text>long</text><text>soft</text>"

    backend, setup, _ = asking(answer, task=task, gold=Example("x", "a"), check="llm")
    setup = replace(setup, texts_per_prompt=3)
    writer = Writer(setup, "x")
    writer.write([RowRequest("Write one.", Example("", "a"), ORIGIN)] * 3, phase="test")
    setup.llm.close()
    written = writer.written
    judged = backend.of_kind("judge")
    assert [request.tags["source"] for request in judged] == ["red", "long", "soft"]
    assert len(written.rows) == 3
    assert len(written.exchanges) == 4


def test_a_judged_row_costs_its_share_of_a_request_and_one(task):
    def answer(request):
        if request.tags["kind"] == "judge":
            return json.dumps({"label": request.tags["label"]})
        number = int(request.prompt.rsplit("Write ", 1)[1].split()[0])
        return "".join(f"<text>red {request.draw} {i}</text>" for i in range(number))

    backend, setup, _ = asking(answer, task=task, gold=Example("x", "a"), check="llm")
    setup = replace(setup, texts_per_prompt=4, spending=SpendingLimit(requests=20))
    writer = Writer(setup, "zerogen")
    ZeroGen(seed_size=100).write_rows(writer)
    setup.llm.close()
    assert (len(writer.rows), len(backend.of_kind("judge")), setup.spending.spent) == (16, 16, 20)
