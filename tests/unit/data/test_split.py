from itertools import combinations

import pytest

from stepsynth.data.section import Split
from stepsynth.data.split import Gold, choose_contexts, make_gate, split_gold
from stepsynth.errors import DataError
from stepsynth.records import Answers, Context, Dataset, Example, LabelSet
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair


def gold(n_a=60, n_b=30, prefix="row"):
    return Dataset(
        Example(f"{prefix} {label} {i}", label)
        for label, n in (("a", n_a), ("b", n_b))
        for i in range(n)
    )


def split(data, warnings=None, **options):
    warnings = [] if warnings is None else warnings
    options = {"random_seed": 0, **options}
    return split_gold(data, label_names=("a", "b"), warn=warnings.append, **options)


def test_shares_are_of_gold_and_the_rest_stays_unused():
    parts = split(gold(), sizes=Split(mine=0.5, select=0.1, test=0.2))
    assert [len(x) for x in (parts.mine, parts.select, parts.test)] == [45, 9, 18]


def test_without_sizes_a_test_is_split_off_unless_it_is_given():
    parts = split(gold(60, 40))
    assert [len(x) for x in (parts.mine, parts.select, parts.test)] == [50, 25, 25]
    parts = split(gold(), test=gold(prefix="test"))
    assert [len(x) for x in (parts.mine, parts.select, parts.test)] == [60, 30, 90]


def test_the_random_seed_decides_the_split():
    sizes = Split(mine=45, select=15, test=30)
    assert split(gold(), sizes=sizes) == split(gold(), sizes=sizes)
    assert split(gold(), sizes=sizes).mine != split(gold(), sizes=sizes, random_seed=1).mine


def test_rows_that_equal_a_test_row_are_dropped_counted_and_warned_of():
    warnings: list[str] = []
    test = Dataset([Example("ROW A 0!", "a"), Example("row b 0", "b"), Example("new", "b")])
    parts = split(gold(), warnings, test=test)
    assert "row a 0" not in parts.mine.texts + parts.select.texts
    assert dict(parts.dropped) == {"the same text as a test row": 2}
    assert warnings == ["2 gold rows were dropped: the same text as a test row"]


def test_duplicates_of_gold_are_dropped_even_with_another_label():
    data = Dataset([*gold(), Example("row a 1.", "b")])
    parts = split(data)
    (reason,) = parts.dropped
    assert "under another label (such as 'row a 1.': 'a' is kept, 'b' is not)" in reason
    parts = split(Dataset([*gold(), Example("ROW A 1", "a")]))
    assert dict(parts.dropped) == {"a duplicate of another gold row": 1}


