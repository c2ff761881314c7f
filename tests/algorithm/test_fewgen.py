"""FewGen: each prompt has its own draw of gold rows of the label."""

import re

import pytest

from stepsynth.curation import Curation, Curator, Gate
from stepsynth.errors import TooFewRowsError
from stepsynth.methods.fewgen import FewGen
from stepsynth.records import Answers, Context, Dataset, Example
from stepsynth.tasks.extractive_qa import ExtractiveQA
from stepsynth.tasks.sentence_pair import SentencePair
from tests.fakes import WrongOn, WrongSpansOn, follow, rows

GOLD = rows(
    *((f"apple note {i}", "a") for i in range(10)), *((f"pear note {i}", "p") for i in range(10))
)


def write(request):
    return f"new text {request.draw} of {request.tags['label']}"


def run(task, method, mine=GOLD, student=None, answer=write, **options):
    return follow(task, method, answer, student or WrongOn(words=("zzz",)), mine, **options)


def shots_in(prompt):
    return re.findall(r"(?:apple|pear) note \d+", prompt)


def test_each_prompt_shows_different_gold_rows_of_its_label(task):
    backend, rounds, warnings = run(task, FewGen(seed_size=30, shots=4))
    shown = [shots_in(r.prompt) for r in backend.of_kind("few_shot")]
    assert len(shown) == len(rounds[0].train) == 30
    for request, texts in zip(backend.requests, shown, strict=True):
        fruit = {"a": "apple", "p": "pear"}[request.tags["label"]]
        assert len(texts) == len(set(texts)) == 4
        assert all(text.startswith(fruit) for text in texts)
    assert len({tuple(texts) for texts in shown}) > 20
    assert {text for texts in shown for text in texts} == set(GOLD.texts)
    assert not warnings


def test_a_row_names_the_gold_rows_it_was_written_from(task):
    backend, rounds, _ = run(task, FewGen(seed_size=5, shots=3))
    texts = {row.id: row.text for row in GOLD}
    by_text = {f"new text {r.draw} of {r.tags['label']}": r.prompt for r in backend.requests}
    for row in rounds[0].train:
        assert row.provenance.kind == "few_shot"
        assert [texts[parent] for parent in row.provenance.parents] == shots_in(by_text[row.text])


def test_without_shots_no_gold_is_needed_nor_shown(task):
    backend, rounds, _ = run(task, FewGen(seed_size=8, shots=0), mine=Dataset(), select=GOLD)
    assert len(rounds[0].train) == 8
    assert not any(shots_in(r.prompt) for r in backend.requests)
    assert not any(row.provenance.parents for row in rounds[0].train)


def test_a_label_with_few_gold_rows_shows_all_and_one_without_any_is_an_error(task):
    backend, _, warnings = run(task, FewGen(seed_size=8, shots=32))
    assert {len(shots_in(r.prompt)) for r in backend.requests} == {10}
    assert warnings == [
        f"shots: 10 rows of the label {label!r} are there, not 32" for label in "ap"
    ]
    with pytest.raises(TooFewRowsError, match="no row of `mine` of the label 'p'"):
        run(task, FewGen(seed_size=4), mine=GOLD[:10])


@pytest.mark.parametrize("duplicates", ["keep", "exact", "near"])
def test_copies_of_shots_are_rejected_where_duplicates_are(task, duplicates):
    def copy_first(request):
        shot = shots_in(request.prompt)[0]
        return f"{shot}!" if request.draw % 3 == 0 else f"{request.draw} things of another kind"

    curator = Curator(Curation(duplicates=duplicates))
    method = FewGen(seed_size=12, shots=4)
    _, (done,), _ = run(task, method, answer=copy_first, curator=curator)
    copies = [text for text in done.train.texts if shots_in(text)]
    reasons = [item.rejected.reason for item in done.unused]
    assert len(copies) == (4 if duplicates == "keep" else 0)
    assert reasons.count("copy_of_shot") == (0 if duplicates == "keep" else 6)


def test_pairs_are_written_for_contexts_and_shots_have_other_ones():
    task = SentencePair(instruction="Decide.", labels={"a": "right", "p": "wrong"})
    mine = Dataset(
        Example(f"apple note {i}{label}", label, f"premise {i}")
        for i in range(3)
        for label in ("a", "p")
    )
    contexts = [Context(f"premise {i}") for i in range(3)]
    backend, rounds, _ = run(task, FewGen(seed_size=12, shots=2), mine, contexts=contexts)
    for request in backend.requests:
        shots, _, asked = request.prompt.rpartition("Premise: ")
        context = request.tags["context"]
        assert context in asked
        assert context not in shots
        assert len(re.findall(r"Premise: premise \d", shots)) == 2
    assert {row.context for row in rounds[0].train} == {c.text for c in contexts}


def test_questions_show_gold_questions_about_other_passages():
    passages = [f"Passage {i} is about Ada." for i in range(4)]
    mine = Dataset(
        Example(f"Who is passage {i} about?", Answers(("Ada",), (19,)), passage)
        for i, passage in enumerate(passages)
    )
    contexts = [Context(passages[0], Answers(("Ada",), (19,)))]
    backend, rounds, _ = run(
        ExtractiveQA(),
        FewGen(seed_size=5, shots=3),
        mine,
        WrongSpansOn(words=("zzz",)),
        contexts=contexts,
    )
    assert len(rounds[0].train) == 5
    for request in backend.requests:
        assert request.prompt.count("Answer: Ada") == 3
        assert request.prompt.count(passages[0]) == 1


def test_a_row_that_holds_a_held_out_text_is_no_shot():
    """It would keep each prompt that it is in from being sent: most of them, with 32 shots."""
    pair = SentencePair(instruction="?", labels=["a", "p"])
    texts = [" ".join(f"word{i}x{j}" for j in range(9)) for i in range(20)]
    mine = [Example(text, "ap"[i % 2], f"premise of row {i}") for i, text in enumerate(texts)]
    held_out = [Example(mine[3].text, "a", "a premise of its own")]
    curator = Curator(Curation(), Gate({"test": held_out}))
    contexts = [Context(f"premise {i}") for i in range(6)]
    method = FewGen(seed_size=6, shots=8)
    backend, (done,), warnings = run(
        pair, method, Dataset(mine), curator=curator, contexts=contexts
    )
    assert len(done.train) == 6
    assert not any(texts[3] in request.prompt for request in backend.requests)
    assert any("1 rows of `mine` are not shown" in said for said in warnings)
