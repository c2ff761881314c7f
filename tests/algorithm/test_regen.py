"""ReGen: queries of each round, both consistency filters, what takes the place of what."""

from collections import Counter

import numpy as np
import pytest

from stepsynth.curation import Curation, Curator, Gate
from stepsynth.errors import ConfigError, TooFewRowsError
from stepsynth.methods.regen import Found, Query, ReGen
from stepsynth.retrieval import Hit, Passage
from stepsynth.students.linear import Linear
from tests.fakes import WordIndex, WrongOn, follow, rows

GOLD = rows(("red apple", "a"), ("yellow pear", "p"))
FRUIT = {"a": "apple", "p": "pear"}


def corpus(*more):
    """Ten passages on each fruit; odd ones do not name it, and share words with even ones."""
    made = []
    for name, fruit, words in (("a", "apple", "red crisp"), ("p", "pear", "yellow soft")):
        for i in range(10):
            named = "" if i % 2 else f"{fruit} note"
            made.append(Passage(f"{name}{i}", f"{named} {words} thing {name}{i}"))
    return [*made, *more]


class Watched(WordIndex):
    """Keeps what it was asked."""

    def __init__(self, passages):
        super().__init__(passages)
        self.asked = []

    def search(self, queries, k):
        self.asked.append((list(queries), k))
        return super().search(queries, k)


def run(task, method, passages=None, student=None, index=None, **changes):
    index = index or Watched(passages or corpus())
    options = {"select": GOLD, "index": index, **changes}
    backend, rounds, warnings = follow(task, method, lambda _: "", student, **options)
    assert not backend.requests
    return index, rounds, warnings


def outcomes(done):
    return {(n["passage"], n["label"]): n["outcome"] for n in done.notes["passages"]}


def test_round_0_searches_with_label_words_and_later_ones_with_passages_kept_before(task):
    index, rounds, _ = run(task, ReGen(rounds=2, per_query=10))
    assert index.asked[0] == (["apple", "pear"], 10)
    text = {passage.id: passage.text for passage in index.passages}
    for before, (queries, _) in zip(rounds, index.asked[1:], strict=False):
        kept = [n for n in before.notes["passages"] if n["outcome"] == "kept"]
        expected = [
            f"{FRUIT[n['label']]} [SEP] {' '.join(text[n['passage']].split())}" for n in kept
        ]
        assert queries == expected
    # Round 0 finds those that name the fruit; their words find the others.
    assert {row.text.split()[-1][1:] for row in rounds[0].train} == set("02468")
    assert {row.text.split()[-1] for row in rounds[-1].train} == {
        f"{name}{i}" for name in "ap" for i in range(10)
    }


def test_rows_of_a_round_take_the_place_of_those_before(task):
    _, rounds, _ = run(task, ReGen(rounds=1, per_query=10))
    assert len(rounds) == 2
    for r, done in enumerate(rounds):
        assert done.train == done.added
        assert {row.provenance.round for row in done.train} == {r}
        assert {row.provenance.kind for row in done.train} == {"retrieve"}
        assert all(row.label == row.text.split()[-1][0] for row in done.train)


def test_a_passage_keeps_the_label_of_its_nearest_query_in_round_0(task):
    both = Passage("both", "apple pear apple note")
    _, rounds, _ = run(task, ReGen(rounds=0, per_query=10), corpus(both))
    assert outcomes(rounds[0])["both", "a"] == "kept"
    assert outcomes(rounds[0])["both", "p"] == "inconsistent"


def consistent(neighbours):
    """Return which of three passages of the label a are consistent with six queries."""
    cosines = {
        "last": (0.9, 0.8, 0.7, 0.6, 0.5, 0.4),  # the query of p is the sixth
        "third": (0.9, 0.8, 0.6, 0.5, 0.4, 0.7),
        "level": (0.9, 0.8, 0.7, 0.6, 0.5, 0.5),  # with the fifth
    }

    class Table(WordIndex):
        def cosines(self, queries, passages):
            return np.array([cosines[passage] for passage in passages]).T

    queries = [Query(f"query {i}", label) for i, label in enumerate("aaaaap")]
    hits = {name: Found(Hit(Passage(name, name), 1, 1.0, 1.0), queries[0]) for name in cosines}
    method = ReGen(neighbours=neighbours)
    method.keep_consistent(list(hits.values()), queries, Table([]))
    return {name for name, found in hits.items() if found.outcome == "kept"}


