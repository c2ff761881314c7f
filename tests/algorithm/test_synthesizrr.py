"""SynthesizRR: which passages become shots, which content, and how a prompt is made of them."""

from dataclasses import dataclass

import numpy as np
import pytest

from stepsynth.errors import ConfigError, TooFewRowsError
from stepsynth.methods.synthesizrr import SynthesizRR
from stepsynth.records import Dataset, Example
from stepsynth.retrieval import Hit, Index, Passage
from stepsynth.retrieval.bm25 import BM25
from tests.fakes import WrongOn, follow

GOLD = Dataset(
    [Example(f"apple {i}", "a") for i in range(4)] + [Example(f"pear {i}", "p") for i in range(4)]
)


def text_of(name):
    return f"{name} " + " ".join(f"w{i}" for i in range(25)) + "."


@dataclass
class Known:
    """Query -> ids and cosines of its hits, in order of rank."""

    hits: dict[str, list[tuple[str, float]]]

    def index(self):
        known = self

        class Fake(Index):
            def _search(self, queries, k):
                return [
                    [
                        Hit(Passage(name, text_of(name)), rank, cosine, cosine)
                        for rank, (name, cosine) in enumerate(known.hits[query][:k], start=1)
                    ]
                    for query in queries
                ]

            def embed(self, texts):
                return np.zeros((len(texts), 1), dtype=np.float32)

        names = {name for hits in self.hits.values() for name, _ in hits}
        return Fake([Passage(name, text_of(name)) for name in sorted(names)])


def ladder(prefix):
    """Twelve passages of one query: too near, near, ..., unrelated."""
    cosines = (0.95, 0.85, 0.8, 0.7, 0.6, 0.55, 0.5, 0.45, 0.41, 0.4, 0.39, 0.2)
    return [(f"{prefix}-{rank}", cosine) for rank, cosine in enumerate(cosines, start=1)]


KNOWN = Known({row.text: ladder(row.text.replace(" ", "")) for row in GOLD})


def run(task, method, known=KNOWN, mine=GOLD, index=None):
    WrongOn.log.clear()
    index = index or (known and known.index())
    write = lambda r: f"{r.tags['label']} text {r.draw}"  # noqa: E731
    backend, (done,), warnings = follow(task, method, write, mine=mine, select=GOLD, index=index)
    return backend, done, warnings


def test_shots_are_of_ranks_1_2_and_content_of_ranks_3_50_each_in_its_band(task):
    backend, done, _ = run(task, SynthesizRR(seed_size=60))
    label_of = {row.id: row.label for row in GOLD}
    text = {row.id: row.text for row in GOLD}
    rows = {row.provenance.request: row for row in done.train}
    assert len(done.notes["passages"]) == 60
    contents = set()
    for line in done.notes["passages"]:
        row, prompt = rows[line["request"]], done.exchanges[line["request"]][0]
        assert 3 <= line["rank"] <= 50
        assert 0.4 <= line["cosine"] <= 0.9
        assert row.provenance.parents == (line["query"],)
        assert row.provenance.kind == "refine"
        assert label_of[line["query"]] == row.label
        assert line["passage"].startswith(text[line["query"]].replace(" ", ""))
        assert prompt.count(text_of(line["passage"])) == 1
        contents.add(line["passage"])
        assert len(line["shots"]) == 3
        for shot in line["shots"]:
            assert shot["rank"] == 2  # rank 1 has a cosine of 0.95: a copy
            assert 0.5 <= shot["cosine"] <= 0.9
            assert label_of[shot["query"]] == row.label
            passage, example = text_of(shot["id"]), text[shot["query"]]
            assert 0 <= prompt.index(passage) < prompt.index(example)
            assert prompt.index(passage) < prompt.index(text_of(line["passage"]))
    shots = {shot["id"] for line in done.notes["passages"] for shot in line["shots"]}
    assert not shots & contents
    # 0.41 and 0.4 are in the band, 0.39 is not; 8 ranks of 4 seed examples of 2 labels.
    assert len(contents) > 40
    assert not any(name.endswith(("-1", "-2", "-11", "-12")) for name in contents)
    assert {r.tags["kind"] for r in backend.requests} == {"refine"}


def test_shots_are_drawn_anew_for_every_prompt(task):
    _, done, _ = run(task, SynthesizRR(seed_size=60))
    drawn = {tuple(shot["id"] for shot in line["shots"]) for line in done.notes["passages"]}
    assert len(drawn) > 10


def test_a_passage_that_is_only_repeated_is_no_row(task):
    def write(request):
        source = request.prompt.rpartition("Source: ")[2].partition("\n")[0]
        return source.upper() if request.draw % 2 else f"{request.tags['label']} {request.draw}"

    method = SynthesizRR(seed_size=6)
    options = {"mine": GOLD, "select": GOLD, "index": KNOWN.index()}
    _, (done,), _ = follow(task, method, write, **options)
    assert done.train
    assert not any("W1" in text for text in done.train.texts)
    assert {unused.rejected.reason for unused in done.unused} == {"echo"}


