"""Several students on several draws: a mean, a spread, and a way back from disk."""

import numpy as np
import pytest
from pydantic import ValidationError

from stepsynth.students import StudentFactory, load_student
from stepsynth.students.ensemble import Ensemble
from tests.fakes import rows

DATA = rows(
    *((f"a red apple, no {i}", "a") for i in range(10)),
    *((f"a soft pear, no {i}", "p") for i in range(10)),
)


def fitted(**fields):
    model = StudentFactory(Ensemble(**fields), ("a", "p"), 0).new()
    model.fit(DATA)
    return model.student


def test_its_probabilities_are_the_mean_of_its_members(tmp_path):
    ensemble = fitted(members=3)
    each = [s.predict_examples(DATA).probabilities for s in ensemble._students]
    assert not np.allclose(each[0], each[1])
    assert np.allclose(ensemble.predict_examples(DATA).probabilities, np.mean(each, axis=0))
    ensemble.save(tmp_path)
    again = load_student(tmp_path)
    assert again.predict(["red apple"]) == ["a"]
    assert np.allclose(again.spread(DATA), ensemble.spread(DATA), atol=1e-6)


def test_the_spread_is_that_of_the_chosen_label_over_the_members():
    ensemble = fitted(members=4)
    each = [s.predict_examples(DATA[:1]).probabilities[0] for s in ensemble._students]
    (chosen,) = ensemble.predict_examples(DATA[:1]).labels
    column = ensemble.label_names.index(chosen)
    assert ensemble.spread(DATA[:1]) == pytest.approx([np.std([p[column] for p in each])])
    assert ensemble.spread(DATA[:1])[0] > 0


def test_disjoint_draws_share_no_row_and_leave_none_out():
    draws = Ensemble(members=4, draws="disjoint").start(("a", "p"), 0)._draw(DATA)
    assert sorted(i for draw in draws for i in draw) == list(range(20))


def test_each_draw_has_every_label():
    few = rows(("apple", "a"), *((f"pear {i}", "p") for i in range(9)))
    for kind in ("bootstrap", "disjoint"):
        for draw in Ensemble(draws=kind).start(("a", "p"), 0)._draw(few):
            assert {few[i].label for i in draw} == {"a", "p"}


def test_bad_members_are_refused():
    searched = {"name": "linear", "search": {"trials": 3}}
    for of in ("ensemble", {"name": "linear", "no_such_key": 1}, searched):
        with pytest.raises(ValidationError):
            Ensemble(of=of)


def test_its_passes_are_those_of_its_members():
    of = {"name": "transformer", "epochs": 3}
    assert Ensemble(of=of, members=4).passes(100) == 12
    assert Ensemble(of=of, members=4, draws="disjoint").passes(100) == 3
    assert Ensemble(members=4).passes(100) == 4
