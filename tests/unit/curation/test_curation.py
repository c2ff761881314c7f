"""Rows are kept or rejected for the reason that is told; labels that do not hold are found."""

import sys
from collections import Counter
from random import Random

import numpy as np
import pytest
from pydantic import ValidationError

from stepsynth._util.text import normalise
from stepsynth.curation import (
    Curation,
    Curator,
    Gate,
    disagree,
    flag_confident,
    out_of_fold,
    row_digest,
)
from stepsynth.curation.label_check import count_confident
from stepsynth.curation.near import jaccard, rows_per_band, shingles
from stepsynth.errors import ConfigError, TooFewRowsError
from stepsynth.metrics import Predictions
from stepsynth.records import Answers, Dataset, Example, Rejected
from tests.fakes import rows

LONG = "the film is a slow and careful study of a family that has lost its only son in the war"
ONE_WORD_OTHER = LONG.replace("careful", "patient")


def curator(*, test=(), select=(), **settings):
    own = Curation(**settings)
    return Curator(own, Gate({"test": test, "select": select}, is_open=not own.copies))


def reasons(curator, texts, *, parent=None, context=None):
    found = [
        curator.reject(Example(text, "a", context), parent=parent, completion=f"said {text}")
        for text in texts
    ]
    return [rejected and rejected.reason for rejected in found]


def test_a_copy_of_a_hidden_row_is_rejected_whatever_its_label_case_and_punctuation():
    judge = curator(test=[Example("A Fine film.", "good")], select=[Example("so dull", "bad")])
    assert reasons(judge, ["a fine, FILM", "So dull!", "a fine day"]) == [
        "copy_of_test",
        "copy_of_select",
        None,
    ]
    assert judge.gate.seen == {"copy_of_test": 1, "copy_of_select": 1}


def test_copies_are_counted_where_they_are_kept():
    judge = curator(test=[Example("a fine film", "good")], copies=False)
    assert reasons(judge, ["A fine film", "a fine film!", "new"]) == [None, None, None]
    assert judge.gate.seen == {"copy_of_test": 2}


def test_the_same_text_for_another_context_is_no_copy_and_no_duplicate():
    hidden = [Example("it rained", "true", "on monday")]
    judge = curator(test=hidden, duplicates="near")
    assert reasons(judge, ["it rained"], context="On Monday.") == ["copy_of_test"]
    assert reasons(judge, ["it rained"], context="on tuesday") == [None]
    assert reasons(judge, ["it rained"], context="on sunday") == [None]
    assert reasons(judge, ["it rained!"], context="on tuesday") == ["duplicate"]
    assert reasons(judge, ["it rained"]) == [None]


def test_context_and_text_do_not_run_into_each_other():
    assert row_digest(Example("b c", "x", "a")) != row_digest(Example("c", "x", "a b"))


def test_a_rejected_row_keeps_what_the_llm_wrote():
    judge = curator(min_words=3)
    row = Example("too bad", "a")
    assert judge.reject(row, parent=None, completion='"Too bad"') == Rejected(
        "too_short", '"Too bad"'
    )


def test_the_length_band_holds_its_ends_and_counts_characters_where_words_have_no_spaces():
    judge = curator(min_words=2, max_words=4)
    assert reasons(judge, ["one", "one two", "1 2 3 4", "1 2 3 4 5", "...", "one - two"]) == [
        "too_short",
        None,
        None,
        "too_long",
        "too_short",
        None,
    ]
    assert reasons(judge, ["很好", "很好看啊", "这部电影很好看"]) == [None, None, "too_long"]


def test_repetitions_are_kept_unless_they_are_asked_to_be_rejected():
    texts = [LONG, LONG.upper(), ONE_WORD_OTHER]
    parent = Example(LONG, "a")
    assert reasons(curator(), texts, parent=parent) == [None] * 3
    assert reasons(curator(duplicates="exact"), texts) == [None, "duplicate", None]
    assert reasons(curator(duplicates="near"), texts) == [None, "duplicate", "near_duplicate"]


