"""S3 with gold: weights by cross-validation, errors of models that have not seen the row."""

import random
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from stepsynth.errors import ConfigError
from stepsynth.methods import Writer
from stepsynth.methods._cross_fitting import (
    SYNTHETIC_WEIGHTS,
    CrossFit,
    cross_fit,
    largest_within_one_se,
    predict_by_gold,
)
from stepsynth.methods._hints import SHARED_BY, sources_of, words_of_clusters
from stepsynth.methods._label_balance import balance_labels
from stepsynth.methods.s3_plus import S3Plus, judge, mix, train_with_gold, without_noise
from stepsynth.metrics import Predictions
from stepsynth.records import Dataset, Example, Provenance
from stepsynth.retrieval import Passage
from stepsynth.students import NO_CALLBACKS
from stepsynth.students.linear import Linear
from tests.fakes import FakeBackend, WordIndex, answer_anything, follow, make_setup

GOOD, BAD = (
    ["sweet", "crisp", "red", "round", "shiny"],
    ["soft", "long", "green", "juicy", "bent"],
)


def fruit(number, *, seed, flipped=0.0, parents=(), words=3):
    rng = random.Random(seed)
    found = []
    for i in range(number):
        label = "ap"[i % 2]
        picked = rng.choices((GOOD, BAD)["ap".index(label)], k=words)
        noise = rng.choices(["it", "was", "seen", "there", "today"], k=2)
        said = "pa"["ap".index(label)] if rng.random() < flipped else label
        text = " ".join([*picked, *noise, f"n{seed}x{i}"])
        origin = Provenance("s3", kind="seed", parents=tuple(parents[i : i + 1]))
        found.append(Example(text, said, provenance=origin))
    return Dataset(found)


def setup_of(task, mine, select=None):
    return make_setup(task, FakeBackend(answer_anything), Linear(), mine, select=select)


def fit(rows, setup, **options):
    options = {
        "weights": SYNTHETIC_WEIGHTS,
        "weigh_plausibility": False,
        "balance": "never",
    } | options
    return cross_fit(rows, setup, **options)


def test_rows_with_wrong_labels_get_no_weight_and_good_ones_do(task):
    setup, _ = setup_of(task, fruit(40, seed=1))
    assert set(fit(fruit(200, seed=2, flipped=1.0), setup).weights) == {0.0}
    assert min(fit(fruit(200, seed=2), setup).weights) > 0


def test_few_gold_rows_do_not_rule_out_rows_of_another_label_balance(task):
    """Gold is four fifths apples, the rows are half pears: what loses is the balance alone."""
    gold = list(fruit(100, seed=1, words=1))
    apples, pears = ([row for row in gold if row.label == name] for name in "ap")
    setup, _ = setup_of(task, Dataset([*apples[:20], *pears[:5]]))
    assert min(fit(fruit(200, seed=2), setup).weights) > 0


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ({0.0: [1, 1, 1, 1], 0.1: [2, 2, 2, 2]}, 0.0),  # clearly worse
        ({0.0: [1, 1, 1, 1], 0.1: [2, 2, 1, 0]}, 0.1),  # worse within the error
        ({0.0: [1, 1, 1, 1], 0.1: [0, 0, 0, 0], 1.0: [2, 2, 2, 2]}, 0.1),
        ({0.0: [1, 1], 1.0: [1, 1]}, 1.0),
    ],
)
def test_the_largest_weight_within_one_standard_error_is_chosen(losses, chosen):
    assert largest_within_one_se({w: np.array(each, float) for w, each in losses.items()}) == chosen


def test_errors_are_those_of_models_that_have_not_seen_the_row(task):
    mine = fruit(40, seed=1)
    odd = replace(mine[0], label="p")  # its words are an apple's
    setup, _ = setup_of(task, Dataset([odd, *list(mine)[1:]]))
    found = fit(fruit(100, seed=2), setup)
    assert odd in list(found.missed)
    assert found.predicted[list(found.missed).index(odd)] == "a"


def test_a_row_written_from_a_held_out_row_is_held_out_with_it(task):
    """Copies of gold rows with their labels would else make any label look learnt."""
    mine = fruit(40, seed=3, flipped=0.5)  # labels that words do not tell
    copies = Dataset(replace(row, provenance=Provenance("s3", parents=(row.id,))) for row in mine)
    setup, _ = setup_of(task, mine)
    found = fit(copies, setup, weights=(1.0,))
    assert len(found.missed) > len(mine) / 4


