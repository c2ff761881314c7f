"""Digests, texts and splits behave for every input."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from stepsynth._util.files import to_line
from stepsynth._util.hashing import derive_seed, digest
from stepsynth._util.text import normalise
from stepsynth.data.section import Split
from stepsynth.data.split import split_gold
from stepsynth.records import Dataset, Example, union

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
EXAMPLES = st.builds(Example, st.text(), st.sampled_from(["a", "b"]))


@given(st.dictionaries(st.text(), JSON))
def test_a_digest_does_not_depend_on_the_order_of_keys(value):
    assert digest(value) == digest(dict(reversed(list(value.items()))))


@given(JSON, JSON)
def test_different_values_have_different_digests(one, other):
    import json

    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same


@given(st.integers(), st.text(), st.integers(min_value=0))
def test_a_seed_fits_every_provider(random_seed, stream, draw):
    assert 0 <= derive_seed(random_seed, stream, draw) < 2**31


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.text())
def test_a_row_is_one_line(text):
    assert len(to_line({"text": text}).splitlines()) == 1


@given(st.lists(EXAMPLES), st.lists(EXAMPLES))
def test_a_union_keeps_everything_in_order(first, second):
    both = union(first, second)
    assert list(both) == first + second
    assert len(union(both, []).without_duplicates()) == len({row.id for row in both})


@settings(max_examples=60)
@given(
    st.integers(12, 60),
    st.integers(12, 60),
    st.floats(0.1, 0.5),
    st.floats(0.1, 0.4),
    st.integers(0),
)
def test_splits_are_disjoint_stratified_and_of_the_size_asked_for(n_a, n_b, mine, select, seed):
    gold = Dataset(
        Example(f"{label} {i}", label) for label, n in (("a", n_a), ("b", n_b)) for i in range(n)
    )
    parts = split_gold(
        gold,
        sizes=Split(mine=mine, select=select, test=0.1),
        label_names=("a", "b"),
        random_seed=seed,
        warn=lambda _: None,
    )
    texts = Counter(t for part in (parts.mine, parts.select, parts.test) for t in part.texts)
    assert max(texts.values()) == 1
    assert abs(len(parts.mine) - mine * len(gold)) <= 1
    share = n_a / (n_a + n_b)
    assert abs(parts.mine.label_counts()["a"] - share * len(parts.mine)) <= 2
