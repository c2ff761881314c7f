"""The linear student learns in any language, says how sure it is, and comes back from disk."""

import json
import random
import shutil
import unicodedata

import numpy as np
import pytest

from stepsynth.errors import RunFolderError, StepsynthError, TooFewRowsError
from stepsynth.records import Dataset, Example, LabelSet
from stepsynth.students import StudentFactory, load_student
from stepsynth.students.linear import Linear
from tests.fakes import rows

GOOD = ["lovely warm film", "a lovely story", "warm and funny", "funny, lovely acting"]
BAD = ["dull cold film", "a dull mess", "cold and boring", "boring, dull acting"]
DATA = rows(*((t, "good") for t in GOOD), *((t, "bad") for t in BAD))


def fitted(data=DATA, labels=("bad", "good"), memory=None, **fields):
    model = StudentFactory(Linear(**fields), labels, 0, memory).new()
    model.fit(data)
    return model


def test_two_labels_give_the_probabilities_of_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    model = fitted()
    student = model.student
    features = np.hstack([v.transform(DATA.texts).toarray() for v in student._vectorizers.values()])
    reference = LogisticRegression(class_weight="balanced", max_iter=1000)
    reference.fit(features, [label == "good" for label in DATA.labels])
    expected = reference.predict_proba(features)
    assert np.allclose(model.predict(DATA).probabilities, expected, atol=1e-4)


def test_texts_count_as_those_of_files_do_whatever_their_unicode_form():
    model = fitted(rows(*((f"{word} déjà", word) for word in ("café", "thé"))), ("café", "thé"))
    composed, decomposed = (unicodedata.normalize(form, "le café") for form in ("NFC", "NFD"))
    said = model.student.predict_probabilities([composed, decomposed]).probabilities
    assert np.array_equal(said[0], said[1])


@pytest.mark.parametrize("text", [None, float("nan"), 5, b"film"])
def test_what_is_no_text_is_named_by_its_place(text):
    student = fitted().student
    with pytest.raises(TypeError, match="text 1 must be a text, got"):
        student.predict(["a film", text])
    with pytest.raises(TypeError, match="context 1 must be a text, got"):
        student.predict_probabilities(["a film", "a play"], ["film", text])


def test_many_labels_and_an_order_that_is_not_alphabetical():
    data = rows(*((f"{w} {i}", w) for w in ("zeta", "beta", "alpha") for i in "xyz"))
    model = fitted(data, ("zeta", "alpha", "beta"))
    predictions = model.predict(data)
    assert predictions.label_names == ("zeta", "alpha", "beta")
    assert predictions.labels == data.labels


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        (
            ["这部电影很好看", "演员很好", "很感人"],
            ["太无聊了", "剧情很糟糕", "浪费时间"],
            "电影很感人",
        ),
        (
            ["とても良かった", "感動した", "演技が良い"],
            ["退屈だった", "ひどい話", "時間の無駄"],
            "良い話に感動",
        ),
        (
            ["très bon film", "une belle histoire", "j'ai adoré"],
            ["quel ennui", "mauvais film", "à éviter"],
            "belle histoire",
        ),
        (
            ["فيلم جميل جدا", "قصة رائعة", "أحببت التمثيل"],
            ["ممل للغاية", "فيلم سيئ", "مضيعة للوقت"],
            "قصة جميلة رائعة",
        ),
        (
            ["ein wunderschöner Film", "großartig gespielt", "sehr bewegend"],
            ["so eine Zeitverschwendung", "langweilig erzählt", "ein schwacher Film"],
            "wunderschön gespielt",
        ),
    ],
)
def test_it_learns_in_other_languages(first, second, asked):
    data = rows(*((t, "good") for t in first), *((t, "bad") for t in second))
    assert fitted(data).predict(rows((asked, ""))).labels == ["good"]