def test_plausible_labels_weigh_more(task):
    setup, _ = setup_of(task, fruit(60, seed=1))
    rows = fruit(100, seed=2, flipped=0.3)
    _, weights = predict_by_gold(rows, setup)
    right = ["a" if set(row.text.split()) & set(GOOD) else "p" for row in rows]
    good = [w for w, row, label in zip(weights, rows, right, strict=True) if row.label == label]
    bad = [w for w, row, label in zip(weights, rows, right, strict=True) if row.label != label]
    assert min(good) > max(bad)


def test_plausibility_is_off_where_gold_models_know_nothing(task):
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=12)) for _ in range(60)]
    mine = Dataset(Example(word, "ap"[i % 2]) for i, word in enumerate(words))
    setup, _ = setup_of(task, mine)
    assert set(predict_by_gold(fruit(50, seed=2), setup)[1]) == {1.0}


def test_too_few_gold_rows_are_said_and_all_rows_weigh_the_same(task):
    setup, warnings = setup_of(task, fruit(2, seed=1))
    found = fit(fruit(30, seed=2), setup, weigh_plausibility=True)
    assert (set(found.weights), found.predictions) == ({1.0}, None)
    assert any("too few gold rows" in said for said in warnings)


def test_with_too_few_gold_rows_a_weight_of_ones_own_still_counts(task):
    setup, warnings = setup_of(task, fruit(2, seed=1))
    assert set(fit(fruit(30, seed=2), setup, weights=(0.3,)).weights) == {0.3}
    assert any("too few gold rows" in said and "weigh 0.3" in said for said in warnings)


def test_a_label_with_a_single_gold_text_stops_no_cross_validation(task):
    """That row is always trained on; the others are held out as if it were not there."""
    lone = Example("a pear, bent and juicy", "p")
    labels = task.model_copy(update={"labels": {"a": "apple", "p": "pear", "q": "quince"}})
    others = [replace(row, label="q") if row.label == "p" else row for row in fruit(40, seed=1)]
    setup, warnings = setup_of(labels, Dataset([lone, *others]))
    wrong = Dataset(replace(row, label="aq"[row.label == "a"]) for row in fruit(200, seed=2))
    found = fit(wrong, setup)
    assert lone not in list(found.gold)
    assert (len(found.gold), len(found.predictions or ())) == (40, 40)
    assert set(found.weights) == {0.0}
    assert not warnings


def test_a_share_of_the_calls_goes_to_errors_and_no_row_is_twice_before_all(task):
    gold = fruit(40, seed=1)
    errors = Dataset(list(gold)[:20])
    drawn = mix(errors, gold, 0.5, random.Random(0))
    first = [next(drawn) for _ in range(20)]
    assert 4 <= sum(row in list(errors) for row in first) <= 20
    only = mix(errors, gold, 1.0, random.Random(0))
    assert {next(only).id for _ in range(20)} == {row.id for row in errors}
    none = mix(Dataset(), gold, 1.0, random.Random(0))
    assert {next(none).id for _ in range(40)} == {row.id for row in gold}


def test_a_wrong_gold_label_is_not_extrapolated(task):
    mine = list(fruit(60, seed=1))
    mine[0] = replace(mine[0], label="p")
    setup, _ = setup_of(task, Dataset(mine))
    found = fit(fruit(200, seed=2), setup)
    assert mine[0].id in {row.id for row in found.missed}
    assert mine[0].id not in {row.id for row in without_noise(found)}


def test_rows_without_weight_are_not_trained_on_and_it_is_said(task):
    mine = fruit(40, seed=1)
    setup, warnings = setup_of(task, mine, select=fruit(20, seed=5))
    rows = fruit(60, seed=2, flipped=1.0)
    added = Writer(setup, "s3_plus")
    added.written.rows += rows
    harmful = train_with_gold(added, rows, fit(rows, setup), do_no_harm=False)
    assert list(harmful.train) == list(mine)
    assert (harmful.verdict or "").startswith("Synthesis does not help here")
    good = fruit(60, seed=2)
    helpful = train_with_gold(added, good, fit(good, setup), do_no_harm=True)
    assert list(helpful.train) == [*mine, *good]
    assert warnings == []


def test_where_no_row_could_be_written_nothing_is_said_of_synthesis(task):
    mine, none = fruit(40, seed=1), Dataset()
    setup, _ = setup_of(task, mine, select=fruit(20, seed=5))
    done = train_with_gold(Writer(setup, "s3_plus"), none, fit(none, setup), do_no_harm=True)
    assert list(done.train) == list(mine)
    assert (done.verdict or "").startswith("No synthetic row was written")


@pytest.mark.parametrize("weight", [-1, 0, "-0.5", "much"])
def test_a_weight_of_nothing_or_less_is_refused(weight):
    with pytest.raises(ValidationError):
        S3Plus(synthetic_weight=weight)


