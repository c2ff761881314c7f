"""SunGen: ZeroGen's rows with weights that find wrong labels, learnt without gold."""

import random

from stepsynth.methods.sungen import SunGen
from stepsynth.methods.zerogen import ZeroGen
from stepsynth.students.linear import Linear
from tests.fakes import WrongOn, follow, rows

SELECT = rows(("GOLD apple", "a"), ("GOLD pear", "p"))
WORDS = {
    "a": ["round", "red", "crisp", "orchard", "cider", "core", "crumble", "pippin", "press"],
    "p": ["long", "green", "soft", "juicy", "perry", "conference", "poached", "bosc", "anjou"],
}
BOTH = ["fruit", "tree", "garden", "market", "basket", "sweet", "fresh", "summer"]


def write(request):
    """Return a text whose words are those of another label in three cases of ten."""
    rng = random.Random(f"{request.stream} {request.draw}")
    label = request.tags["label"]
    is_wrong = rng.random() < 0.3
    words = WORDS["p" if (label == "a") == is_wrong else "a"]
    picked = [*rng.sample(words, 3), *rng.sample(BOTH, 5)]
    rng.shuffle(picked)
    return " ".join(picked) + (" wrongly." if is_wrong else " rightly.")


def hide(request):
    return write(request).rsplit(" ", 1)[0]


def run(task, method, answer=hide, student=None, **options):
    student = student or Linear()
    backend, rounds, _ = follow(task, method, answer, student, select=SELECT, **options)
    wrong = {hide(r): write(r).endswith("wrongly.") for r in backend.requests}
    return backend, rounds, wrong


def test_round_0_is_zerogen_and_round_1_has_the_weights(task):
    backend, rounds, _ = run(task, SunGen(seed_size=60, outer_steps=5))
    _, zerogen, _ = run(task, ZeroGen(seed_size=60))
    assert [done.index for done in rounds] == [0, 1]
    assert rounds[0].train.texts == zerogen[0].train.texts
    assert rounds[0].weights is None
    assert rounds[1].train == rounds[0].train
    assert not rounds[1].added
    lines = rounds[1].notes["weights"]
    assert rounds[1].weights == tuple(line["weight"] for line in lines)
    assert [line["row"] for line in lines] == [row.id for row in rounds[1].train]
    assert all(0 <= line["weight"] <= 1 for line in lines)
    _, plain, _ = run(task, SunGen(seed_size=60, outer_steps=5, loss="cross_entropy"))
    assert plain[1].weights != rounds[1].weights
    assert not any("GOLD" in r.prompt for r in backend.requests)


def test_rows_can_be_drawn_by_their_weights_instead(task):
    _, rounds, wrong = run(task, SunGen(seed_size=400, use="sample"))
    weights = [line["weight"] for line in rounds[1].notes["weights"]]
    assert abs(len(rounds[1].train) - sum(weights)) < 40
    assert set(rounds[1].train) < set(rounds[0].train)
    share = [sum(wrong[t] for t in done.train.texts) / len(done.train) for done in rounds]
    assert share[1] < share[0] / 2


def test_a_student_without_features_of_its_own_is_weighed_by_n_grams(task):
    _, linear, _ = run(task, SunGen(seed_size=60, outer_steps=5))
    _, other, _ = run(task, SunGen(seed_size=60, outer_steps=5), student=WrongOn())
    assert linear[1].notes["weights"] == other[1].notes["weights"]