def test_a_row_that_repeats_its_parent_is_rejected_and_leaves_no_trace():
    parent = Example(LONG, "a")
    exact, near = curator(duplicates="exact"), curator(duplicates="near")
    assert reasons(exact, [LONG + "!", ONE_WORD_OTHER], parent=parent) == ["copy_of_parent", None]
    assert reasons(near, [LONG + "!", ONE_WORD_OTHER], parent=parent) == ["copy_of_parent"] * 2
    assert reasons(near, [ONE_WORD_OTHER]) == [None]


def test_what_is_rejected_is_not_remembered():
    judge = curator(duplicates="near", max_words=25)
    assert reasons(judge, [f"{LONG} {LONG}", LONG]) == ["too_long", None]
    chain = [LONG, ONE_WORD_OTHER, ONE_WORD_OTHER.replace("war", "snow")]
    assert reasons(curator(duplicates="near"), chain) == [None, "near_duplicate", None]


def test_the_similarity_is_the_share_of_word_3_grams():
    one, other = shingles("a b c d e f"), shingles("a b c d e x")
    assert len(one) == 4
    assert jaccard(one, other) == 3 / 5
    assert reasons(curator(duplicates="near", similarity=0.6), ["a b c d e f", "a b c d e x"]) == [
        None,
        "near_duplicate",
    ]
    at_61 = curator(duplicates="near", similarity=0.61)
    assert reasons(at_61, ["a b c d e f", "a b c d e x"]) == [None, None]


@pytest.mark.parametrize(
    ("similarity", "exchanged_at", "is_near"), [(0.7, 19, True), (0.7, 18, False), (0.8, 29, True)]
)
def test_one_word_exchanged_is_near_from_the_length_that_is_documented(
    similarity, exchanged_at, is_near
):
    text = [f"w{i}" for i in range(exchanged_at)]
    other = [*text[:9], "new", *text[10:]]
    found = reasons(
        curator(duplicates="near", similarity=similarity), [" ".join(text), " ".join(other)]
    )
    assert found[1] == ("near_duplicate" if is_near else None)


def test_texts_of_fewer_than_three_words_are_compared_by_their_words():
    judge = curator(duplicates="near")
    assert reasons(judge, ["great film", "film, great!", "great", "film", "GREAT"]) == [
        None,
        "near_duplicate",
        None,
        None,
        "duplicate",
    ]


def test_texts_without_spaces_are_near_by_their_characters():
    one = "这部电影的故事讲述了一个年轻人离开家乡去大城市寻找工作的经历"
    assert reasons(curator(duplicates="near"), [one, one.replace("工作", "工厂"), one[::-1]]) == [
        None,
        "near_duplicate",
        None,
    ]


def test_the_bands_find_nine_in_ten_pairs_at_the_threshold():
    for similarity in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        assert 1 - (1 - similarity ** rows_per_band(similarity)) ** 16 >= 0.9