@pytest.mark.parametrize(
    ("scores", "kept"), [([0.9, 0.5, 0.89], 2), ([0.9, 0.89, 0.5], 1), ([0.9, 0.3, 0.3], 0)]
)
def test_the_last_round_within_one_standard_error_is_kept(task, scores, kept):
    setup, _ = setup_of(task, fruit(20, seed=1))
    done = next(iter(S3Plus(seed_size=10, rounds=0, num_rationales=4).synthesize(setup)))
    setup.llm.close()
    rounds = [replace(done, index=i, select_score=score) for i, score in enumerate(scores)]
    assert S3Plus().choose_round(rounds, fruit(100, seed=4)) == kept
    assert S3Plus(keep="last").choose_round(rounds, fruit(100, seed=4)) == len(scores) - 1


def said(labels, names=("a", "p")):
    return Predictions(
        names, np.array([[name == label for name in names] for label in labels], float)
    )


@pytest.mark.parametrize(
    ("right", "begins", "is_harm"),
    [
        ((36, 24), "Synthesis helps", False),
        ((24, 36), "Synthesis does not help here", True),
        ((30, 30), "Synthesis makes no clear difference", False),
        ((30, 31), "Synthesis makes no clear difference", False),
    ],
)
def test_a_verdict_says_what_held_out_gold_can_tell(task, right, begins, is_harm):
    setup, _ = setup_of(task, fruit(40, seed=1))
    gold = list(setup.mine.labels)
    other = {"a": "p", "p": "a"}
    with_rows, alone = (
        said([*gold[:number], *(other[label] for label in gold[number:])]) for number in right
    )
    fitted = CrossFit((1.0,), Dataset(), ())
    verdict, found = judge(with_rows, alone, fitted, setup)
    assert verdict.startswith(begins)
    assert "on 40 held-out gold rows" in verdict
    assert found == is_harm


def test_select_rows_that_are_trained_on_are_not_held_out(task):
    mine = fruit(40, seed=1)
    setup, _ = setup_of(task, mine, select=mine)
    rows = fruit(60, seed=2)
    found = fit(rows, setup)
    added = Writer(setup, "s3_plus")
    added.written.rows += rows
    done = train_with_gold(added, rows, found, do_no_harm=True)
    assert "on 40 held-out gold rows" in (done.verdict or "")


def lopsided(number, *, seed, share=0.9):
    """Rows of which most are apples, in their own words: a model of them says apple too often."""
    rows = fruit(4 * number, seed=seed, words=1)
    apples, pears = (Dataset(row for row in rows if row.label == name) for name in "ap")
    few = round((1 - share) * number)
    return Dataset([*apples[: number - few], *pears[:few]])


class Unbalanced(Linear):
    """A student that learns the balance of its rows, as few do by themselves."""

    def fit(self, dataset, *, weights=None, callbacks=NO_CALLBACKS):
        super().fit(dataset, weights=weights, callbacks=callbacks)
        each = np.ones(len(dataset)) if weights is None else np.asarray(weights)
        has = np.array([[row.label == name for name in self.label_names] for row in dataset])
        self.add_offsets(2 * np.log((has * each[:, None]).sum(axis=0)))


def test_a_balance_learnt_from_synthetic_rows_is_undone_where_gold_has_another(task):
    setup, _ = make_setup(
        task, FakeBackend(answer_anything), Unbalanced(), fruit(60, seed=1, words=1)
    )
    rows, new = lopsided(300, seed=2), fruit(200, seed=3, words=1)
    found = {how: fit(rows, setup, weights=(1.0,), balance=how) for how in ("auto", "never")}
    assert not found["never"].offsets.any()
    assert found["auto"].offsets[1] - found["auto"].offsets[0] > 1
    assert len(found["auto"].missed) < len(found["never"].missed)
    added = Writer(setup, "s3_plus")
    added.written.rows += rows
    scores = {}
    for how, fitted in found.items():
        done = train_with_gold(added, rows, fitted, do_no_harm=False)
        scores[how] = task.main_score(new, done.model.predict(new))
    assert scores["auto"] > scores["never"] + 0.1


def test_a_gain_that_is_not_clear_changes_no_balance(task):
    setup, _ = setup_of(task, fruit(60, seed=1))
    found = fit(fruit(200, seed=2), setup, balance="auto")
    assert not found.offsets.any()
    assert found.missed == fit(fruit(200, seed=2), setup).missed


