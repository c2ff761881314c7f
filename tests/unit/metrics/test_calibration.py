"""Probabilities that mean what they say, on made data whose truth is known."""

import json

import numpy as np
import pytest

from stepsynth.metrics import (
    Calibration,
    Predictions,
    calibrate,
    calibrating_offsets,
    refinement_losses,
)
from stepsynth.metrics.calibration import calibration_error, scaled

NAMES = ("a", "b", "c")


def made(n, *, seed=0, too_sure=1.0):
    """Return gold labels that follow probabilities, and predictions that are too sure of them."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet([1.0, 1.0, 1.0], n)
    gold = [NAMES[rng.choice(3, p=row)] for row in true]
    return gold, Predictions(NAMES, scaled(true, 1 / too_sure))


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_was_done(too_sure):
    gold, said = made(4000, too_sure=too_sure)
    found = calibrate(gold, said)
    assert found.temperature == pytest.approx(too_sure, rel=0.1)
    others, said_of_others = made(4000, seed=1, too_sure=too_sure)
    hits = np.array([a == b for a, b in zip(said_of_others.labels, others, strict=True)])
    after = calibration_error(found.apply(said_of_others).probabilities.max(axis=1), hits)
    assert after < 0.03
    if too_sure != 1:
        assert calibration_error(said_of_others.probabilities.max(axis=1), hits) > 0.08
        assert found.error_after < found.error_before


def test_no_label_changes():
    gold, said = made(500, too_sure=4.0)
    calibrated = calibrate(gold, said).apply(said)
    assert calibrated.labels == said.labels
    assert np.allclose(calibrated.probabilities.sum(axis=1), 1)


def test_probabilities_of_0_and_1_are_taken():
    gold = ["a", "b"] * 15
    said = Predictions(("a", "b"), np.array([[1.0, 0.0], [1.0, 0.0]] * 15))
    found = calibrate(gold, said)
    assert np.isfinite(found.apply(said).probabilities).all()
    assert found.apply(said).probabilities[0, 0] < 0.8


def test_few_rows_tell_no_temperature():
    gold, said = made(19)
    assert calibrate(gold, said) is None


@pytest.mark.slow
def test_the_precision_that_is_promised_holds_on_other_rows():
    kept = 0
    for seed in range(40):
        gold, said = made(400, seed=seed)
        found = calibrate(gold, said).abstain_for(0.8)
        others, said_of_others = made(2000, seed=1000 + seed)
        sure = calibrate(gold, said).apply(said_of_others).probabilities.max(axis=1)
        given = sure >= found.threshold
        hits = np.array([a == b for a, b in zip(said_of_others.labels, others, strict=True)])
        kept += found.low <= hits[given].mean() <= found.high
        assert found.precision >= 0.8
    assert kept >= 36


def test_the_lowest_threshold_is_taken_and_none_where_none_will_do():
    held_out = ((0.9, True), (0.8, True), (0.8, False), (0.7, True), (0.6, True), (0.5, False))
    found = Calibration(1.0, 0.0, 0.0, held_out)
    assert found.abstain_for(0.8).threshold == 0.6
    assert found.abstain_for(0.8).coverage == pytest.approx(5 / 6)
    assert found.abstain_for(1.0).threshold == 0.9
    assert Calibration(1.0, 0.0, 0.0, ((0.9, False),)).abstain_for(0.5) is None


def test_a_precision_that_is_reached_exactly_is_reached():
    right = 55  # 0.55 * 100 is a little more in floating point
    found = Calibration(1.0, 0.0, 0.0, tuple((0.5, i < right) for i in range(100)))
    assert found.abstain_for(0.55).coverage == 1
    assert found.abstain_for(0.56) is None


def test_what_was_written_is_read_and_what_is_damaged_is_none(tmp_path):
    gold, said = made(60)
    found = calibrate(gold, said)
    (tmp_path / "calibration.json").write_text(json.dumps(found.to_dict()))
    again = Calibration.read(tmp_path)
    assert again.temperature == found.temperature
    assert len(again.held_out) == 60
    (tmp_path / "calibration.json").write_text('{"temperature": "warm"}')
    assert Calibration.read(tmp_path) is None
    assert Calibration.read(tmp_path / "nowhere") is None


def test_rows_that_are_all_right_do_not_make_a_model_certain():
    sure = np.linspace(0.72, 0.95, 20)
    said = Predictions(("a", "b"), np.column_stack([sure, 1 - sure]))
    found = calibrate(["a"] * 20, said)
    new = Predictions(("a", "b"), np.array([[0.6, 0.4]]))
    assert found.apply(new).probabilities[0, 0] < 0.9


def test_a_threshold_gives_the_rows_it_was_set_on_their_labels(tmp_path):
    """Rounded up, 0.99999999 would be out of its own reach."""
    sure = np.array([1 - 10.0**-i for i in range(1, 21)])
    said = Predictions(("a", "b"), np.column_stack([sure, 1 - sure]))
    found = Calibration(1.0, 0.0, 0.0, tuple((float(p), True) for p in sure))
    (tmp_path / "calibration.json").write_text(json.dumps(found.to_dict()))
    least = Calibration.read(tmp_path).abstain_for(1.0).threshold
    assert (found.apply(said).probabilities.max(axis=1) >= least - 1e-12).all()


def test_what_calibration_mends_is_no_loss():
    """A model that is too sure, or saw another balance of labels, ranks rows no worse."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(200, 3))
    powers = np.exp(scores)
    gold = ["abc"[rng.choice(3, p=row / row.sum())] for row in powers]

    def mean_loss(found):
        odds = np.exp(found)
        said = Predictions(("a", "b", "c"), odds / odds.sum(axis=1, keepdims=True))
        return float(refinement_losses(gold, said).mean())

    right = mean_loss(scores)
    assert mean_loss(3 * scores + [2.0, 0.0, -1.0]) == pytest.approx(right, abs=1e-4)
    assert mean_loss(0.3 * scores) == pytest.approx(right, abs=1e-4)
    assert mean_loss(scores + rng.normal(size=scores.shape)) > right + 0.05


def test_rows_that_are_all_told_apart_leave_a_finite_loss():
    said = Predictions(("a", "b"), np.array([[1.0, 0.0], [0.0, 1.0]] * 10))
    assert 0 < refinement_losses(["a", "b"] * 10, said).max() < 0.3


def test_calibrating_offsets_undo_another_balance_of_labels():
    rng = np.random.default_rng(0)
    right = Predictions(("a", "b", "c"), rng.dirichlet([1, 1, 1], size=500))
    gold = ["abc"[rng.choice(3, p=row)] for row in right.probabilities]
    learnt = right.offset(np.array([0.0, 3.0, -1.0]))
    found = calibrating_offsets(gold, learnt)
    assert found[0] == 0
    assert found == pytest.approx([0.0, -3.0, 1.0], abs=0.5)
    assert learnt.hits(gold).mean() < learnt.offset(found).hits(gold).mean() - 0.1