def test_without_its_library_near_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(ConfigError, match=r"pip install 'stepsynth\[quality\]'"):
        curator(duplicates="near")
    assert reasons(curator(duplicates="exact"), ["x", "x"]) == [None, "duplicate"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_words": 5, "max_words": 4},
        {"min_words": 0},
        {"similarity": 0.4},
        {"similarity": 1.1},
        {"duplicates": "all"},
        {"dedupe": True},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(ValidationError):
        Curation(**wrong)


def test_every_setting_is_described():
    assert all(field.description for field in Curation.model_fields.values())


# Label checks.

NAMES = ("a", "b", "c")


def made_classes(n, flipped, seed, *, apart=4.0, names=NAMES):
    """Return points of normal classes as rows whose text is their number, and the true labels."""
    rng = np.random.default_rng(seed)
    k = len(names)
    true = rng.integers(0, k, n)
    points = apart * np.eye(k)[true] + rng.normal(size=(n, k))
    is_flipped = rng.random(n) < flipped
    given = np.where(is_flipped, (true + rng.integers(1, k, n)) % k, true)
    data = Dataset(Example(f"row {i}", names[label]) for i, label in enumerate(given))
    return data, points, true


def logistic(points, names=NAMES):
    from sklearn.linear_model import LogisticRegression

    def number(row):
        return int(row.text.split()[1])

    def fit_predict(train, held_out):
        model = LogisticRegression().fit(points[[number(r) for r in train]], train.labels)
        assert tuple(model.classes_) == names
        return Predictions(names, model.predict_proba(points[[number(r) for r in held_out]]))

    return fit_predict


def quality(verdict, data, true, names=NAMES):
    wrong = np.array(verdict.wrong)
    is_flipped = np.array([names.index(label) for label in data.labels]) != true
    hits = (wrong & is_flipped).sum()
    return hits / wrong.sum(), hits / is_flipped.sum()


@pytest.mark.parametrize("flipped", [0.2, 0.3])
@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d", "e")])
def test_flipped_labels_of_separable_classes_are_found(flipped, names):
    data, points, true = made_classes(300 * len(names), flipped, seed=0, names=names)
    said = out_of_fold(data, logistic(points, names), rng=Random(0))
    for check, least_precision, least_recall in (
        (flag_confident, 0.95, 0.9),
        (disagree, 0.93, 0.95),
    ):
        precision, recall = quality(check(data, said), data, true, names)
        assert precision >= least_precision
        assert recall >= least_recall


def test_confident_learning_is_more_careful_than_agreement_where_classes_overlap():
    data, points, true = made_classes(1500, 0.25, seed=1, apart=2.5)
    said = out_of_fold(data, logistic(points), rng=Random(0))
    careful, _ = quality(flag_confident(data, said), data, true)
    plain, _ = quality(disagree(data, said), data, true)
    assert careful >= plain + 0.05


def test_hardly_a_right_label_is_called_wrong_where_none_is():
    data, points, _ = made_classes(900, 0.0, seed=2)
    said = out_of_fold(data, logistic(points), rng=Random(0))
    assert sum(flag_confident(data, said).wrong) <= 0.02 * 900


def confident_joint_by_hand(given, p):
    """Northcutt et al. 2021, equations 1 and 2, one row at a time."""
    k = p.shape[1]
    thresholds = [
        np.mean([q[j] for g, q in zip(given, p, strict=True) if g == j]) for j in range(k)
    ]
    joint = np.zeros((k, k), dtype=int)
    for g, q in zip(given, p, strict=True):
        reached = [j for j in range(k) if q[j] >= thresholds[j]]
        if reached:
            joint[g, max(reached, key=lambda j: q[j])] += 1
    return joint


def test_the_confident_joint_is_the_paper_s():
    rng = np.random.default_rng(0)
    for _ in range(50):
        k = int(rng.integers(2, 6))
        p = rng.dirichlet(np.ones(k), 80)
        given = np.concatenate([np.arange(k), rng.integers(0, k, 80 - k)])
        assert (count_confident(given, p) == confident_joint_by_hand(given, p)).all()


def test_pruning_by_noise_rate_takes_the_rows_with_the_largest_margins():
    # t_a = (3 * 0.9 + 0.4 + 0.2 + 0.1) / 6 = 0.567, t_b = 0.8. Labelled a, three are surely a and
    # one (0.9) surely b; those of 0.6 and 0.8 - 1e-3 are of neither: 6 * 1/4 = 1.5 -> 2 rows.
    of_b = [0.1, 0.1, 0.1, 0.6, 0.799, 0.9, 0.8, 0.8, 0.8]
    p = np.array([[1 - b, b] for b in of_b])
    data = Dataset(Example(str(i), "a" if i < 6 else "b") for i in range(9))
    verdict = flag_confident(data, Predictions(("a", "b"), p))
    assert [i for i, wrong in enumerate(verdict.wrong) if wrong] == [4, 5]
    assert verdict.predicted[4] == "b"
    assert not verdict.spared


def test_a_row_is_never_called_wrong_whose_label_is_its_most_probable_one():
    # Labelled a, two are surely a and one surely b: 6 * 1/3 = 2 rows, but only one is rather b.
    of_b = [0.1, 0.1, 0.4, 0.4, 0.4, 0.9, 0.8, 0.8, 0.8]
    p = np.array([[1 - b, b] for b in of_b])
    data = Dataset(Example(str(i), "a" if i < 6 else "b") for i in range(9))
    verdict = flag_confident(data, Predictions(("a", "b"), p))
    assert [i for i, wrong in enumerate(verdict.wrong) if wrong] == [5]


def test_a_label_whose_rows_would_all_go_is_spared_and_named():
    data = rows(("1", "a"), ("2", "a"), ("3", "b"), ("4", "b"))
    said = Predictions(("a", "b"), np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.7, 0.3]]))
    verdict = disagree(data, said)
    assert verdict.wrong == (False, True, False, False)
    assert verdict.spared == ("b",)