def test_all_five_nearest_queries_must_carry_the_label():
    assert consistent(5) == {"last"}
    assert consistent(4) == {"last", "level"}
    assert consistent(2) == {"last", "level", "third"}
    assert consistent(100) == consistent(5)  # the label a has five queries, p has one
    assert consistent(0) == {"last", "level", "third"}


def test_the_classifier_of_the_round_before_must_agree(task):
    # The student is wrong on "p0"; it judges from round 1 on.
    student = WrongOn(words=("p0",))
    _, rounds, _ = run(task, ReGen(rounds=1, per_query=10), student=student)
    assert outcomes(rounds[0])["p0", "p"] == "disagreed"
    assert outcomes(rounds[1])["p0", "p"] == "disagreed"
    assert "p0" not in {row.text.split()[-1] for done in rounds for row in done.train}
    _, rounds, _ = run(task, ReGen(rounds=1, per_query=10, agreement=False), student=student)
    assert outcomes(rounds[0])["p0", "p"] == "kept"


def test_a_real_student_judges_rows_that_it_was_not_trained_on(task):
    # It names a pear, and is else what is said of apples: trained on it, a student would agree.
    odd = Passage("odd", "pear fruit note red crisp thing crisp red a2 a4")
    _, rounds, _ = run(task, ReGen(rounds=0, per_query=11), corpus(odd), student=Linear())
    assert outcomes(rounds[0])["odd", "p"] == "disagreed"


def test_copies_of_test_rows_are_not_taken_from_the_corpus(task):
    curator = Curator(Curation(), Gate({"test": rows(("apple note red crisp thing a0", "a"))}))
    _, rounds, _ = run(task, ReGen(rounds=1, per_query=10), curator=curator)
    assert [outcomes(done)["a0", "a"] for done in rounds] == ["copy_of_test"] * 2
    assert "a2" in {row.text.split()[-1] for row in rounds[1].train}
    assert {u.rejected.reason for u in rounds[0].unused} >= {"copy_of_test"}


def test_size_keeps_the_nearest_passages_of_each_label(task):
    _, rounds, _ = run(task, ReGen(rounds=1, per_query=10).sized(6))
    for done in rounds:
        assert Counter(done.train.labels) == {"a": 3, "p": 3}
        kept = [n["cosine"] for n in done.notes["passages"] if n["outcome"] == "kept"]
        beyond = [n["cosine"] for n in done.notes["passages"] if n["outcome"] == "beyond size"]
        assert min(kept) >= max(beyond)


def test_a_label_that_is_never_retrieved_is_an_error_that_says_why(task):
    apples = [passage for passage in corpus() if passage.id.startswith("a")]
    with pytest.raises(TooFewRowsError, match=r"label 'p' \(10 inconsistent\)"):
        run(task, ReGen(), apples)


def test_a_label_that_is_lost_later_ends_the_rounds_with_a_warning(task):
    class Blurred(Watched):
        def cosines(self, queries, passages):
            found = super().cosines(queries, passages)
            return found if len(queries) == 2 else np.ones_like(found)

    index = Blurred(corpus())
    _, rounds, warnings = run(task, ReGen(rounds=3, per_query=10), index=index)
    assert len(rounds) == 1
    assert any("round 1: no passage is left for the label 'a' (1" in w for w in warnings)
    assert any("round 0 is the last" in w for w in warnings)


def test_a_label_that_the_classifier_never_gives_is_spared(task):
    student = WrongOn(words=("yellow",))
    _, rounds, warnings = run(task, ReGen(rounds=0, per_query=10), student=student)
    assert Counter(rounds[0].train.labels) == {"a": 5, "p": 5}
    assert any("agrees with no passage of the label 'p'" in warning for warning in warnings)


def test_queries_of_the_user_and_their_check(task):
    index, *_ = run(task, ReGen(rounds=0, queries={"p": "a pear", "a": "an apple"}))
    assert index.asked[0][0] == ["an apple", "a pear"]
    with pytest.raises(ConfigError, match="give a query for every label"):
        run(task, ReGen(queries={"a": "apple"}))
