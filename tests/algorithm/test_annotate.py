"""The LLM labels the user's own texts: shots, votes, which texts, and what its labels are worth."""

import json
from collections import Counter

import numpy as np
import pytest

from stepsynth.curation import Curation, Curator, Gate
from stepsynth.errors import TooFewRowsError
from stepsynth.llm import Completion, Request
from stepsynth.methods import SpendingLimit
from stepsynth.methods._decide import Decisions
from stepsynth.methods.annotate import Annotate, Vote, commonest, is_ahead
from stepsynth.methods.llm import LLMItself
from stepsynth.records import Dataset, Example
from stepsynth.students.linear import Linear
from tests.fakes import FakeBackend, WrongOn, follow, make_setup, rows

GOLD = rows(
    ("a crisp red fruit", "a"), ("a round red fruit", "a"), ("a round sweet fruit", "a"),
    ("a soft green fruit", "p"), ("a long green fruit", "p"), ("a long yellow fruit", "p"),
)  # fmt: skip
TEXTS = rows(*((f"{how} {colour} thing", "") for how in ("a", "one", "some")
               for colour in ("red", "green")))  # fmt: skip


def by_colour(request: Request) -> str:
    """Label the last text of a prompt: green is a pear."""
    text = request.prompt.rsplit("Here is a fruit note:", 1)[1]
    return json.dumps({"label": "pear" if "green" in text or "yellow" in text else "apple"})


def run(task, method, answer=by_colour, *, texts=TEXTS, mine=GOLD, student=None, **more):
    return follow(task, method, answer, student, mine, unlabelled=texts, **more)


def test_texts_get_the_labels_that_the_llm_gives_and_are_trained_on(task):
    backend, rounds, _ = run(task, Annotate(size=6, shots=0, check=0))
    assert [row.text for row in rounds[0].train] == [row.text for row in TEXTS]
    assert rounds[0].train.labels == ["a", "p"] * 3
    assert {r.tags["kind"] for r in backend.requests} == {"decide"}
    origin = rounds[0].train[0].provenance
    assert (origin.method, origin.kind, origin.model) == ("annotate", "annotate", "fake-1")
    assert origin.request in rounds[0].exchanges


def test_shots_are_the_nearest_gold_rows_the_nearest_last_with_the_answer_wanted(task):
    backend, _, _ = run(task, Annotate(size=6, shots=2, check=0), texts=rows(("crisp red", "")))
    before, question = backend.requests[0].prompt.rsplit("Here is a fruit note:", 1)
    assert "crisp red" in question
    assert [text for text in GOLD.texts if text in before] == [
        "a crisp red fruit",
        "a round red fruit",
    ]
    assert before.index("a round red fruit") < before.index("a crisp red fruit")
    assert before.count('{"label": "apple"}') == 2


def test_the_check_leaves_most_of_a_budget_for_the_texts(task):
    limit = SpendingLimit(requests=5)
    backend, rounds, _ = run(task, Annotate(size=6, shots=0, check=50), spending=limit)
    assert len(backend.requests) == 5
    assert len({*rounds[0].train.texts} & {*TEXTS.texts}) == 4
    assert "of 1 gold rows" in str(rounds[0].verdict)


def test_a_gold_row_is_no_shot_of_its_own(task):
    setup, _ = make_setup(task, FakeBackend(by_colour), WrongOn(), GOLD)
    for shots_from in ("nearest", "random"):
        decisions = Decisions(setup, 5, shots_from)
        for row, shots in zip(GOLD, decisions.shots(GOLD), strict=True):
            assert sorted(shot.text for shot in shots) == sorted({*GOLD.texts} - {row.text})


def test_random_shots_depend_on_the_text_alone(task):
    setup, _ = make_setup(task, FakeBackend(by_colour), WrongOn(), GOLD)
    decisions = Decisions(setup, 3, "random")
    alone = [decisions.shots([text])[0] for text in TEXTS]
    assert decisions.shots(TEXTS) == alone
    assert len({tuple(shot.text for shot in shots) for shots in alone}) > 1


def test_the_run_says_how_many_gold_labels_the_llm_finds(task):
    mine = Dataset([*GOLD[:5], Example("a green apple fruit", "a")])
    _, rounds, _ = run(task, Annotate(size=6, shots=2, check=6), mine=mine)
    assert rounds[0].verdict == (
        "the LLM's labels are those of 5 of 6 gold rows (83%, 95 % interval 44% to 97%)"
    )
    assert len(rounds[0].train) == 6


@pytest.mark.parametrize("known", [("round", "oval", "long", "bent"), ("round", "oval")])
def test_labels_worse_than_those_of_a_model_of_gold_alone_are_warned_of(task, known):
    label_of = {"round": "apple", "oval": "apple", "long": "pear", "bent": "pear"}
    hows = ("one", "some", "a", "that")
    mine = rows(*((f"{how} {shape} thing", label[0]) for how in hows
                  for shape, label in label_of.items()))  # fmt: skip
    texts = rows(("another round thing", ""), ("another long thing", ""))

    def answer(request):
        text = request.prompt.rsplit("Here is a fruit note:", 1)[1]
        shape = next(shape for shape in label_of if shape in text)
        return json.dumps({"label": label_of[shape] if shape in known else "apple"})

    method = Annotate(size=2, shots=0, check=16)
    _, rounds, warnings = run(task, method, answer, mine=mine, texts=texts, student=Linear())
    told = "50%, 95 % interval 28% to 72%); a model of other gold rows alone is right on 16 of"
    is_told = len(known) == 2
    assert (told in str(rounds[0].verdict)) == is_told
    assert any("its labels may do harm" in each for each in warnings) == is_told