def test_a_check_that_rejects_every_row_is_an_error():
    data = rows(("1", "a"), ("2", "a"), ("3", "b"))
    said = Predictions(("a", "b"), np.array([[0.1, 0.9], [0.2, 0.8], [0.8, 0.2]]))
    with pytest.raises(TooFewRowsError, match="every one of 3 rows"):
        disagree(data, said)


def counting(names, seen):
    def fit_predict(train, held_out):
        seen.append((train, held_out))
        return Predictions(names, np.full((len(held_out), len(names)), 1 / len(names)))

    return fit_predict


def test_each_row_is_predicted_once_by_a_student_that_has_not_seen_its_text():
    texts = [f"text {i % 40}{'!' * (i // 40)}" for i in range(100)]
    data = Dataset(Example(text, "b" if i % 4 == 0 else "a") for i, text in enumerate(texts))
    seen = []
    out_of_fold(data, counting(("a", "b"), seen), rng=Random(0))
    assert len(seen) == 5
    assert Counter(row for _, held_out in seen for row in held_out) == Counter(data)
    for train, held_out in seen:
        assert len(train) + len(held_out) == len(data)
        assert not {*map(normalise, train.texts)} & {*map(normalise, held_out.texts)}


def test_folds_have_the_label_mix_and_every_student_sees_every_label():
    pairs = [("a", 60), ("b", 25), ("c", 2)]
    data = Dataset(Example(f"{label} {i}", label) for label, n in pairs for i in range(n))
    seen = []
    out_of_fold(data, counting(NAMES, seen), rng=Random(0))
    for train, held_out in seen:
        assert set(train.labels) == set(NAMES)
        assert held_out.label_counts()["a"] == 12
        assert held_out.label_counts()["b"] == 5


def test_the_texts_of_a_rare_label_are_spread_also_where_they_have_other_labels_too():
    both = [Example(f"both {i}", label) for i in range(2) for label in "ab"]
    data = Dataset([*both, *(Example(f"only {i}", "a") for i in range(20))])
    for seed in range(20):
        seen = []
        out_of_fold(data, counting(("a", "b"), seen), rng=Random(seed))
        assert all(set(train.labels) == {"a", "b"} for train, _ in seen)


def test_predictions_come_back_in_the_order_of_the_rows():
    data, points, _ = made_classes(60, 0.0, seed=0)
    said = out_of_fold(data, logistic(points), rng=Random(5))
    nearest = [NAMES[i] for i in points.argmax(axis=1)]
    assert np.mean([a == b for a, b in zip(said.labels, nearest, strict=True)]) > 0.95


def test_the_rng_decides_the_folds():
    data, points, _ = made_classes(90, 0.2, seed=0)

    def probabilities(seed):
        return out_of_fold(data, logistic(points), rng=Random(seed)).probabilities

    assert (probabilities(0) == probabilities(0)).all()
    assert (probabilities(0) != probabilities(1)).any()


def test_what_no_student_can_check_is_a_clear_error():
    seen = []
    one_text = rows(("1", "a"), ("2", "a"), ("same", "b"), ("Same!", "b"))
    with pytest.raises(TooFewRowsError, match="the label 'b' has one text only"):
        out_of_fold(one_text, counting(("a", "b"), seen), rng=Random(0))
    with pytest.raises(TooFewRowsError, match="no row"):
        out_of_fold(Dataset(), counting(("a", "b"), seen), rng=Random(0))
    question = Dataset([Example("who?", Answers(("he",), (0,)), "he did")])
    with pytest.raises(ConfigError, match="answers"):
        out_of_fold(question, counting((), seen), rng=Random(0))
    assert not seen
