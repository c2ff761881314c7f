"""ZeroGen's two stages and its cleaning rules; the rest stands with the baselines."""

from collections import Counter

import pytest

from stepsynth.errors import ConfigError, TooFewRowsError
from stepsynth.llm import Completion
from stepsynth.methods._cleaning import clean_row
from stepsynth.methods._writer import Writer
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.records import Answers, Context, Example, Rejected
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair
from tests.fakes import FakeBackend, WrongOn, follow, make_setup, rows

GOLD = rows(("red apple", "a"), ("green pear", "p"))
LONG = "one two three four five six seven eight nine ten eleven"


def run(task, method, answer, **options):
    return follow(task, method, answer, WrongOn(words=("green",)), GOLD, **options)


def name_gardens(request):
    if request.tags["kind"] == "condition":
        first = 4 * request.draw
        return "\n".join(f"{i}. garden number {i}" for i in range(first, first + 4))
    return f"text {request.draw}"


def test_two_stages_write_about_every_condition_before_any_comes_twice(task):
    method = ZeroGen(seed_size=12, condition_name="garden", num_conditions=6)
    backend, rounds, warnings = run(task, method, name_gardens)
    assert len(backend.of_kind("condition")) == 2
    prompts = [r.prompt for r in backend.of_kind("seed_conditioned")]
    about = [next(i for i in range(6) if f"number {i}." in prompt) for prompt in prompts]
    assert Counter(about[:6]) == Counter(about[6:]) == Counter(range(6))
    assert {row.provenance.kind for row in rounds[0].train} == {"seed_conditioned"}
    assert {line["kind"] for line in rounds[0].asked} == {"condition"}
    assert not warnings
    assert not backend.of_kind("seed")


def test_too_few_conditions_are_warned_of_and_none_at_all_is_an_error(task):
    method = ZeroGen(seed_size=8, condition_name="garden", num_conditions=30)
    answer = lambda r: "1. rose\n2. Rose!" if r.tags["kind"] == "condition" else f"t {r.draw}"  # noqa: E731
    backend, _, warnings = run(task, method, answer)
    assert len(backend.of_kind("condition")) == 4  # 2 lists of 20, then as many again
    assert warnings == ["conditions: 1 of 30 different ones"]
    with pytest.raises(TooFewRowsError, match="named no garden"):
        run(task, method, lambda _: "")


PAIRS = SentencePair(instruction="Decide.", labels={"a": "right", "p": "wrong"})


def test_rows_with_contexts_take_no_condition():
    contexts = [Context("It rained.")]
    with pytest.raises(ConfigError, match="written for a context"):
        run(PAIRS, ZeroGen(seed_size=4, condition_name="day"), lambda _: "x", contexts=contexts)


def test_cleaning_replaces_what_it_drops(task):
    answers = ["too short.", f"{LONG}. And then", f"{LONG}."]
    backend, rounds, _ = run(
        task,
        ZeroGen(seed_size=8, cleaning=True),
        lambda r: answers[r.draw] if r.draw < 3 else f"{LONG} {r.draw}.",
    )
    assert rounds[0].train.texts[0] == f"{LONG}."
    assert len(rounds[0].train) == 8
    reasons = [item.rejected.reason for item in rounds[0].unused]
    assert reasons == ["short", "duplicate"]
    assert len(backend.requests) == 10


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f'{LONG}" and he said "no.', LONG),
        (f"{LONG}\nAnother review.", LONG),
        (f"{LONG}. It cost 3.5 dollars. So the", f"{LONG}. It cost 3.5 dollars."),
        (f"{LONG}! Never again! I", f"{LONG}! Never again!"),
        (LONG, "no_sentence"),
        ("Nine words are one less than this rule wants.", "short"),
        ('"', "no_sentence"),
    ],
)
def test_texts_are_cut_and_dropped_as_in_the_paper(text, kept):
    found = clean_row(Example(text, "a"), is_question=False)
    assert (found.reason if isinstance(found, Rejected) else found.text) == kept


def test_a_copy_of_its_condition_is_dropped():
    found = clean_row(Example(f"{LONG}.", "a"), is_question=False, condition=LONG.upper())
    assert found == Rejected("copy_of_condition", f"{LONG}.")
    found = clean_row(Example(f"{LONG}.", "a", LONG), is_question=False)
    assert found == Rejected("copy_of_condition", f"{LONG}.")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Where did the two of them meet? In London.", "Where did the two of them meet?"),
        ("Where did they meet.", "no_question"),
        ("Where was it?", "short"),
        ("Did they really meet in london then?", "holds_answer"),
        ("Did they really meet in Londonderry then?", "Did they really meet in Londonderry then?"),
    ],
)
def test_questions_end_with_their_mark_and_do_not_hold_the_answer(text, kept):
    row = Example(text, Answers(("London",), (8,)), "They met London.")
    found = clean_row(row, is_question=True)
    assert (found.reason if isinstance(found, Rejected) else found.text) == kept


@pytest.mark.parametrize(
    ("task", "label", "is_question"),
    [
        (ExtractiveQA(), Answers(("Rain",), (0,)), True),
        (SentencePair(text_name="question", labels={"a": "in", "p": "out"}), None, True),
        (SentencePair(text_name="hypothesis", labels={"a": "in", "p": "out"}), None, False),
    ],
)
def test_a_task_whose_text_is_a_question_wants_a_question_mark(task, label, is_question):
    backend = FakeBackend(lambda _: Completion("What fell on the roof last night? I wonder"))
    setup, _ = make_setup(task, backend, WrongOn(), GOLD, contexts=[Context("Rain fell.", label)])
    writer = Writer(setup, "zerogen")
    ZeroGen(seed_size=1, cleaning=True).write_rows(writer)
    setup.llm.close()
    assert writer.rows.texts == (["What fell on the roof last night?"] if is_question else [])