def test_accuracy_is_bought_with_macro_f1_only_where_that_is_asked_for(task):
    """Of 50 rows 10 are pears, and the model says pear of 30."""
    gold = Dataset(Example(f"fruit {i}", "a" if i < 40 else "p") for i in range(50))
    of_apple = [0.6 if i < 20 else 0.3 for i in range(50)]
    weak = Predictions(("a", "p"), np.array([[p, 1 - p] for p in of_apple]))
    setup, _ = setup_of(task, gold)
    found = {
        how: balance_labels(gold, weak, setup, balance=how) for how in ("auto", "always", "never")
    }
    assert not found["auto"].any()
    assert not found["never"].any()
    always = weak.offset(found["always"])
    assert always.hits(gold.labels).mean() == 0.8 > weak.hits(gold.labels).mean()
    assert task.main_score(gold, always) < task.main_score(gold, weak)


# Extrapolations without the gold text --------------------------------------------------------


def run_hinted(task, mine, given, **more):
    method = S3Plus(seed_size=20, num_rationales=3, added_size=30, extrapolate_from=given)
    return follow(task, method, answer_anything, Linear(), mine, **more)


@pytest.mark.slow
def test_words_of_several_gold_texts_stand_in_for_them(task):
    mine = fruit(60, seed=1)
    backend, done, warnings = run_hinted(task, mine, "words")
    asked = backend.of_kind("extrapolate")
    assert len(asked) == 60
    assert not any(row.text in request.prompt for row in mine for request in backend.requests)
    assert not any("source" in request.tags for request in backend.requests)
    for note in (line for one in done for line in one.notes.get("hints", ())):
        for word in note["words"]:
            assert sum(word in row.text.split() for row in mine) >= SHARED_BY
    assert any(word in request.prompt for request in asked for word in GOOD)
    assert not warnings
    assert all(row.provenance.parents for row in done[1].added)


def test_what_goes_into_prompts_is_said():
    assert S3Plus().seen == S3Plus.sees
    assert "prompts" not in S3Plus(rounds=0).seen
    assert "and no text" in S3Plus(extrapolate_from="words").seen


@pytest.mark.slow
def test_a_word_of_two_texts_is_not_told(task):
    mine = Dataset(Example(f"secret{i // 2} it was{i}", "ap"[i % 2]) for i in range(40))
    backend, _, warnings = run_hinted(task, mine, "words")
    assert not any("secret" in request.prompt for request in backend.requests)
    assert any("from their label alone" in said for said in warnings)


def test_words_of_an_apple_are_not_asked_of_a_pear():
    mine = fruit(60, seed=1)
    found = words_of_clusters(mine, 0)
    said = {row.label: set() for row in mine}
    for row in mine:
        said[row.label].update(found[row.id])
    assert set(GOOD) <= said["a"]
    assert set(BAD) <= said["p"]
    assert not said["a"] & set(BAD)
    assert words_of_clusters(mine, 0) == found


@pytest.mark.slow
def test_passages_near_a_gold_row_are_rewritten_in_its_manner(task):
    mine = fruit(60, seed=1)
    near = [Passage(f"p{i}", f"{word} fruit of the valley, {i}") for i, word in enumerate(GOOD)]
    far = Passage("far", "nothing of the kind")
    backend, done, warnings = run_hinted(task, mine, "passage", index=WordIndex([*near, far]))
    asked = backend.of_kind("refine")
    assert asked
    assert all(any(passage.text in request.prompt for passage in near) for request in asked)
    assert all(any(row.text in request.prompt for row in mine) for request in asked)
    assert backend.of_kind("extrapolate"), "pears have no passage, and are extrapolated as ever"
    assert any("have no passage near them" in said for said in warnings)
    assert {line["passage"] for line in done[1].notes["hints"] if "passage" in line} <= {
        passage.text for passage in near
    }


def test_passages_need_a_corpus_before_anything_is_asked(task):
    with pytest.raises(ConfigError, match="searches a corpus"):
        run_hinted(task, fruit(60, seed=1), "passage")
    assert S3Plus(extrapolate_from="passage").uses_corpus
    assert not S3Plus(extrapolate_from="passage", rounds=0).uses_corpus
    assert not S3Plus().uses_corpus


@pytest.mark.slow
def test_a_message_its_answer_and_its_forward_are_one_text(task):
    told = "call zebulon quartz about the tumour on monday"
    copies = [f"{start}{told}" for start in ("", "re ", "fwd ", "fwd re ", "RE: ")]
    mine = Dataset([*fruit(60, seed=1), *(Example(text, "a") for text in copies)])
    backend, _, _ = run_hinted(task, mine, "words")
    assert not any("zebulon" in request.prompt for request in backend.requests)
    sources = sources_of(
        [frozenset(text.lower().split()) for text in ("good", "good film", *copies)]
    )
    assert len({*sources[2:]}) == 1
    assert sources[0] != sources[1]