@pytest.mark.parametrize("n", range(12, 80))
@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.3), (0.6, 0.2, 0.2), (0.5, 0.25, 0.25)])
def test_shares_of_one_in_all_fit_every_number_of_rows(n, shares):
    mine, select, test = shares
    parts = split(gold(n // 2, n - n // 2), sizes=Split(mine=mine, select=select, test=test))
    assert len(parts.mine) + len(parts.select) + len(parts.test) == n


def test_shares_above_one_are_refused():
    with pytest.raises(DataError, match=r"shares of gold are 1\.1 in all"):
        split(gold(), sizes=Split(mine=0.5, select=0.3, test=0.3))


def test_rows_to_select_on_may_be_given_and_leave_mine():
    select = gold(5, 5)
    parts = split(gold(), select=select, test=gold(prefix="test"))
    assert parts.select == select
    assert len(parts.mine) == 80


def test_the_papers_split_selects_on_the_mined_rows():
    parts = split(gold(), test=gold(prefix="test"), paper_splits=True)
    assert parts.select == parts.mine
    assert len(parts.mine) == 90


def test_asking_for_too_many_rows_says_how_many_there_are():
    with pytest.raises(DataError, match=r"mine: 100.*gold has 90 usable rows"):
        split(gold(), test=gold(prefix="test"), sizes=Split(mine=100, select=5))


def test_gold_of_one_label_is_refused():
    with pytest.raises(DataError, match="only the label 'a'"):
        split(gold(30, 0))


def test_a_label_that_a_split_lacks_is_warned_of():
    warnings: list[str] = []
    split_gold(gold(), label_names=("a", "b", "c"), random_seed=0, warn=warnings.append)
    assert "the mine split has no row with the label 'c'" in warnings


def test_of_many_labels_that_a_split_lacks_a_few_are_named():
    warnings: list[str] = []
    names = ("a", "b", *(f"L{i}" for i in range(1_000)))
    split_gold(gold(), label_names=names, random_seed=0, warn=warnings.append)
    assert all(said.endswith("'L18', 'L19' and 980 more") for said in warnings)


def questions(n=40, contexts=40):
    # Every answer is another one: no two rows have the same label.
    return Dataset(
        Example(f"where is {i}?", Answers((f"place {i}",), (3,)), f"At place {i % contexts}.")
        for i in range(n)
    )


def test_sets_of_labels_that_occur_once_are_tested_on_too():
    """Stratified by the whole set, all of them would be mined from."""
    pairs = list(combinations("cdefg", 2))
    sets = [("a",), ("b",)] * 10 + pairs
    rows = Dataset(Example(f"text number {i}", LabelSet(names)) for i, names in enumerate(sets))
    gold = split_gold(rows, label_names=tuple("abcdefg"), random_seed=0, warn=print, near=False)
    tested = {row.label.names for row in gold.test}
    assert len(tested & set(pairs)) >= 2


def test_questions_are_split_without_strata():
    warnings: list[str] = []
    options = {"label_names": (), "random_seed": 0, "warn": warnings.append}
    parts = split_gold(questions(), sizes=Split(mine=0.5, select=0.25, test=0.25), **options)
    assert [len(x) for x in (parts.mine, parts.select, parts.test)] == [20, 10, 10]
    texts = [row.text for x in (parts.mine, parts.select, parts.test) for row in x]
    assert sorted(texts) == sorted(questions().texts)
    again = split_gold(questions(), sizes=Split(mine=20, select=10, test=10), **options)
    assert again == parts
    other = split_gold(questions(), **{**options, "random_seed": 1})
    assert other.test != split_gold(questions(), **options).test
    assert warnings == []


def test_a_split_without_a_question_is_refused():
    with pytest.raises(DataError, match="the mine split has no row"):
        split_gold(questions(contexts=1), label_names=(), random_seed=0, warn=print)


@pytest.mark.parametrize("random_seed", range(4))
def test_a_test_that_is_split_off_shares_no_context_and_hardly_a_row_is_lost(random_seed):
    warnings: list[str] = []
    parts = split_gold(
        questions(40, contexts=8),
        sizes=Split(mine=0.5, select=0.2, test=0.3),
        label_names=(),
        random_seed=random_seed,
        warn=warnings.append,
    )
    tested = {row.context for row in parts.test}
    assert tested.isdisjoint(row.context for x in (parts.mine, parts.select) for row in x)
    (reason, lost), *_ = parts.dropped.items()
    assert (reason, lost) == ("the same context as a test row", 3)
    assert len(parts.test) == 12
    assert len(parts.mine) + len(parts.select) == 40 - 12 - lost
    assert tested.isdisjoint(row.context for row in parts.mine)
    selected = {row.context for row in parts.select}
    assert selected.isdisjoint(row.context for row in parts.mine)
    assert warnings[0] == "3 gold rows were dropped: the same context as a test row"


PAIRS = SentencePair.model_validate({"labels": ["a", "b"]})


def pairs(*contexts):
    return Dataset(Example(f"text {i}", "ab"[i % 2], c) for i, c in enumerate(contexts))


def contexts_of(mine, test, given, task=PAIRS):
    warnings: list[str] = []
    gold = Gold(mine, mine, test, {})
    gate = make_gate(gold, is_open=False)
    return choose_contexts(gold, given, task, gate, warnings.append), warnings


def test_contexts_are_those_of_mine_once_each_and_without_their_labels():
    found, warnings = contexts_of(pairs("c1", "c2", "c1"), pairs("c3"), None)
    assert (found, warnings) == ((Context("c1"), Context("c2")), [])


def test_contexts_of_questions_have_their_first_answer():
    label = Answers(("Rome", "in Rome"), (3, 0))
    mine = Dataset([Example("where?", label, "in Rome"), Example("and where?", label, "in Rome")])
    found, _ = contexts_of(mine, Dataset(), None, ExtractiveQA())
    assert found == (Context("in Rome", Answers(("Rome",), (3,))),)


def test_given_contexts_that_a_test_row_has_are_dropped_with_a_warning():
    given = [Context("c1", "a"), Context("A test!"), Context("c2"), Context("a TEST", "b")]
    found, warnings = contexts_of(pairs("c3"), pairs("a test"), given)
    assert found == (Context("c1", "a"), Context("c2"))
    assert warnings == ["contexts: 2 of 4 were left out: copy of test"]


def test_given_contexts_that_a_select_row_has_or_nearly_are_dropped_too():
    passage = "the old mill by the river was sold to a family from the north last year"
    gold = Gold(pairs("c1"), pairs(passage), pairs("c2"), {})
    given = [Context("c9"), Context(passage.upper()), Context(f"They say that {passage}.")]
    warnings: list[str] = []
    gate = make_gate(gold, is_open=False)
    assert choose_contexts(gold, given, PAIRS, gate, warnings.append) == (Context("c9"),)
    assert warnings == [
        "contexts: 1 of 3 were left out: copy of select",
        "contexts: 1 of 3 were left out: near copy of select",
    ]


def test_given_contexts_that_are_all_tested_are_refused():
    with pytest.raises(
        DataError, match="every context that seed data could be written for is one of a test"
    ):
        contexts_of(pairs("c1"), pairs("c2", "c3"), [Context("c3"), Context("C2")])


@pytest.mark.parametrize("given", [None, [Context("c9")], ()])
def test_mine_and_test_that_share_contexts_are_warned_of_wherever_contexts_come_from(given):
    found, warnings = contexts_of(pairs("c1", "c2", "c3"), pairs("C2.", "c4", "c3"), given)
    warning, *others = warnings
    assert warning.startswith("2 of 3 rows of mine have a context that a test row has too")
    left_out = "2 contexts of gold were left out: a test or select row has the same"
    assert others == ([left_out] if given is None else [])
    expected = [Context("c1")] if given is None else given
    assert found == tuple(expected)


def test_no_contexts_stay_none_so_that_the_llm_writes_them():
    assert contexts_of(pairs("c1"), pairs("c2"), ()) == ((), [])


def rows_of(**counts):
    return Dataset(Example(f"row {k} {i}", k) for k, n in counts.items() for i in range(n))


def names(data):
    return " ".join(text.removeprefix("row ").replace(" ", "") for text in data.texts)


@pytest.mark.parametrize(
    ("sizes", "mine", "select", "test"),
    [
        (None, "a0 a4 a7 a8 b0 b2 b3 c0 c2", "a1 a5 b4 c3", "a2 a3 a6 b1 c1"),
        (Split(mine=6, select=4, test=5), "a0 a4 a7 b0 b3 c2", "a1 a5 b4 c3", "a2 a3 a6 b1 c1"),
    ],
)
def test_a_split_stays_what_it_was(sizes, mine, select, test):
    # Runs that were made go on from the rows that they had.
    options = {"label_names": ("a", "b", "c"), "random_seed": 3, "warn": print}
    parts = split_gold(rows_of(a=9, b=5, c=4), sizes=sizes, **options)
    assert [names(x) for x in (parts.mine, parts.select, parts.test)] == [mine, select, test]


@pytest.mark.parametrize("random_seed", range(8))
@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (None, [34, 17, 17]),
        (Split(mine=0.5, select=0.2, test=0.3), [34, 14, 20]),
        (Split(mine=10, select=10, test=20), [10, 10, 20]),
    ],
)
def test_the_first_row_of_a_label_goes_to_mine(sizes, expected, random_seed):
    warnings: list[str] = []
    labels = ("a", "b", "c", "d", "e")
    parts = split_gold(
        rows_of(a=34, b=30, c=1, d=1, e=2),
        sizes=sizes,
        label_names=labels,
        random_seed=random_seed,
        warn=warnings.append,
    )
    assert [len(x) for x in (parts.mine, parts.select, parts.test)] == expected
    assert set(parts.mine.labels) == set(labels)
    texts = [text for x in (parts.mine, parts.select, parts.test) for text in x.texts]
    assert len(set(texts)) == len(texts)
    assert "the select split has no row with the label 'c', 'd'" in warnings[0]


def test_labels_that_mine_has_no_room_for_stay_where_they_fall():
    options = {"label_names": tuple("abcdef"), "random_seed": 0, "warn": lambda _: None}
    counts = {"a": 40, "b": 40, "c": 1, "d": 1, "e": 1, "f": 1}
    parts = split_gold(rows_of(**counts), sizes=Split(mine=3, select=9, test=9), **options)
    assert sorted(set(parts.mine.labels)) == ["a", "b"]
    # Nor is another split left with one label for it.
    parts = split_gold(rows_of(a=8, b=2, c=1), sizes=Split(mine=5, select=3, test=3), **options)
    assert all(len(set(x.labels)) > 1 for x in (parts.mine, parts.select, parts.test))