def test_a_rare_label_is_not_drowned():
    data = rows(*((t, "bad") for t in BAD * 20), *((t, "good") for t in GOOD))
    assert fitted(data).predict(rows(("lovely", ""))).labels == ["good"]


def test_it_comes_back_from_disk_to_the_last_bit(tmp_path):
    model = fitted()
    model.student.save(tmp_path)
    again = load_student(tmp_path)
    assert np.array_equal(
        again.predict_examples(DATA).probabilities, model.predict(DATA).probabilities
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "student.json",
        "vocabulary.json",
        "weights.npz",
    ]
    assert json.loads((tmp_path / "student.json").read_text())["labels"] == ["bad", "good"]


def test_a_folder_without_a_student_is_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"no trained student is here"):
        load_student(tmp_path)
    (tmp_path / "student.json").write_text("{oops")
    with pytest.raises(RunFolderError, match="cannot be read"):
        load_student(tmp_path)


def test_whatever_is_damaged_of_a_saved_student_it_is_our_error_or_it_loads(tmp_path):
    fitted().student.save(tmp_path / "whole")
    rng = random.Random(0)
    refused = 0
    for number in range(120):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / f"{number}")
        path = rng.choice(sorted(folder.iterdir()))
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 8])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        try:
            load_student(folder)
        except RunFolderError:
            refused += 1
    assert refused > 60


def test_a_label_without_rows_is_never_predicted_and_none_at_all_are_refused():
    predictions = fitted(labels=("bad", "good", "other")).predict(DATA)
    assert predictions.label_names == ("bad", "good", "other")
    assert not predictions.probabilities[:, 2].any()
    assert predictions.labels == DATA.labels
    with pytest.raises(TooFewRowsError, match="there is no row"):
        fitted(data=rows())


def test_a_student_is_fitted_once_and_predicts_only_then():
    model = StudentFactory(Linear(), ("bad", "good"), 0).new()
    with pytest.raises(StepsynthError, match="must be fitted"):
        model.predict(DATA)
    model.fit(DATA)
    with pytest.raises(StepsynthError, match="fitted once"):
        model.fit(DATA)


def test_what_was_fitted_before_is_remembered(tmp_path, monkeypatch):
    first = fitted(memory=tmp_path).predict(DATA).probabilities
    monkeypatch.setattr(Linear, "fit", lambda *_: pytest.fail("it was trained again"))
    assert np.array_equal(fitted(memory=tmp_path).predict(DATA).probabilities, first)


def swap_a_word(folder):
    path = folder / "vocabulary.json"
    path.write_text(path.read_text().replace("lovely", "lovelx", 1))


def cut_off(folder):
    path = folder / "weights.npz"
    path.write_bytes(path.read_bytes()[:-40])


def change_a_byte(folder):
    path = folder / "weights.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


def put_a_file_there(folder):
    shutil.rmtree(folder)
    folder.write_bytes(b"")


@pytest.mark.parametrize("harm", [swap_a_word, cut_off, change_a_byte, put_a_file_there])
def test_what_is_not_as_it_was_remembered_is_fitted_again(tmp_path, harm):
    first = fitted(memory=tmp_path).predict(DATA).probabilities
    (folder,) = tmp_path.iterdir()
    harm(folder)
    assert np.array_equal(fitted(memory=tmp_path).predict(DATA).probabilities, first)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]


def test_another_data_set_is_not_the_remembered_one(tmp_path):
    fitted(memory=tmp_path)
    fitted(DATA[:-1], memory=tmp_path)
    fitted(memory=tmp_path, C=3.0)
    assert len(list(tmp_path.iterdir())) == 3


def test_predict_takes_a_list(tmp_path):
    fitted().student.save(tmp_path)
    student = load_student(tmp_path)
    assert student.predict(["lovely"]) == ["good"]
    assert student.predict([]) == []
    with pytest.raises(TypeError, match="lists of texts"):
        student.predict("lovely")