@pytest.mark.parametrize(
    ("won", "lost", "found"),
    [(0, 0, False), (1, 0, False), (4, 0, False), (5, 0, True), (8, 3, False)],
)
def test_few_rows_do_not_show_who_is_ahead(won, lost, found):
    first, second = np.repeat([1.0, 0.0], [won, lost]), np.repeat([0.0, 1.0], [won, lost])
    assert is_ahead(np.append(first, 1.0), np.append(second, 1.0)) == found


def vote(label):
    return Vote(label, Completion(""))


@pytest.mark.parametrize(
    ("votes", "found"), [("aap", "a"), ("ap", None), ("", None), ("p", "p"), ("aappx", None)]
)
def test_the_commonest_label_wins_and_level_votes_give_none(votes, found):
    assert commonest([vote(label) for label in votes]) == found


def test_a_text_whose_votes_are_level_becomes_no_row_and_is_on_record(task):
    def answer(request):
        is_odd = "some green" in request.prompt and request.draw % 2
        return json.dumps({"label": "apple"}) if is_odd else by_colour(request)

    backend, rounds, _ = run(task, Annotate(size=6, shots=0, check=0, votes=2), answer)
    assert len(backend.requests) == 12
    assert "some green thing" not in rounds[0].train.texts
    assert [one.rejected.reason for one in rounds[0].unused] == ["votes_level"]


def test_unreadable_answers_are_on_record_and_none_at_all_is_an_error(task):
    said = lambda r: "no idea" if "green" in r.prompt else by_colour(r)  # noqa: E731
    _, rounds, _ = run(task, Annotate(size=6, shots=0, check=0), said)
    assert rounds[0].train.labels == ["a"] * 3
    assert len(rounds[0].unused) == 3
    with pytest.raises(TooFewRowsError, match="labelled none of the texts"):
        run(task, Annotate(size=6, shots=0, check=0), lambda _: "no idea")


def test_random_texts_are_drawn_by_the_seed_and_keep_their_order(task):
    _, first, _ = run(task, Annotate(size=3, shots=0, check=0))
    _, again, _ = run(task, Annotate(size=3, shots=0, check=0))
    texts = first[0].train.texts
    assert texts == again[0].train.texts
    assert texts == [text for text in TEXTS.texts if text in texts]
    _, other, _ = run(task, Annotate(size=3, shots=0, check=0), random_seed=1)
    assert other[0].train.texts != texts


def test_uncertain_texts_are_preferred(task):
    sure = [(f"{words} no {i}", "") for i in range(60) for words in ("crisp red", "soft green")]
    unsure = [(f"plain fig no {i}", "") for i in range(60)]
    texts = rows(*sure, *unsure)
    mine = rows(*((f"crisp red {i}", "a") for i in range(9)),
                *((f"soft green {i}", "p") for i in range(9)))  # fmt: skip
    method = Annotate(size=60, shots=0, check=0, choose="uncertain")
    _, rounds, _ = run(task, method, texts=texts, mine=mine, student=Linear(C=100))
    share = np.mean(["fig" in text for text in rounds[0].train.texts])
    assert share > 0.45  # a third of the texts


@pytest.mark.parametrize("size", [1_000_000, 100])
def test_a_budget_reaches_random_texts_not_the_beginning_of_a_sorted_file(task, size):
    texts = rows(*((f"{i} {'red' if i < 50 else 'green'} thing", "") for i in range(100)))
    method = Annotate(size=size, shots=0, check=0)
    _, rounds, warnings = run(task, method, texts=texts, spending=SpendingLimit(requests=30))
    assert len(rounds[0].train) == 30
    assert min(Counter(rounds[0].train.labels).values()) > 5
    assert not any("unlabelled texts, not" in each for each in warnings)


def test_a_budget_reaches_the_uncertain_texts_first(task):
    texts = rows(*(("a crisp red fruit" + " fruit" * i, "") for i in range(40)),
                 *((f"some thing {i}", "") for i in range(40)))  # fmt: skip
    method = Annotate(size=1_000_000, shots=0, check=0, choose="uncertain")
    more = {"student": Linear(C=100), "spending": SpendingLimit(requests=20)}
    _, rounds, _ = run(task, method, texts=texts, **more)
    assert sum(text.startswith("some") for text in rounds[0].train.texts) > 10


def test_fewer_texts_than_wanted_are_all_labelled_with_a_warning(task):
    _, rounds, warnings = run(task, Annotate(size=50, shots=0, check=0))
    assert len(rounds[0].train) == 6
    assert "annotate: there are 6 unlabelled texts, not 50" in warnings


def test_texts_that_curation_rejects_are_not_paid_for(task):
    curator = Curator(Curation(min_words=3), Gate({"test": TEXTS[:1]}))
    texts = Dataset([*TEXTS, Example("so red", "")])
    backend, rounds, warnings = run(
        task, Annotate(size=7, shots=0, check=0), texts=texts, curator=curator
    )
    assert rounds[0].train.texts == TEXTS.texts[1:]
    assert len(backend.requests) == 5
    assert "annotate: 1 texts were left out: copy of test" in warnings
    assert "annotate: 1 texts were left out: too short" in warnings


def test_the_llm_as_classifier_takes_shots_too(task):
    backend, rounds, _ = run(task, LLMItself(shots=2))
    assert rounds[0].select_score == 1.0
    question = backend.requests[0].prompt.rsplit("Here is a fruit note:", 1)[1]
    assert GOLD[0].text in question
    assert backend.requests[0].prompt.count('{"label": "apple"}') == 2
    plain, _, _ = run(task, LLMItself())
    assert all(r.prompt.count("fruit note:") == 1 for r in plain.requests)
    assert LLMItself(shots=2).uses_gold
    assert not LLMItself().uses_gold