def test_the_prompts_word_for_a_source_is_no_part_of_a_text(task):
    write = lambda r: f"Source: a {r.tags['label']} of number {r.draw} came."  # noqa: E731
    options = {"mine": GOLD, "select": GOLD, "index": KNOWN.index()}
    _, (done,), _ = follow(task, SynthesizRR(seed_size=6), write, **options)
    assert len(done.train) == 6
    assert all(row.text.startswith("a ") for row in done.train)


def test_no_student_is_in_the_loop(task):
    run(task, SynthesizRR(seed_size=12))
    assert [event for event, _ in WrongOn.log] == ["init", "fit"]


def test_a_passage_that_is_a_shot_of_one_query_is_content_of_none(task):
    hits = {**KNOWN.hits, "apple 0": [("x", 0.99), ("both", 0.8), *ladder("apple0")[2:]]}
    hits["pear 0"] = [("y", 0.99), ("z", 0.8), ("both", 0.7), *ladder("pear0")[3:]]
    _, done, _ = run(task, SynthesizRR(seed_size=80), Known(hits))
    assert "both" not in {line["passage"] for line in done.notes["passages"]}
    assert "both" in {shot["id"] for line in done.notes["passages"] for shot in line["shots"]}


def test_non_retricl_has_seed_examples_as_shots_and_content_of_all_ranks(task):
    backend, done, warnings = run(task, SynthesizRR(seed_size=80, variant="non_retricl"))
    assert {line["rank"] for line in done.notes["passages"]} == set(range(2, 11))
    for line in done.notes["passages"]:
        assert len(line["shots"]) == 4
        assert all(set(shot) == {"query"} for shot in line["shots"])
    assert backend.requests[0].prompt.count("Source:") == 1
    assert any("32 shots a prompt are wanted" in warning for warning in warnings)


def test_zero_shot_has_no_shots(task):
    _, done, _ = run(task, SynthesizRR(seed_size=10, variant="zero_shot"))
    assert all(line["shots"] == [] for line in done.notes["passages"])
    for row in GOLD:
        assert all(row.text not in prompt for prompt, _ in done.exchanges.values())


def test_seed_examples_are_as_many_of_each_label(task):
    _, done, _ = run(task, SynthesizRR(seed_size=200, seeds_per_class=2))
    queries = {line["query"] for line in done.notes["passages"]}
    assert sum(row.label == "a" for row in GOLD if row.id in queries) == 2
    assert len(queries) == 4


def test_a_label_without_content_says_how_many_were_outside_and_what_to_change(task):
    far = {row.text: [(f"{row.text}{i}", 0.3) for i in range(50)] for row in GOLD}
    with pytest.raises(TooFewRowsError, match=r"label 'a'.*192 below 0.4") as caught:
        run(task, SynthesizRR(), Known(far))
    assert "content_cosines" in caught.value.hint
    nothing = {row.text: [] for row in GOLD}
    with pytest.raises(TooFewRowsError, match="there are none"):
        run(task, SynthesizRR(), Known(nothing))
    low = {row.text: [(f"{row.text}{i}", 0.45) for i in range(9)] for row in GOLD}
    with pytest.raises(TooFewRowsError, match=r"8 below 0.5 \(shots\)") as caught:
        run(task, SynthesizRR(), Known(low))
    assert "non_retricl" in caught.value.hint


def test_a_label_without_gold_and_a_missing_corpus_are_named(task):
    with pytest.raises(TooFewRowsError, match="no gold row of `mine` has the label 'p'"):
        run(task, SynthesizRR(), mine=GOLD[:4])
    with pytest.raises(ConfigError, match="searches a corpus"):
        run(task, SynthesizRR(), known=None)


def test_few_passages_are_used_again_and_that_is_said(task):
    few = {row.text: ladder(row.text)[:4] for row in GOLD}
    _, done, warnings = run(task, SynthesizRR(seed_size=40), Known(few))
    assert len(done.train) == 40
    assert len({line["passage"] for line in done.notes["passages"]}) == 16
    assert any("fewer passages: 8 of 'a', 8 of 'p'" in warning for warning in warnings)


def test_it_works_on_a_real_bm25_index_and_cuts_passages_at_a_full_stop(task):
    passages = [
        Passage(f"{fruit}{i}", f"The {fruit} {i} is ripe. It fell from a tree. And then, half a")
        for fruit in ("apple", "pear")
        for i in range(30)
    ]
    method = SynthesizRR(seed_size=20, min_words=3, max_words=10)
    low = {"shot_cosines": (0.1, 0.95), "content_cosines": (0.1, 0.9)}
    index = BM25().index(passages, None)
    _, done, _ = run(task, method.model_copy(update=low), index=index)
    fruit = {"a": "apple", "p": "pear"}
    labels = {row.provenance.request: row.label for row in done.train}
    for line in done.notes["passages"]:
        prompt = done.exchanges[line["request"]][0]
        assert line["passage"].startswith(fruit[labels[line["request"]]])
        assert "is ripe. It fell from a tree.\n" in prompt
        assert "And then" not in prompt
        assert all(shot["rank"] <= 2 < line["rank"] for shot in line["shots"])
