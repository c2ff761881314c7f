"""Curation takes any text, and its near duplicates are those of brute force."""

from itertools import combinations
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepsynth._util.text import clean, normalise
from stepsynth.curation import Curation, Curator, Gate
from stepsynth.curation.near import NearDuplicates, jaccard, shingles, words
from stepsynth.records import Example

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text("ab .,!\n的 สวั", max_size=40)
ROWS = st.builds(Example, ANY_TEXT, st.sampled_from("ab"), st.none() | ANY_TEXT)
SETTINGS = st.builds(
    Curation,
    copies=st.booleans(),
    min_words=st.none() | st.integers(1, 3),
    max_words=st.none() | st.integers(3, 9),
    duplicates=st.sampled_from(["keep", "exact", "near"]),
    similarity=st.floats(0.5, 1.0),
)


def reason(curator, row, parent=None):
    rejected = curator.reject(row, parent=parent, completion="")
    return rejected and rejected.reason


@given(SETTINGS, st.lists(ROWS, max_size=8), ROWS)
def test_any_text_is_kept_or_has_a_reason_and_the_same_one_again(chosen, texts, parent):
    def run():
        curator = Curator(chosen, Gate({"test": texts[:2]}, is_open=not chosen.copies))
        found = [reason(curator, row, given) for row in texts for given in (None, parent)]
        return found, curator.gate.seen

    assert run() == run()


@given(st.lists(ROWS), ROWS)
def test_with_everything_off_nothing_is_rejected(texts, parent):
    curator = Curator(Curation.off(), Gate({"test": texts}, is_open=True))
    assert all(reason(curator, row, parent) is None for row in [*texts, *texts, parent])
    assert curator.gate.seen["copy_of_test"] >= 2 * len(texts)


@given(ANY_TEXT, st.floats(0.5, 1.0), st.lists(ANY_TEXT, max_size=5))
def test_an_exact_duplicate_is_always_a_near_duplicate(text, similarity, others):
    index = NearDuplicates(similarity)
    index.admit(shingles(normalise(clean(text))))
    for other in others:
        index.admit(shingles(normalise(clean(other))))
    assert not index.admit(shingles(normalise(clean(text))))


@given(ROWS, st.sampled_from(["exact", "near"]))
@example(Example("\ud83d", "a", "\ude00"), "near")  # half an emoji, half another
def test_a_row_is_rejected_the_second_time(row, duplicates):
    curator = Curator(Curation(duplicates=duplicates))
    assert reason(curator, row) is None
    assert reason(curator, row) == "duplicate"
    fresh = Curator(Curation(duplicates=duplicates))
    assert reason(fresh, row, parent=row) == "copy_of_parent"


@given(ANY_TEXT)
def test_the_words_of_a_text_are_all_of_it(text):
    text = normalise(clean(text))
    assert "".join(words(text)) == "".join(text.split())


def edited(text, rng, vocabulary):
    made = text.split()
    for _ in range(rng.randint(0, len(made) // 5)):
        made[rng.randrange(len(made))] = rng.choice(vocabulary)
    return " ".join(made)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.6, 0.7, 0.8]))
def test_near_duplicates_are_those_of_brute_force(seed, similarity):
    rng = Random(seed)
    vocabulary = [f"w{i}" for i in range(300)]
    texts: list[str] = []
    for _ in range(250):
        new = " ".join(rng.choices(vocabulary, k=rng.randint(3, 40)))
        texts.append(edited(rng.choice(texts), rng, vocabulary) if rng.random() < 0.6 and texts
                     else new)  # fmt: skip
    index = NearDuplicates(similarity)
    kept, clear, missed = [], 0, 0
    for text in texts:
        found = shingles(text)
        closest = max((jaccard(found, other) for other in kept), default=0.0)
        is_kept = index.admit(found)
        # Precision 1: what is rejected is as close to a kept text as the setting says.
        assert is_kept or closest >= similarity
        clear += closest >= similarity + 0.1
        missed += is_kept and closest >= similarity + 0.1
        if is_kept:
            kept.append(found)
    assert clear >= 20
    assert missed <= 0.05 * clear
    assert len(index) == len(kept)


@given(st.lists(st.text("ab ", min_size=1, max_size=12), min_size=2, max_size=6))
def test_the_similarity_is_symmetric_and_one_for_equal_sets_alone(texts):
    for one, other in combinations(map(shingles, texts), 2):
        assert jaccard(one, other) == jaccard(other, one)
        assert (jaccard(one, other) == 1.0) == (one == other)