WORDS = ("dog", "cat", "cow", "hen", "pig", "fox")
PAIRS = Dataset(
    Example(said, "yes" if said == seen else "no", f"{seen} {other}")
    for said in WORDS
    for seen in WORDS
    for other in ("runs", "sleeps")
)


def test_of_a_pair_it_learns_what_only_the_overlap_tells(tmp_path):
    model = fitted(PAIRS, ("no", "yes"), C=10.0)
    assert model.predict(PAIRS).labels == PAIRS.labels
    asked = (["an owl", "an owl"], ["an owl flies", "a bat flies"])
    assert model.student.predict(*asked) == ["yes", "no"]
    model.student.save(tmp_path)
    again = load_student(tmp_path)
    assert again.predict(*asked) == ["yes", "no"]
    assert np.array_equal(
        again.predict_examples(PAIRS).probabilities, model.predict(PAIRS).probabilities
    )


@pytest.mark.parametrize(
    ("words", "context"),
    [("犬猫牛鶏豚狐", "{}がそこにいる"), ("狗貓牛雞豬狐", "我看見了{}"), ("หมวกปลา", "ฉันเห็น{}")],
)
def test_pairs_overlap_in_characters_where_no_spaces_divide_words(words, context):
    data = Dataset(
        Example(said, "yes" if said == seen else "no", context.format(seen))
        for said in words[:-1]
        for seen in words[:-1]
    )
    model = fitted(data, ("no", "yes"), C=10.0)
    new = words[-1]
    asked = ([new, new], [context.format(new), context.format(words[0])])
    assert model.student.predict(*asked) == ["yes", "no"]


@pytest.mark.parametrize("context", [None, "", "?!"])
def test_a_pair_with_nothing_to_compare_is_predicted_all_the_same(context):
    model = fitted(PAIRS, ("no", "yes"))
    shares = model.student.predict_examples([Example("", "", context)]).probabilities
    assert np.isfinite(shares).all()


def share_of_good(data, weights):
    student = StudentFactory(Linear(), ("bad", "good"), 0).start()
    student.fit(data, weights=weights)
    return student.predict_probabilities(["novel"]).probabilities[0, 1]


def test_a_row_of_weight_zero_teaches_nothing():
    doubtful = Dataset([*DATA, *rows(("novel", "good"), ("novel", "bad"))])
    even, good, bad = ([1.0] * 8 + last for last in ([1.0, 1.0], [1.0, 0.0], [0.0, 1.0]))
    assert share_of_good(doubtful, bad) < 0.45 < share_of_good(doubtful, even) < 0.55
    assert share_of_good(doubtful, good) > 0.55


def test_only_the_ratio_of_weights_counts():
    data = Dataset([*DATA, *rows(("novel", "good"))])
    assert share_of_good(data, [10.0] * 9) == pytest.approx(share_of_good(data, None), abs=1e-5)
    weights = [1.0, 2.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    tenth = [weight / 10 for weight in weights]
    assert share_of_good(data, tenth) == pytest.approx(share_of_good(data, weights), abs=1e-5)


def test_other_weights_are_another_memory(tmp_path):
    for weights in (None, [1.0] * 7 + [0.5], [1.0] * 7 + [0.5]):
        StudentFactory(Linear(), ("bad", "good"), 0, tmp_path).new().fit(DATA, weights)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_text_without_a_word_teaches_nothing_and_is_said():
    with pytest.raises(TooFewRowsError, match="no text holds a word"):
        fitted(rows(("!!", "good"), ("??", "bad")))


def test_a_label_of_every_row_or_of_none_is_learnt_as_such():
    sets = [LabelSet(("a", "b")), LabelSet(("a",))] * 5
    model = Linear().start(("a", "b", "c"), 0)
    model.fit(Dataset(Example(f"text {label}", label) for label in sets))
    said = model.predict_probabilities(["text a|b", "text a"])
    assert said.labels == ["a|b", "a"]
    assert said.probabilities[0].round(3).tolist()[::2] == [0.917, 0.083]
