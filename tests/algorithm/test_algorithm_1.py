"""Algorithm 1 of S3 as a call trace: rationales first, then a text from each draw of them."""

import re
from collections import Counter

from stepsynth.llm import Completion, Request
from stepsynth.methods._writer import Writer
from stepsynth.methods.s3 import S3
from stepsynth.tasks.classification import Classification
from tests.fakes import FakeBackend, WrongOn, follow, make_setup, rows

GOLD = rows(("gold one", "a"), ("gold two", "p"))


def answer(request: Request) -> str:
    if request.tags["kind"] == "rationale":
        label = request.tags["label"]
        return "\n".join(f"{i}. because {label}{i}" for i in range(1, 6))
    return f"text {request.draw}"


def seed_round(task: Classification, answer=answer, **options: object):
    method = S3.model_validate({"rounds": 0, "num_rationales": 5, **options})
    backend, (done,), warnings = follow(task, method, answer, mine=GOLD)
    return backend, done, warnings


def test_rationales_are_asked_once_for_each_label_and_before_any_text(task):
    backend, _, _ = seed_round(task, seed_size=4)
    assert [r.tags["kind"] for r in backend.requests[:2]] == ["rationale", "rationale"]
    assert [r.tags["label"] for r in backend.requests[:2]] == ["a", "p"]
    assert len(backend.of_kind("rationale")) == 2
    assert len(backend.of_kind("seed")) == 4


def test_a_prompt_holds_k_different_rationales_of_the_drawn_label_only(task):
    backend, _, _ = seed_round(task, seed_size=60, rationales_per_prompt=3)
    for request in backend.of_kind("seed"):
        used = re.findall(r"because (\w)(\d)", request.prompt)
        assert len(set(used)) == 3
        assert {label for label, _ in used} == {request.tags["label"]}


def test_labels_and_rationales_are_drawn_uniformly(task):
    backend, _, _ = seed_round(task, seed_size=600, rationales_per_prompt=1)
    used = Counter(re.findall(r"because (\w\d)", r.prompt)[0] for r in backend.of_kind("seed"))
    assert set(used) == {f"{label}{i}" for label in "ap" for i in range(1, 6)}
    # 600 draws over 10 cells: 60 each, standard deviation 7.3; five of them on either side.
    assert all(24 <= count <= 96 for count in used.values())


def test_a_row_has_the_label_that_was_drawn_for_it(task):
    backend, done, _ = seed_round(task, seed_size=20)
    assert [row.label for row in done.added] == [r.tags["label"] for r in backend.of_kind("seed")]
    assert all(row.provenance.kind == "seed" and row.provenance.round == 0 for row in done.added)


def test_a_label_with_too_few_rationales_is_asked_again_and_then_warned_of(task):
    backend, _, warnings = seed_round(task, seed_size=4, num_rationales=9)
    assert len(backend.of_kind("rationale")) == 6
    assert [r.draw for r in backend.of_kind("rationale")] == [0, 0, 1, 1, 2, 2]
    assert [w.split(":")[1] for w in warnings] == [
        " 5 of 9 for the label 'a'",
        " 5 of 9 for the label 'p'",
    ]


def test_a_rejected_draw_is_replaced_up_to_one_and_a_half_times_the_size(task):
    write = lambda r: "I cannot generate that." if r.draw % 2 else f"text {r.draw}"  # noqa: E731
    backend, done, warnings = seed_round(task, write, seed_size=10, rationales=False)
    assert len(backend.requests) == 15
    assert len(done.added) == 8
    assert [u.rejected.reason for u in done.unused] == ["refusal"] * 7
    assert warnings == ["seed data: 8 of 10 rows were kept after 15 draws"]


def test_duplicates_are_kept_unless_they_are_dropped(task):
    for drop, kept in ((False, 6), (True, 1)):
        setup, _ = make_setup(task, FakeBackend(lambda _: "Same text."), WrongOn(), GOLD)
        method = S3(rounds=0, seed_size=6, rationales=False, drop_duplicates=drop)
        writer = Writer(setup, "s3", seen=set() if drop else None)
        method.write_seed_data(writer)
        setup.llm.close()
        written = writer.written
        assert len(written.rows) == kept
        assert {u.rejected.reason for u in written.unused} == ({"duplicate"} if drop else set())


def test_what_the_llm_listed_is_recorded_with_its_draw_and_whether_it_was_cut_off(task):
    def cut(request: Request) -> str | Completion:
        text = answer(request)
        is_first = request.tags["kind"] == "rationale" and request.draw == 0
        return Completion(text, truncated=True) if is_first else text

    _, done, _ = seed_round(task, cut, seed_size=4)
    listed = [(row["label"], row["draw"], row.get("truncated", False)) for row in done.asked]
    assert listed == [("a", 0, True), ("p", 0, True), ("a", 1, False), ("p", 1, False)]
    assert done.rationales["a"] == tuple(f"because a{i}" for i in range(1, 6))
